#pragma once

#include "base/io_threads.hpp"
#include "base/time.hpp"
#include "events/event_log.hpp"
#include "mta/submission/options.hpp"
#include "net/dns.hpp"
#include "queue/spool.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

/// The SMTP server: listeners, sessions, AUTH, policy at RCPT and DATA. What it accepts is in the spool before the
/// client hears 250.
namespace danki::submission {

/// What submission asks of rooms it does not know; the daemon supplies it. Called on I/O threads: must not block.
class Ports {
 public:
  virtual ~Ports() = default;
  /// At end of data: empty to accept, else the text after "550 5.7.1 " (missing key, sender authentication gate).
  virtual std::string refuse_from_domain(const std::string& tenant, const std::string& from_domain) = 0;
  /// At RCPT: empty to accept, else the text after "550 5.1.1 " (suppression).
  virtual std::string refuse_recipient(const std::string& tenant, const mail::Address& recipient) = 0;
};

struct Stats {
  std::size_t sessions = 0;
  std::uint64_t connections = 0, messages = 0, recipients = 0, refused = 0, auth_failures = 0;
};

class Server {
 public:
  Server(IoThreads& threads, queue::Spool& spool, events::EventLog& events, net::Resolver& resolver, Ports& ports,
         const Clock& clock, std::shared_ptr<const Options> options);
  ~Server();

  /// Binds every listener (SO_REUSEPORT, one acceptor per I/O thread). The error names the address.
  Result<void> start();
  /// Swaps the options: tenants, limits and TLS contexts count at once for new transactions and connections; listeners
  /// whose address is gone are closed, new ones opened, sessions go on. Remembered authentications are dropped. An
  /// error leaves everything as it was.
  Result<void> reload(std::shared_ptr<const Options> options);
  /// No new sessions; sessions before the end of data hear 421 4.3.2 and close; those past it may finish until `grace`
  /// has passed. Blocks until done; call from a thread that is no I/O thread.
  void stop(std::chrono::milliseconds grace);
  Stats stats() const;
  /// The bound addresses (ports chosen by the system included), in the order of the configuration. Never waits for a
  /// reload.
  std::vector<boost::asio::ip::tcp::endpoint> addresses() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace danki::submission
