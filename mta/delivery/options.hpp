#pragma once

#include "base/time.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace danki::delivery {

struct SourceOptions {
  std::string name;
  std::optional<boost::asio::ip::address> address;         ///< bound before connect; nullopt: "any", the kernel chooses
  std::optional<boost::asio::ip::address> public_address;  ///< what receivers see; default address
  double weight = 1;
  std::string ehlo;  ///< default: node hostname
};

struct PoolOptions {
  std::string name;
  std::vector<std::string> sources;
  std::vector<std::string> standby;
};

struct RouteOptions {
  std::string match;     ///< recipient domain pattern, as mail::domain_matches
  std::string next_hop;  ///< "host:port", "192.0.2.1:25", "[2001:db8::1]:25", "host" (port 25)
};

enum class TlsPolicy { None, Opportunistic, Require };
enum class ShapingPer { Path, SourceProvider, Site, Provider };
enum class AddressFamily { Any, Ipv4, Ipv6 };

/// N events per period; "none" is an empty optional around it.
struct Rate {
  double count = 0;
  std::chrono::milliseconds per{1000};
  bool operator==(const Rate&) const = default;
};

/// A value of [[shaping]]: not written (unset), "none" (lifts a limit of a less narrow table), or a value.
template <class T>
struct Setting {
  enum class Kind { Unset, None, Value } kind = Kind::Unset;
  T value{};
};

/// One [[shaping]] table, in the order of the file.
struct ShapingOptions {
  std::string domain, site, provider, source;  ///< which mail it is about; all empty: the default
  ShapingPer per = ShapingPer::Path;
  Setting<std::uint32_t> connections;
  Setting<Rate> connection_rate;
  Setting<std::uint32_t> messages_per_connection;
  Setting<Rate> rate;
  Setting<std::uint32_t> recipients_per_transaction;
  Setting<bool> one_domain_per_transaction;
  Setting<TlsPolicy> tls;
  Setting<bool> chunking;
  Setting<AddressFamily> address_family;
  std::string where;  ///< "danki.toml:12" for people
};

struct Timeouts {                            ///< RFC 5321 section 4.5.3.2
  std::chrono::milliseconds connect{30000};  ///< ours; the RFC names none, the kernel's two minutes are too long
  std::chrono::milliseconds banner{300000};
  std::chrono::milliseconds ehlo{300000};
  std::chrono::milliseconds tls{60000};
  std::chrono::milliseconds mail{300000};
  std::chrono::milliseconds rcpt{300000};
  std::chrono::milliseconds data{120000};
  std::chrono::milliseconds block{180000};
  std::chrono::milliseconds dot{600000};
  std::chrono::milliseconds quit{5000};
  std::chrono::milliseconds idle{10000};  ///< how long an idle connection is kept for the next message
};

struct Options {
  std::string hostname;
  std::map<std::string, SourceOptions> sources;
  std::map<std::string, PoolOptions> pools;
  std::vector<RouteOptions> routes;  ///< first match wins
  std::vector<ShapingOptions> shaping;
  std::vector<std::chrono::seconds> transactional_retries{
      std::chrono::seconds(30),  std::chrono::seconds(60),   std::chrono::seconds(120), std::chrono::seconds(300),
      std::chrono::seconds(600), std::chrono::seconds(1800), std::chrono::seconds(3600)};  ///< the last one repeats
  std::vector<std::chrono::seconds> bulk_retries{
      std::chrono::seconds(300),  std::chrono::seconds(600),  std::chrono::seconds(1200), std::chrono::seconds(2400),
      std::chrono::seconds(4800), std::chrono::seconds(9600), std::chrono::seconds(14400)};
  double bulk_share = 0.1;
  bool eightbit_convert = true;  ///< false: bounce
  std::chrono::seconds sign_max_age{24 * 3600};
  std::chrono::milliseconds shutdown_grace{60000};
  bool allow_private_mx = false;
  std::vector<boost::asio::ip::address> own_addresses;  ///< of our listeners: mail must not loop to them
  bool send_unsigned = false;                           ///< [auth] missing_key = "send_unsigned"
  Timeouts timeouts;
};

}  // namespace danki::delivery
