#pragma once

#include "base/task_scope.hpp"
#include "base/time.hpp"
#include "mta/submission/own_addresses.hpp"
#include "mta/submission/surroundings.hpp"
#include "net/dns.hpp"

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

namespace danki::submission {

/// Can a recipient's domain receive mail? Only a clear no counts: NXDOMAIN, null MX (RFC 7505), and a best MX host that
/// is ourselves. Answers are kept for some minutes, so that the thousandth recipient at one provider costs a look into
/// a table. One I/O thread.
class DomainChecker {
 public:
  static constexpr Duration kPatience{1000};  ///< a sign-up must not wait for a slow name server
  static constexpr std::chrono::seconds kMaxKept{300};
  static constexpr std::chrono::seconds kSilenceKept{10};  ///< after no answer, so that each recipient does not wait
  static constexpr std::size_t kMaxDomains = 20'000;
  static constexpr std::size_t kMaxInFlight = 1'000;
  static constexpr std::size_t kMaxBestHosts = 16;  ///< of equal preference; their addresses are looked up

  DomainChecker(boost::asio::any_io_executor executor, net::Resolver& resolver, const Clock& clock);

  std::optional<DomainVerdict> known(const std::string& domain) const;
  /// Needs no look-up: a fixed route leads there.
  void accept(const std::string& domain) { keep(domain, DomainVerdict::Accepts, kMaxKept); }
  /// Where our own listeners are met: a domain whose mail would come back there is refused.
  void set_own(OwnAddresses own) {
    own_ = std::move(own);
    forget();
  }
  bool is_own(const boost::asio::ip::address& address) { return own_.contains(address, clock_.steady()); }
  /// The configuration changed.
  void forget() { verdicts_.clear(); }
  /// Waits at most `patience`, then says Accepts; the look-up goes on.
  boost::asio::awaitable<DomainVerdict> check(std::string domain, Duration patience);

  void request_stop() { lookups_.request_stop(); }
  boost::asio::awaitable<void> join() { return lookups_.join(); }

 private:
  struct Kept {
    DomainVerdict verdict;
    SteadyPoint until;
  };
  struct Finding {
    DomainVerdict verdict;
    Duration how_long;
  };
  boost::asio::awaitable<void> look_up(std::string domain);
  boost::asio::awaitable<Finding> look_at_hosts(std::vector<net::MxHost> hosts, Duration ttl);
  void keep(const std::string& domain, DomainVerdict verdict, Duration how_long);

  boost::asio::any_io_executor executor_;
  net::Resolver& resolver_;
  const Clock& clock_;
  OwnAddresses own_;
  std::unordered_map<std::string, Kept> verdicts_;
  std::unordered_map<std::string, std::vector<boost::asio::steady_timer*>> waiting_;  ///< by domain under way
  TaskScope lookups_;
};

}  // namespace danki::submission
