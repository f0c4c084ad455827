#pragma once

#include "admin/http_limits.hpp"
#include "admin/options.hpp"
#include "admin/ports.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <memory>

namespace danki::queue {
class Spool;
}

/// What operators and apps see and ask over HTTP: the daemon's state and its queue, in JSON, on a unix socket for those
/// whom the file's mode lets in and on TCP for those with a token. It knows the spool, and through admin/ports.hpp asks
/// the daemon for the rest. Every client is kept in bounds (connections, sizes, times), on threads of its own: mail
/// flow never waits for one.
namespace danki::admin {

class Server {
 public:
  /// `ports`, `spool` and `clock` must outlive stop().
  Server(Ports& ports, queue::Spool& spool, const Clock& clock, AdminOptions options, HttpLimits limits = {});
  /// As stop().
  ~Server();

  /// Listens and serves from now on. Fails when a listener or the token file does; then nothing runs.
  Result<void> start();
  /// Closes every connection, joins the threads, removes the socket. Answers of ports that come later are dropped.
  /// Idempotent.
  void stop();

  /// The port that `listen` got; 0 without TCP.
  std::uint16_t tcp_port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace danki::admin
