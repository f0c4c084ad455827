#pragma once

#include "base/time.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/address.hpp>

/// Asynchronous DNS: c-ares does the wire, retries and servers; answers are parsed by ours (TTL, AD bit, every type),
/// cached with their TTL, negative answers by the SOA (RFC 2308), and equal questions under way share one query.
namespace danki::net {

enum class DnsStatus { Ok, NxDomain, NoData, ServFail, Refused, Timeout, Failed };
std::string_view to_string(DnsStatus s);

enum class DnsType : std::uint16_t {
  A = 1,
  Ns = 2,
  Cname = 5,
  Soa = 6,
  Ptr = 12,
  Mx = 15,
  Txt = 16,
  Aaaa = 28,
  Tlsa = 52
};

struct DnsRecord {
  DnsType type;
  std::string owner;                 ///< lower case, no trailing dot
  std::uint32_t ttl = 0;             ///< seconds, as answered
  boost::asio::ip::address address;  ///< A, AAAA
  std::string
      text;  ///< TXT: the strings joined; NS, CNAME, PTR, MX: the name (MX "." is empty); SOA: mname; else empty
  std::uint16_t preference = 0;  ///< MX
  std::string raw;               ///< RDATA as on the wire (names inside may be compressed)
};

struct DnsAnswer {
  DnsStatus status = DnsStatus::Failed;
  bool authenticated = false;      ///< the AD bit; believe it only from a trusted resolver
  std::uint32_t ttl = 0;           ///< seconds this answer may still be used: least TTL, or the SOA's for negative ones
  std::vector<DnsRecord> records;  ///< of the asked type, CNAMEs followed (as answered by the resolver)
  std::string error;               ///< detail for people when status is not Ok

  bool ok() const { return status == DnsStatus::Ok; }
  /// NXDOMAIN or NODATA: the network worked and the answer is "no".
  bool negative() const { return status == DnsStatus::NxDomain || status == DnsStatus::NoData; }
};

struct DnsOptions {
  std::vector<std::string> servers;         ///< "127.0.0.1:53", "[::1]:5353"; empty: /etc/resolv.conf
  std::chrono::milliseconds timeout{3000};  ///< per try
  int tries = 3;  ///< of each server; one that answered SERVFAIL or REFUSED is not asked again for that question
  std::size_t cache_entries = 100000;    ///< bound; the least recently used go first
  std::size_t cache_bytes = 64u << 20;   ///< bound, as estimated; TXT answers may be large
  std::uint32_t max_ttl = 86400;         ///< seconds
  std::uint32_t max_negative_ttl = 900;  ///< seconds
  std::size_t max_in_flight = 4096;      ///< further questions wait
};

struct DnsQuery {
  bool bypass_cache = false;
  bool want_dnssec = false;  ///< ask for the AD bit
};

/// May be asked from any executor; the coroutine resumes on its own. Never throws for DNS reasons. Outlives its
/// questions.
class Resolver {
 public:
  /// `executor` is one thread or a strand: c-ares' sockets live there. Its context and `clock` outlive the resolver.
  /// Throws std::invalid_argument for a server that is no address with an optional port.
  Resolver(boost::asio::any_io_executor executor, DnsOptions options, const Clock& clock);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  boost::asio::awaitable<DnsAnswer> query(std::string name, DnsType type, DnsQuery how = {});

  /// Asks in the background, so that a query soon after finds its answer under way or in the cache.
  void prefetch(std::string name, DnsType type);

  struct Stats {
    std::uint64_t questions = 0, cache_hits = 0, coalesced = 0, sent = 0;
    std::size_t cached = 0;
  };
  Stats stats() const;
  /// Ends what is under way with DnsStatus::Failed. Call before the executor stops running.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the handlers of sockets and timers
};

struct MxHost {
  std::uint16_t preference = 0;
  std::string name;  ///< lower case, no trailing dot
  bool operator==(const MxHost&) const = default;
};

/// The MX hosts of a domain, RFC 5321 section 5.1: sorted by preference then name; no MX but an address gives the
/// domain itself (implicit MX); null MX (RFC 7505) and NXDOMAIN are told apart.
struct MxLookup {
  enum class Status { Ok, NullMx, NxDomain, NoAddress, Temporary } status = Status::Temporary;
  std::vector<MxHost> hosts;
  std::uint32_t ttl = 0;
  std::string error;
};
boost::asio::awaitable<MxLookup> lookup_mx(Resolver& resolver, std::string domain);

/// The addresses of a host: A first, then AAAA, each if asked for. Ok if any was found.
struct HostLookup {
  DnsStatus status = DnsStatus::Failed;
  std::vector<boost::asio::ip::address> addresses;
  std::uint32_t ttl = 0;
  std::string error;
};
boost::asio::awaitable<HostLookup> lookup_host(Resolver& resolver, std::string name, bool ipv4, bool ipv6);

}  // namespace danki::net
