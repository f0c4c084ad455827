#include "net/dns.hpp"
#include "net/dns_name.hpp"

#include <algorithm>
#include <tuple>

namespace danki::net {
namespace asio = boost::asio;

namespace {

/// RFC 5321 section 5.1: the least preference first. A host named twice counts with its better one; the "." of a null
/// MX is no host.
std::vector<MxHost> hosts_of(const std::vector<DnsRecord>& records) {
  std::vector<MxHost> hosts;
  for (const DnsRecord& record : records) {
    if (!record.text.empty()) hosts.push_back({record.preference, record.text});
  }
  const auto by_preference = [](const MxHost& a, const MxHost& b) {
    return std::tie(a.preference, a.name) < std::tie(b.preference, b.name);
  };
  std::sort(hosts.begin(), hosts.end(), by_preference);
  std::vector<MxHost> once;
  for (MxHost& host : hosts) {
    const auto same = [&](const MxHost& known) { return known.name == host.name; };
    if (std::none_of(once.begin(), once.end(), same)) once.push_back(std::move(host));
  }
  return once;
}

std::string describe(const std::string& name, const char* types, const DnsAnswer& answer) {
  return name + " " + types + ": " + std::string(to_string(answer.status)) +
         (answer.error.empty() ? "" : " (" + answer.error + ")");
}

}  // namespace

asio::awaitable<MxLookup> lookup_mx(Resolver& resolver, std::string domain) {
  MxLookup lookup;
  const auto name = normalise_dns_name(domain);
  if (!name) {  // cannot exist, and asking again later would not change that
    lookup.status = MxLookup::Status::NxDomain;
    lookup.error = name.error().detail;
    co_return lookup;
  }
  const DnsAnswer mx = co_await resolver.query(domain, DnsType::Mx);
  lookup.ttl = mx.ttl;
  if (mx.ok()) {
    lookup.hosts = hosts_of(mx.records);
    lookup.status = lookup.hosts.empty() ? MxLookup::Status::NullMx : MxLookup::Status::Ok;
    co_return lookup;
  }
  if (mx.status == DnsStatus::NxDomain) {
    lookup.status = MxLookup::Status::NxDomain;
    lookup.error = domain + " does not exist";
    co_return lookup;
  }
  if (mx.status != DnsStatus::NoData) {
    lookup.error = describe(domain, "MX", mx);
    co_return lookup;
  }
  // No MX: the domain is its own host of preference 0 if it has an address.
  const HostLookup host = co_await lookup_host(resolver, domain, true, true);
  lookup.ttl = std::min(lookup.ttl, host.ttl);
  switch (host.status) {
    case DnsStatus::Ok:
      lookup.status = MxLookup::Status::Ok;
      lookup.hosts.push_back({0, *name});
      break;
    case DnsStatus::NxDomain:
    case DnsStatus::NoData:
      lookup.status = MxLookup::Status::NoAddress;
      lookup.error = domain + " has neither MX nor address";
      break;
    default:
      lookup.error = host.error;
      break;
  }
  co_return lookup;
}

asio::awaitable<HostLookup> lookup_host(Resolver& resolver, std::string name, bool ipv4, bool ipv6) {
  HostLookup lookup;
  std::vector<DnsAnswer> answers;
  if (ipv4 && ipv6) resolver.prefetch(name, DnsType::Aaaa);  // both are under way at once
  if (ipv4) answers.push_back(co_await resolver.query(name, DnsType::A));
  if (ipv6) answers.push_back(co_await resolver.query(name, DnsType::Aaaa));
  const DnsAnswer* temporary = nullptr;
  const DnsAnswer* negative = nullptr;
  for (const DnsAnswer& answer : answers) {
    if (answer.ok()) {
      lookup.ttl = lookup.addresses.empty() ? answer.ttl : std::min(lookup.ttl, answer.ttl);
      for (const DnsRecord& record : answer.records) lookup.addresses.push_back(record.address);
    } else if (answer.negative()) {
      if (negative == nullptr || answer.status == DnsStatus::NxDomain) negative = &answer;
    } else {
      temporary = &answer;
    }
  }
  if (!lookup.addresses.empty()) {
    lookup.status = DnsStatus::Ok;
  } else if (const DnsAnswer* told = temporary != nullptr ? temporary : negative; told != nullptr) {
    lookup.status = told->status;
    lookup.ttl = told->ttl;
    lookup.error = describe(name, ipv4 && ipv6 ? "A and AAAA" : ipv4 ? "A" : "AAAA", *told);
  } else {
    lookup.error = name + ": neither IPv4 nor IPv6 addresses are asked for";
  }
  co_return lookup;
}

}  // namespace danki::net
