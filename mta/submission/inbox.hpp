#pragma once

#include "base/mailbox.hpp"
#include "base/result.hpp"
#include "mta/submission/authenticator.hpp"
#include "mta/submission/line_encoder.hpp"
#include "queue/message.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace danki::submission {

/// What one session has asked of another thread, and the answer. Written there, then delivered; read on the I/O thread.
struct PendingAnswer {
  boost::asio::steady_timer* wake = nullptr;  ///< the session waits on it; null once it has gone. I/O thread only.
  std::optional<Result<queue::MessageId>> stored;
  std::optional<AuthResult> password;
  std::optional<Encoded> encoded;
  bool delivered = false;  ///< I/O thread only
};

/// Where the commit thread and the password threads leave answers for the sessions of one I/O thread. A batch of them
/// costs one wake-up.
class Inbox : public std::enable_shared_from_this<Inbox> {
 public:
  explicit Inbox(boost::asio::io_context& context) : context_(&context) {}

  /// From any thread.
  void deliver(std::shared_ptr<PendingAnswer> answer);
  /// The thread is about to end: answers that come later are dropped.
  void close();

 private:
  void hand_out();

  Mailbox<std::shared_ptr<PendingAnswer>> box_;
  std::vector<std::shared_ptr<PendingAnswer>> batch_;
  std::mutex mutex_;
  boost::asio::io_context* context_;  ///< null once closed
};

}  // namespace danki::submission
