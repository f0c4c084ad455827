#pragma once

#include "queue/spool.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

namespace danki::queue {

struct AcceptOp {
  NewMessage message;
  std::function<void(Result<MessageId>)> done;
};
struct RecordOp {
  std::vector<Outcome> outcomes;
  std::function<void()> applied;
};
struct RescheduleOp {
  std::vector<DueEntry> entries;
  TimePoint due;
  std::function<void()> applied;
  std::size_t next = 0;  ///< entries before it are done; a long list takes several batches
};
struct DiscardOp {
  std::vector<DueEntry> entries;
  std::function<void()> applied;
  std::size_t next = 0;
};
struct CounterOp {
  std::string key;
  std::function<std::string()> take;  ///< its newest value
  std::function<void()> applied;
};
/// What must not get lost: kept while writes fail, in order.
using KeptOp = std::variant<RecordOp, RescheduleOp, DiscardOp, CounterOp>;

/// Where all sessions leave operations for the commit thread; it takes everything at once.
class OperationQueue {
 public:
  /// False after close(): nothing was taken from `op`.
  bool push(AcceptOp& op) { return push_to(accepts_, op, op.message.content.size()); }
  bool push(KeptOp&& op) { return push_to(kept_, op, 0); }

  /// Appends what waits to both; waits for something until `until`. False once closed: nothing will come any more.
  bool take(std::vector<AcceptOp>& accepts, std::deque<KeptOp>& kept, std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    taker_waits_ = true;
    changed_.wait_until(lock, until, [this] { return closed_ || !accepts_.empty() || !kept_.empty(); });
    taker_waits_ = false;
    accepts.swap(accepts_);
    for (KeptOp& op : kept_) kept.push_back(std::move(op));
    kept_.clear();
    waiting_bytes_ = 0;
    return !closed_;
  }
  /// Waits until `expected` more messages wait than now, or `until`. A lone one that is expected is not waited for.
  void gather(std::size_t expected, std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    const std::size_t together = accepts_.size() + expected;
    if (together < 2) return;
    while (!closed_ && accepts_.size() < together) {
      taker_waits_ = true;
      if (changed_.wait_until(lock, until) == std::cv_status::timeout) break;
    }
    taker_waits_ = false;
  }
  void close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    changed_.notify_one();
  }
  /// Contents that wait to be taken.
  std::uint64_t waiting_bytes() const { return waiting_bytes_; }

 private:
  template <class Ops, class Op>
  bool push_to(Ops& ops, Op& op, std::size_t bytes) {
    bool wake = false;
    {
      const std::scoped_lock lock(mutex_);
      if (closed_) return false;
      ops.push_back(std::move(op));
      waiting_bytes_ += bytes;
      wake = std::exchange(taker_waits_, false);  // one call into the kernel, however many come before it wakes
    }
    if (wake) changed_.notify_one();
    return true;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<AcceptOp> accepts_;
  std::vector<KeptOp> kept_;
  std::atomic<std::uint64_t> waiting_bytes_{0};
  bool taker_waits_ = false;
  bool closed_ = false;
};

}  // namespace danki::queue
