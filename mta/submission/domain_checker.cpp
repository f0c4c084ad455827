#include "mta/submission/domain_checker.hpp"

#include <algorithm>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>

namespace danki::submission {
namespace asio = boost::asio;

DomainChecker::DomainChecker(asio::any_io_executor executor, net::Resolver& resolver, const Clock& clock)
    : executor_(executor), resolver_(resolver), clock_(clock), lookups_(executor) {}

std::optional<DomainVerdict> DomainChecker::known(const std::string& domain) const {
  const auto entry = verdicts_.find(domain);
  if (entry == verdicts_.end() || entry->second.until <= clock_.steady()) return std::nullopt;
  return entry->second.verdict;
}

asio::awaitable<DomainVerdict> DomainChecker::check(std::string domain, Duration patience) {
  auto entry = waiting_.find(domain);
  if (entry == waiting_.end()) {
    if (waiting_.size() >= kMaxInFlight) co_return DomainVerdict::Accepts;
    entry = waiting_.try_emplace(domain).first;
    if (!lookups_.spawn("domain check", look_up(domain))) {
      waiting_.erase(domain);
      co_return DomainVerdict::Accepts;
    }
    entry = waiting_.find(domain);  // gone if the answer was there at once
  }
  if (entry != waiting_.end() && patience > Duration(0)) {
    asio::steady_timer answered(executor_, patience);
    entry->second.push_back(&answered);
    co_await answered.async_wait(asio::as_tuple(asio::deferred));
    if (const auto still = waiting_.find(domain); still != waiting_.end()) std::erase(still->second, &answered);
  }
  co_return known(domain).value_or(DomainVerdict::Accepts);
}

asio::awaitable<void> DomainChecker::look_up(std::string domain) {
  // Whatever ends this, those who wait must not be forgotten.
  struct Wake {
    DomainChecker& checker;
    const std::string& domain;
    ~Wake() {
      const auto entry = checker.waiting_.find(domain);
      if (entry == checker.waiting_.end()) return;
      for (asio::steady_timer* waiter : entry->second) waiter->cancel();
      checker.waiting_.erase(entry);
    }
  } const wake{*this, domain};

  net::MxLookup answer = co_await net::lookup_mx(resolver_, domain);
  const Duration ttl = std::min<Duration>(kMaxKept, std::chrono::seconds(std::max(1u, answer.ttl)));
  Finding finding{DomainVerdict::Accepts, ttl};
  switch (answer.status) {
    case net::MxLookup::Status::NxDomain:
      finding.verdict = DomainVerdict::NotFound;
      break;
    case net::MxLookup::Status::NullMx:
      finding.verdict = DomainVerdict::NullMx;
      break;
    case net::MxLookup::Status::Ok:
      if (own_.any()) finding = co_await look_at_hosts(std::move(answer.hosts), ttl);
      break;
    case net::MxLookup::Status::NoAddress:
      break;
    case net::MxLookup::Status::Temporary:
      finding.how_long = kSilenceKept;
      break;
  }
  keep(domain, finding.verdict, finding.how_long);
}

/// A host of the best preference that is ourselves leaves nobody to send to (RFC 5321 section 5.1: it and all that are
/// not preferred to it must not be used).
asio::awaitable<DomainChecker::Finding> DomainChecker::look_at_hosts(std::vector<net::MxHost> hosts, Duration ttl) {
  std::erase_if(hosts, [best = hosts.front().preference](const net::MxHost& host) { return host.preference != best; });
  if (hosts.size() > kMaxBestHosts) hosts.resize(kMaxBestHosts);
  for (const net::MxHost& host : hosts) {  // all at the same time: a client waits
    resolver_.prefetch(host.name, net::DnsType::A);
    resolver_.prefetch(host.name, net::DnsType::Aaaa);
  }
  Finding finding{DomainVerdict::Accepts, ttl};
  for (const net::MxHost& host : hosts) {
    const net::HostLookup found = co_await net::lookup_host(resolver_, host.name, true, true);
    if (found.status != net::DnsStatus::Ok) {
      const bool is_negative = found.status == net::DnsStatus::NxDomain || found.status == net::DnsStatus::NoData;
      if (!is_negative) finding.how_long = std::min<Duration>(finding.how_long, kSilenceKept);
      continue;
    }
    finding.how_long = std::min<Duration>(finding.how_long, std::chrono::seconds(std::max(1u, found.ttl)));
    if (std::any_of(found.addresses.begin(), found.addresses.end(), [this](const auto& a) { return is_own(a); })) {
      finding.verdict = DomainVerdict::Loop;
    }
  }
  co_return finding;
}

void DomainChecker::keep(const std::string& domain, DomainVerdict verdict, Duration how_long) {
  if (verdicts_.size() >= kMaxDomains) verdicts_.erase(verdicts_.begin());  // any one: it can be asked again
  verdicts_.insert_or_assign(domain, Kept{verdict, clock_.steady() + how_long});
}

}  // namespace danki::submission
