#pragma once

#include "mta/delivery/scheduler_ports.hpp"
#include "mta/delivery/session.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

namespace danki::delivery {

/// One outbound connection at work: opens its session, sends what it is assigned, reports. Lives on one I/O thread;
/// every method is called there.
class EgressConnection {
 public:
  /// What it tells the scheduler, and where it gets contents from.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void connected(ConnectionId id) = 0;
    virtual void connect_failed(ConnectionId id, SessionFailure failure) = 0;
    virtual void report(AttemptReport report) = 0;
    /// It begins nothing more: what it was assigned and has not reported is free for others. It says QUIT next, which
    /// may take a while, and then closed.
    virtual void ending(ConnectionId id) = 0;
    virtual void closed(ConnectionId id) = 0;
    /// The content of a message that is not in memory: read by a thread of the disk's when there is room for it,
    /// completed on the caller's executor. The room is kept until the last copy of the pointer is gone. Error
    /// operation_canceled: delivery ends.
    virtual boost::asio::awaitable<Result<std::shared_ptr<const std::string>>> read_content(
        queue::MessagePtr message) = 0;
  };

  EgressConnection(boost::asio::any_io_executor executor, ConnectionPlan plan, Owner& owner);

  /// The whole life; ends with Owner::connect_failed or Owner::closed as the last thing said (closed without ending if
  /// the host ended it). Work not reported by then was not begun.
  boost::asio::awaitable<void> run();
  void assign(std::vector<WorkItem> items);
  /// Ends after what it holds.
  void close_when_done();
  /// Ends after the transaction under way; work not begun is forgotten, its owner knows of it.
  void finish_current();
  /// Shutdown: at once if no final reply is awaited; then what is under way is reported as untouched.
  void abort();
  /// True while the final dot is sent and its reply awaited: cutting now would make a duplicate.
  bool awaiting_final_reply() const;

 private:
  boost::asio::awaitable<bool> send(WorkItem work);
  /// False if the host ended the session meanwhile.
  boost::asio::awaitable<bool> wait_for_work();
  void wake();

  boost::asio::any_io_executor executor_;
  ConnectionPlan plan_;
  Owner& owner_;
  boost::asio::steady_timer idle_timer_;
  std::optional<SmtpSession> session_;
  std::deque<WorkItem> work_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // the timer's handler may run after the end
  bool waiting_ = false;
  bool closing_ = false;
  bool aborted_ = false;
  bool last_transaction_ = false;
  bool ending_ = false;
  std::uint32_t delivered_ = 0;
  std::uint32_t max_recipients_;  ///< per transaction; fewer once the host has said "too many"
};

}  // namespace danki::delivery
