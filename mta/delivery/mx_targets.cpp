#include "mta/delivery/mx_targets.hpp"

#include "base/random.hpp"
#include "mail/ascii.hpp"

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/address_v6.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

namespace danki::delivery {
namespace asio = boost::asio;

namespace {

using Status = MxTargets::Status;

bool in_network(std::uint32_t address, std::uint32_t network, int bits) {
  return (address >> (32 - bits)) == (network >> (32 - bits));
}

bool is_private_v4(std::uint32_t a) {
  constexpr auto net = [](std::uint32_t o1, std::uint32_t o2) { return (o1 << 24) | (o2 << 16); };
  return in_network(a, net(0, 0), 8) || in_network(a, net(10, 0), 8) || in_network(a, net(100, 64), 10) ||
         in_network(a, net(127, 0), 8) || in_network(a, net(169, 254), 16) || in_network(a, net(172, 16), 12) ||
         in_network(a, net(192, 168), 16) || in_network(a, net(224, 0), 3);  // multicast, reserved, broadcast
}

bool is_of_family(const asio::ip::address& address, AddressFamily family) {
  return family == AddressFamily::Any || address.is_v4() == (family == AddressFamily::Ipv4);
}

bool is_own(const TargetQuery& query, const asio::ip::address& address) {
  return std::find(query.own_addresses.begin(), query.own_addresses.end(), address) != query.own_addresses.end();
}

/// RFC 5321 section 5.1: where one of the hosts is ourselves, it and those not preferred to it are left out, or mail
/// loops.
void drop_from_ourselves_on(const TargetQuery& query, std::vector<ResolvedHost>& hosts) {
  std::optional<std::uint16_t> our_preference;
  for (const ResolvedHost& host : hosts) {
    const bool ours = std::any_of(host.lookup.addresses.begin(), host.lookup.addresses.end(),
                                  [&](const auto& address) { return is_own(query, address); });
    if (ours) our_preference = std::min(our_preference.value_or(host.host.preference), host.host.preference);
  }
  if (our_preference) std::erase_if(hosts, [&](const auto& h) { return h.host.preference >= *our_preference; });
}

/// By preference; equal ones in a random order that the seed decides (RFC 5321 section 5.1: the sender must spread its
/// load).
void put_in_order(std::vector<ResolvedHost>& hosts, std::uint64_t seed) {
  const auto key = [](const ResolvedHost& h) { return std::pair(h.host.preference, std::string_view(h.host.name)); };
  std::sort(hosts.begin(), hosts.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  SeededRandom random(seed);
  for (std::size_t begin = 0; begin < hosts.size();) {
    std::size_t end = begin + 1;
    while (end < hosts.size() && hosts[end].host.preference == hosts[begin].host.preference) ++end;
    for (std::size_t left = end - begin; left > 1; --left) {
      std::swap(hosts[begin + left - 1], hosts[begin + random.between(0, left - 1)]);
    }
    begin = end;
  }
}

std::vector<std::string_view> labels_of(std::string_view name) {
  std::vector<std::string_view> labels;
  while (true) {
    const std::size_t dot = name.find('.');
    labels.push_back(name.substr(0, dot));
    if (dot == std::string_view::npos) return labels;
    name.remove_prefix(dot + 1);
  }
}

/// How many octets at the end the names share as whole labels, the dot before them included; 0 when that is less than
/// two labels (a shared ".com" says nothing) or when it would leave one of them empty.
std::size_t shared_suffix(std::span<const std::string> names) {
  const std::vector<std::string_view> first = labels_of(names.front());
  std::size_t shared = first.size() - 1;
  for (const std::string& name : names.subspan(1)) {
    const std::vector<std::string_view> labels = labels_of(name);
    std::size_t same = 0;
    while (same < std::min(shared, labels.size() - 1) && labels.rbegin()[same] == first.rbegin()[same]) ++same;
    shared = same;
  }
  if (shared < 2) return 0;
  std::size_t octets = 0;
  for (std::size_t i = 0; i < shared; ++i) octets += first.rbegin()[i].size() + 1;
  return octets;
}

/// FNV-1a: it only has to be the same on every machine and after every restart.
std::uint64_t stable_hash(std::span<const std::string> names) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::string& name : names) {
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash = (hash ^ '|') * 0x100000001b3u;
  }
  return hash;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (problem != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::optional<asio::ip::address> parse_address(std::string_view text) {
  boost::system::error_code problem;
  const auto address = asio::ip::make_address(std::string(text), problem);
  if (problem) return std::nullopt;
  return address;
}

/// Gives `into` its reason when there is no target: the worst news last, so that "later" wins over "never".
void explain_no_target(MxTargets& into, const std::vector<ResolvedHost>& hosts, bool any_address, bool any_forbidden) {
  for (const ResolvedHost& host : hosts) {
    if (host.lookup.status == net::DnsStatus::Ok || host.lookup.status == net::DnsStatus::NxDomain ||
        host.lookup.status == net::DnsStatus::NoData) {
      continue;
    }
    into.status = Status::Temporary;
    into.error =
        fmt::format("addresses of MX host {}: {}", host.host.name,
                    host.lookup.error.empty() ? std::string(to_string(host.lookup.status)) : host.lookup.error);
    return;
  }
  if (any_forbidden) {
    into.status = Status::Forbidden;
    into.error = "its MX hosts have only loopback or private addresses";
  } else if (any_address) {
    into.status = Status::NoFamily;
    into.error = "its MX hosts have no address of the family that is asked for";
  } else {
    into.status = Status::NoAddress;
    into.error = "no MX host has an address";
  }
}

asio::awaitable<std::vector<net::HostLookup>> look_up_all(net::Resolver& resolver, std::vector<std::string> names) {
  // At the same time: each is a round trip, and sign-up mail waits for them.
  const auto executor = co_await asio::this_coro::executor;
  const auto look_up = [&](const std::string& name) {
    return asio::co_spawn(executor, net::lookup_host(resolver, name, true, true), asio::deferred);
  };
  std::vector<decltype(look_up(names.front()))> lookups;
  lookups.reserve(names.size());
  for (const std::string& name : names) lookups.push_back(look_up(name));
  auto group = asio::experimental::make_parallel_group(std::move(lookups));
  auto [order, failures, answers] = co_await group.async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (failures[i]) answers[i] = net::HostLookup{.error = "the lookup was given up"};
  }
  co_return std::move(answers);
}

MxTargets at_one_address(const TargetQuery& query, std::string site, const asio::ip::address& address,
                         std::uint16_t port) {
  // A host without a name: an address is not sent as one in TLS (RFC 6066 section 3), "192.0.2.1:25" would be.
  ResolvedHost host{.host = {.name = address.to_string()},
                    .lookup = {.status = net::DnsStatus::Ok, .addresses = {address}}};
  TargetQuery at_port = query;
  at_port.port = port;
  MxTargets targets = choose_targets(at_port, {std::move(host)});
  targets.site = std::move(site);
  targets.ttl = 24 * 3600;  // nothing was asked that could change
  return targets;
}

asio::awaitable<MxTargets> at_next_hop(net::Resolver& resolver, TargetQuery query) {
  MxTargets targets;
  targets.site = query.next_hop;
  const auto hop = parse_next_hop(query.next_hop);
  if (!hop) {
    targets.error = fmt::format("\"{}\" of route {} is no next hop", query.next_hop, query.route);
    co_return targets;
  }
  query.allow_private = true;
  query.own_addresses.clear();  // the operator named it
  if (hop->address) co_return at_one_address(query, query.next_hop, *hop->address, hop->port);

  ResolvedHost host;
  host.host.name = hop->host;
  host.lookup = co_await net::lookup_host(resolver, hop->host, true, true);
  query.port = hop->port;
  std::vector<ResolvedHost> hosts;
  hosts.push_back(host);
  targets = choose_targets(query, std::move(hosts));
  targets.site = query.next_hop;
  if (targets.status == Status::Ok) co_return targets;
  // The operator named it: a name that is not there yet, or mistyped, is no reason to bounce the mail.
  const bool is_missing = host.lookup.status == net::DnsStatus::NxDomain;
  targets.error = fmt::format("next hop {} of route {}: {}", query.next_hop, query.route,
                              is_missing ? "no such host" : targets.error);
  targets.status = Status::Temporary;
  co_return targets;
}

}  // namespace

asio::awaitable<MxTargets> resolve_targets(net::Resolver& resolver, TargetQuery query) {
  if (!query.next_hop.empty()) co_return co_await at_next_hop(resolver, std::move(query));
  if (const auto literal = parse_address_literal(query.domain)) {
    co_return at_one_address(query, query.domain, *literal, query.port);
  }
  MxTargets failed;
  failed.site = query.domain;
  net::MxLookup lookup = co_await net::lookup_mx(resolver, query.domain);
  if (lookup.status != net::MxLookup::Status::Ok) {
    switch (lookup.status) {
      case net::MxLookup::Status::NullMx:
        failed.status = Status::NullMx;
        break;
      case net::MxLookup::Status::NxDomain:
        failed.status = Status::NxDomain;
        break;
      case net::MxLookup::Status::NoAddress:
        failed.status = Status::NoAddress;
        break;
      default:
        failed.status = Status::Temporary;
        break;
    }
    failed.ttl = lookup.ttl;
    failed.error = std::move(lookup.error);
    co_return failed;
  }

  std::vector<std::string> names;
  for (const net::MxHost& host : lookup.hosts) names.push_back(host.name);
  std::string site = site_name(names);
  if (lookup.hosts.size() > kMaxMxHosts) lookup.hosts.resize(kMaxMxHosts);  // sorted by preference: the worst go
  names.resize(lookup.hosts.size());
  std::vector<net::HostLookup> answers = co_await look_up_all(resolver, std::move(names));
  std::vector<ResolvedHost> hosts;
  for (std::size_t i = 0; i < lookup.hosts.size(); ++i) {
    hosts.push_back({.host = std::move(lookup.hosts[i]), .lookup = std::move(answers[i])});
  }
  MxTargets targets = choose_targets(query, std::move(hosts));
  targets.site = std::move(site);
  targets.ttl = std::min(targets.ttl, lookup.ttl);
  co_return targets;
}

MxTargets choose_targets(const TargetQuery& query, std::vector<ResolvedHost> hosts) {
  MxTargets chosen;
  std::vector<std::string> names;
  for (const ResolvedHost& host : hosts) names.push_back(host.host.name);
  chosen.site = names.empty() ? query.domain : site_name(std::move(names));
  chosen.ttl = hosts.empty() ? 0 : 24 * 3600;
  for (const ResolvedHost& host : hosts) chosen.ttl = std::min(chosen.ttl, host.lookup.ttl);

  put_in_order(hosts, query.seed);
  std::vector<ResolvedHost> allowed = hosts;
  drop_from_ourselves_on(query, allowed);
  bool any_address = false;
  bool any_forbidden = allowed.size() < hosts.size();
  for (const ResolvedHost& host : allowed) {
    for (const asio::ip::address& address : host.lookup.addresses) {
      any_address = true;
      if (!query.allow_private && is_private_address(address)) {
        any_forbidden = true;
        continue;
      }
      if (!is_of_family(address, query.family) || chosen.targets.size() == kMaxMxAddresses) continue;
      chosen.targets.push_back(
          {.name = host.host.name, .endpoint = {address, query.port}, .preference = host.host.preference});
    }
  }
  chosen.status = Status::Ok;
  if (chosen.targets.empty()) explain_no_target(chosen, hosts, any_address, any_forbidden);
  if (chosen.targets.empty() && allowed.empty() && !hosts.empty()) {
    chosen.status = Status::Loop;
    chosen.error = "its most preferred MX host is this relay itself";
  }
  return chosen;
}

std::string site_name(std::vector<std::string> hosts) {
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  if (hosts.empty()) return {};
  if (hosts.size() == 1) return hosts.front();
  const std::size_t shared = shared_suffix(hosts);
  const std::string_view suffix = std::string_view(hosts.front()).substr(hosts.front().size() - shared);
  std::string name = "(";
  for (const std::string& host : hosts) {
    const std::string_view head = std::string_view(host).substr(0, host.size() - shared);
    if (name.size() + head.size() + suffix.size() + sizeof("|#0123456789abcdef)") > kMaxSiteNameBytes) {
      name += fmt::format("{}#{:016x}", name.size() > 1 ? "|" : "", stable_hash(hosts));
      break;
    }
    if (name.size() > 1) name += '|';
    name += head;
  }
  return fmt::format("{}){}", name, suffix);
}

std::optional<NextHop> parse_next_hop(std::string_view text) {
  NextHop hop;
  std::string_view host = text;
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    host = text.substr(1, bracket - 1);
    std::string_view rest = text.substr(bracket + 1);
    if (!rest.empty()) {
      const auto port = rest.starts_with(':') ? parse_port(rest.substr(1)) : std::nullopt;
      if (!port) return std::nullopt;
      hop.port = *port;
    }
    hop.address = parse_address(host);
    if (!hop.address) return std::nullopt;
    return hop;
  }
  hop.address = parse_address(text);
  if (hop.address) return hop;
  if (const std::size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    const auto port = parse_port(text.substr(colon + 1));
    if (!port) return std::nullopt;
    hop.port = *port;
    host = text.substr(0, colon);
  }
  hop.address = parse_address(host);
  if (hop.address) return hop;
  if (host.empty() || host.find_first_of(": \t/@") != std::string_view::npos) return std::nullopt;
  hop.host = mail::to_lower(host);
  return hop;
}

std::optional<asio::ip::address> parse_address_literal(std::string_view domain) {
  if (!domain.starts_with('[') || !domain.ends_with(']')) return std::nullopt;
  const std::string_view inner = domain.substr(1, domain.size() - 2);
  constexpr std::string_view kTag = "IPv6:";
  const bool v6 = mail::istarts_with(inner, kTag);
  const auto address = parse_address(v6 ? inner.substr(kTag.size()) : inner);
  if (!address || address->is_v6() != v6) return std::nullopt;
  return address;
}

bool is_private_address(const asio::ip::address& address) {
  if (address.is_v4()) return is_private_v4(address.to_v4().to_uint());
  const asio::ip::address_v6 v6 = address.to_v6();
  if (v6.is_v4_mapped()) return is_private_v4(asio::ip::make_address_v4(asio::ip::v4_mapped, v6).to_uint());
  const bool unique_local = (v6.to_bytes()[0] & 0xFE) == 0xFC;  // RFC 4193
  return unique_local || v6.is_unspecified() || v6.is_loopback() || v6.is_link_local() || v6.is_site_local() ||
         v6.is_multicast();
}

}  // namespace danki::delivery
