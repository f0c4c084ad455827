#pragma once

#include "base/result.hpp"
#include "mail/reply.hpp"
#include "mta/delivery/extensions.hpp"
#include "mta/delivery/session_options.hpp"
#include "mta/delivery/session_result.hpp"
#include "net/stream.hpp"
#include "queue/message.hpp"

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

/// The SMTP client: one outbound session (RFC 5321), and what each reply means for each recipient. Knows nothing of
/// queues and limits.
namespace danki::delivery {

struct TransactionRequest {
  queue::MessagePtr message;
  std::shared_ptr<const std::string> content;  ///< as stored; CRLF line ends, not dot-stuffed; shared with the message
  std::shared_ptr<const queue::Message::Prepared> prepared;  ///< header lines that go first
  std::vector<std::uint32_t> recipients;                     ///< indices into the envelope
};

struct TransactionResult {
  std::vector<RecipientResult> recipients;  ///< one per requested recipient, in that order
  bool session_usable = true;               ///< false: closed (421, broken, timeout); open a new one
  std::optional<SessionFailure> failure;    ///< why the session ended, when it did
  std::chrono::milliseconds duration{0};
};

/// One connection to one host, used by one coroutine on one I/O thread.
class SmtpSession {
 public:
  /// Tries the targets in order until one answers EHLO as it should (a failed or refused one is passed over: next host
  /// on transport failure, 4xx and 5xx at greeting or EHLO). STARTTLS as the policy says; opportunistic failure
  /// reconnects to the same host in the clear. A bind failure ends at once with source_at_fault. The failure returned
  /// is the last one.
  static boost::asio::awaitable<std::expected<SmtpSession, SessionFailure>> open(boost::asio::any_io_executor executor,
                                                                                 std::vector<HostTarget> targets,
                                                                                 SessionOptions options);
  SmtpSession(SmtpSession&&) noexcept;
  SmtpSession& operator=(SmtpSession&&) noexcept;
  ~SmtpSession();

  /// One mail transaction with all of `recipients`. MAIL, RCPT and DATA go in one flight where PIPELINING is offered.
  boost::asio::awaitable<TransactionResult> deliver(TransactionRequest request);
  /// QUIT, waits shortly for 221, closes.
  boost::asio::awaitable<void> quit();
  /// Returns when the idle connection is closed by the host or says something (421): it is unusable then. Returns with
  /// the session usable after stop_waiting().
  boost::asio::awaitable<void> wait_closed();
  /// Ends a wait_closed() under way.
  void stop_waiting();
  /// Closes at once; a deliver() under way ends as a broken connection does.
  void close();
  /// False once the connection is gone or must not be used on.
  bool usable() const;
  /// True from the moment the end of the content is handed to the kernel until its reply is read: closing then risks a
  /// duplicate.
  bool awaiting_final_reply() const;

  const HostTarget& target() const;
  const Extensions& extensions() const;
  const std::optional<net::TlsInfo>& tls_info() const;
  /// The source's address and port as the kernel chose them.
  boost::asio::ip::tcp::endpoint local_endpoint() const;

  struct State;  ///< session_state.hpp

 private:
  explicit SmtpSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace danki::delivery
