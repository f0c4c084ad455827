#pragma once

#include "mail/envelope.hpp"
#include "net/tls.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace danki::submission {

using Network = std::variant<boost::asio::ip::network_v4, boost::asio::ip::network_v6>;

enum class ListenerTls { None, StartTls, Implicit };
enum class LongLines { Refuse, Encode };

struct ListenerOptions {
  boost::asio::ip::tcp::endpoint address;
  ListenerTls tls = ListenerTls::StartTls;
  std::string certificate, private_key;  ///< files; read by config, which fills tls_context
  net::TlsContext tls_context;           ///< shared by sessions; null with ListenerTls::None
  bool require_auth = true;
  bool auth_without_tls = false;
  std::vector<Network> trusted_networks;
  std::string tenant_for_trusted;  ///< empty: none
  std::vector<Network> proxy_protocol_from;
  bool check_recipient_domain = true;
  LongLines long_lines = LongLines::Refuse;
};

struct TenantOptions {
  std::string name;
  mail::MailClass klass = mail::MailClass::Transactional;
  std::vector<std::string> password_hashes;  ///< crypt(5)
  std::string pool;
  std::vector<std::string> pools;    ///< others it may ask for
  std::vector<std::string> domains;  ///< as mail::domain_matches
  bool allow_null_sender = false;
  double rate_per_second = 0;  ///< recipients accepted; 0: none
  double rate_burst = 0;       ///< recipients; the quantity as written in the configuration, at least 1
  bool dsn_to_sender = true;
  double weight = 1;
};

/// [limits]
struct LimitOptions {
  std::size_t sessions = 20000;            ///< all listeners together; more hear 421 4.3.2
  std::size_t sessions_per_client = 1000;  ///< one address
  std::size_t recipients = 1000;           ///< per transaction, never below 100 (RFC 5321 4.5.3.1.8)
  std::uint64_t message_bytes = 35ull << 20;
  std::size_t header_bytes = 1u << 20;     ///< header section
  std::size_t errors = 20;                 ///< per session, then 421 4.7.0
  std::chrono::milliseconds idle{300000};  ///< RFC 5321 4.5.3.2.7
  std::uint64_t memory_bytes =
      1ull << 30;  ///< message data being received or held in memory, all together; beyond: 452 4.3.1
  std::size_t received_lines = 50;
  std::size_t auth_failures = 5;  ///< of a client with one name in 10 minutes, then 421 4.7.0 after growing delays
};

/// What sessions obey: an immutable snapshot, swapped on reload; a session keeps its listener's but looks up tenants in
/// the newest.
struct Options {
  std::string hostname;
  std::vector<ListenerOptions> listeners;
  std::map<std::string, TenantOptions, std::less<>> tenants;
  LimitOptions limits;
  std::vector<std::string> routed_domains;  ///< patterns of [[route]]: no DNS check there
  std::chrono::seconds transactional_expiry{24 * 3600};
  std::chrono::seconds bulk_expiry{3 * 24 * 3600};
};

}  // namespace danki::submission
