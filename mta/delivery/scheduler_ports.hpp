#pragma once

#include "mta/delivery/lane_table.hpp"
#include "mta/delivery/outcome.hpp"
#include "mta/delivery/session_options.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

/// What the scheduler asks of the world. Each request is answered later by the scheduler's method named beside it; no
/// call blocks.
namespace danki::delivery {

using ConnectionId = std::uint64_t;

struct ConnectionPlan {
  ConnectionId id = 0;
  std::string site;
  std::string source;
  std::vector<HostTarget> targets;
  SessionOptions session;              ///< contexts are filled in by who opens it
  std::uint32_t max_messages = 0;      ///< 0: no limit
  std::uint32_t max_recipients = 100;  ///< per transaction
};

struct WorkItem {
  ItemId item = 0;
  queue::MessagePtr message;
  std::vector<std::uint32_t> recipients;
};

/// What became of a WorkItem on a connection.
struct AttemptReport {
  ConnectionId connection = 0;
  ItemId item = 0;
  std::vector<RecipientResult> results;   ///< one per recipient; empty: the item was returned unstarted
  std::optional<SessionFailure> failure;  ///< the session ended with it
  HostTarget target;
  std::optional<events::Event::Tls> tls;
  bool host_has_dsn = false;
  std::uint32_t delivered_before = 0;  ///< messages this connection had delivered before
  std::chrono::milliseconds duration{0};
};

/// An ended attempt on its way to the event log and the spool.
struct FinishedAttempt {
  ItemId item = 0;
  JudgedAttempt judged;
};

/// An attempt that the spool has recorded, and the records written for what remains of it.
struct AppliedAttempt {
  ItemId item = 0;
  std::vector<queue::DueEntry> remaining;
};

/// The MX hosts of a domain, or why there are none.
struct Resolution {
  enum class Status { Ok, NxDomain, NullMx, NoAddress, Loop, Temporary } status = Status::Temporary;
  std::string site;
  std::vector<HostTarget> targets;
  std::chrono::seconds ttl{0};
  std::string error;
};

class SchedulerPorts {
 public:
  virtual ~SchedulerPorts() = default;
  virtual void open(ConnectionPlan plan) = 0;                                     ///< on_connected or on_connect_failed
  virtual void assign(ConnectionId connection, std::vector<WorkItem> items) = 0;  ///< on_report for each
  virtual void close(ConnectionId connection) = 0;                                ///< when done: on_ending, on_closed
  /// After the transaction under way: on_ending (what it had not begun is free), on_closed.
  virtual void close_soon(ConnectionId connection) = 0;
  virtual void read_lane(ReadRequest request) = 0;                                   ///< on_page or on_read_failed
  virtual void load(std::vector<std::pair<ItemId, queue::MessageId>> items) = 0;     ///< on_loaded for each
  virtual void prepare(ItemId item, queue::MessagePtr message) = 0;                  ///< on_prepared
  virtual void resolve(std::string domain) = 0;                                      ///< on_resolved
  virtual void record(std::vector<FinishedAttempt> attempts) = 0;                    ///< on_applied with all of them
  virtual void reschedule(std::vector<queue::DueEntry> entries, TimePoint due) = 0;  ///< on_rescheduled
  /// A due record whose message is gone: to be removed. No answer.
  virtual void discard(queue::DueEntry entry) = 0;
  virtual void event(events::Event event) = 0;
  /// True if a socket can be bound to the address now.
  virtual bool can_bind(const boost::asio::ip::address& address) = 0;
  /// True if the message needs no preparation (nothing to sign, or already signed well).
  virtual bool is_prepared(const queue::Message& message) = 0;
  /// True while the spool cannot record outcomes. Cheap.
  virtual bool recording_fails() const { return false; }
};

}  // namespace danki::delivery
