#pragma once

#include "mail/reply.hpp"
#include "mta/delivery/host_target.hpp"
#include "mta/delivery/options.hpp"
#include "mta/delivery/session_result.hpp"

#include <optional>
#include <string>

typedef struct ssl_ctx_st SSL_CTX;

/// What an outbound session is told, and how it may fail to begin. No sockets here: the scheduler plans with these.
namespace danki::delivery {

/// The session never came to where MAIL could be said. Nothing of this counts against a message.
struct SessionFailure {
  Stage stage = Stage::Connect;
  HostTarget target;
  std::optional<mail::Reply> reply;  ///< empty: the transport failed
  std::string error;                 ///< for people
  bool source_at_fault = false;      ///< the source's address could not be bound
  bool no_descriptor = false;        ///< this host had no descriptor or memory for another connection
  bool no_port = false;              ///< this host had no free port of the source towards any target
};

/// What a plan's failure is after one more of its targets has failed. `next.no_port`: the system says that an address
/// or port is not available. It says so too of an IPv6 target where IPv6 is off: then that target cannot be reached,
/// which is no word about the others.
void add_failure(std::optional<SessionFailure>& so_far, SessionFailure next, bool source_is_bound);

struct SessionOptions {
  std::string ehlo;
  std::optional<boost::asio::ip::address> local_address;
  TlsPolicy tls = TlsPolicy::Opportunistic;
  SSL_CTX* tls_context = nullptr;        ///< for opportunistic TLS; outlives the session
  SSL_CTX* verifying_context = nullptr;  ///< for TlsPolicy::Require
  Timeouts timeouts;
};

}  // namespace danki::delivery
