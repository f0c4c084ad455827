#pragma once

#include "mta/delivery/host_target.hpp"
#include "mta/delivery/options.hpp"
#include "net/dns.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/address.hpp>

/// Where mail for a domain goes: MX hosts in the order to try them, their addresses, and the name of their set.
namespace danki::delivery {

inline constexpr std::size_t kMaxMxHosts = 16;      ///< looked up; the largest provider set read so far has 8
inline constexpr std::size_t kMaxMxAddresses = 32;  ///< handed out; bounds one session's tries (RFC 5321 section 5.1)
inline constexpr std::size_t kMaxSiteNameBytes = 200;
inline constexpr std::uint16_t kSmtpPort = 25;

struct TargetQuery {
  std::string domain;    ///< of the recipients, A-labels lower case, or an address literal "[192.0.2.1]"
  std::string next_hop;  ///< of a fixed route (RouteOptions); not empty: no MX lookup, and private addresses are meant
  std::string route;     ///< its match, for people
  AddressFamily family = AddressFamily::Any;
  bool allow_private = false;
  std::vector<boost::asio::ip::address> own_addresses;  ///< of our listeners and sources: mail must not loop to them
  std::uint64_t seed = 0;                               ///< shuffles hosts of equal preference
  std::uint16_t port = kSmtpPort;                       ///< for MX hosts
};

struct MxTargets {
  enum class Status {
    Ok,
    NullMx,     ///< RFC 7505: 556 5.1.10
    NxDomain,   ///< the domain does not exist
    NoAddress,  ///< no MX and no address, or no MX host has one
    NoFamily,   ///< there are addresses, none of the asked family: another source may reach them
    Forbidden,  ///< only loopback or private addresses: the domain's fault
    Loop,       ///< its most preferred host is ourselves: 554 5.4.6
    Temporary,  ///< DNS did not answer
  };
  Status status = Status::Temporary;
  std::string site;                 ///< canonical name of the MX set; set unless the MX lookup itself failed
  std::vector<HostTarget> targets;  ///< in the order to try them
  std::uint32_t ttl = 0;            ///< seconds this may be used
  std::string error;                ///< for people, unless Ok
};

boost::asio::awaitable<MxTargets> resolve_targets(net::Resolver& resolver, TargetQuery query);

/// The same name for the same set of hosts, whatever their order and preference: one host is its name; several are
/// written with the labels they share once, "(mx1|mx2).example.com", else "(mx.a.example|mx.b.example)". Longer than
/// kMaxSiteNameBytes: as many as fit and a hash of all.
std::string site_name(std::vector<std::string> hosts);

/// A route's next hop: "host", "host:port", "192.0.2.1:25", "[2001:db8::1]:25", "2001:db8::1".
struct NextHop {
  std::string host;  ///< empty when `address` is there
  std::optional<boost::asio::ip::address> address;
  std::uint16_t port = kSmtpPort;
};
std::optional<NextHop> parse_next_hop(std::string_view text);

/// "[192.0.2.1]" and "[IPv6:2001:db8::1]", RFC 5321 section 4.1.3.
std::optional<boost::asio::ip::address> parse_address_literal(std::string_view domain);

/// Addresses that no public domain may point its mail to: loopback, private (RFC 1918, 4193), link-local, shared (RFC
/// 6598), unspecified, multicast, reserved; also when mapped into IPv6.
bool is_private_address(const boost::asio::ip::address& address);

/// The part of resolve_targets without DNS: what was found, put in order.
struct ResolvedHost {
  net::MxHost host;
  net::HostLookup lookup;
};
MxTargets choose_targets(const TargetQuery& query, std::vector<ResolvedHost> hosts);

}  // namespace danki::delivery
