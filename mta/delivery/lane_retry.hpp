#pragma once

#include "base/time.hpp"
#include "mta/delivery/scheduler.hpp"
#include "queue/spool.hpp"

#include <atomic>
#include <functional>

namespace danki::delivery {

/// An operator's retry, page by page through a lane on disk: runs on a worker, hands what is due later to the
/// scheduler.
class LaneRetry {
 public:
  using Task = std::move_only_function<void(Scheduler&)>;

  /// `tell` runs a task on the scheduler's thread; once `stopping` is set it may never run.
  LaneRetry(queue::Spool& spool, const Clock& clock, const std::atomic<bool>& stopping, std::function<void(Task)> tell)
      : spool_(spool), clock_(clock), stopping_(stopping), tell_(std::move(tell)) {}

  /// How many records the selector means, those in memory or due already among them.
  std::uint64_t run(const queue::LaneKey& lane, const EntrySelector& selector);

 private:
  bool matches(const queue::DueEntry& entry, const EntrySelector& selector, TimePoint now);
  bool reschedule(std::vector<queue::DueEntry> entries);

  queue::Spool& spool_;
  const Clock& clock_;
  const std::atomic<bool>& stopping_;
  std::function<void(Task)> tell_;
};

}  // namespace danki::delivery
