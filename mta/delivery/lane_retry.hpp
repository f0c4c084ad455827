#pragma once

#include "base/time.hpp"
#include "mta/delivery/disk_work.hpp"
#include "mta/delivery/scheduler.hpp"
#include "queue/spool.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace danki::delivery {

/// An operator's retry, page by page through lanes on disk: hands what is due later to the scheduler. Each page is a
/// piece of disk work of its own, so that a long retry holds up nobody. Lives as long as its work does.
class LaneRetry : public std::enable_shared_from_this<LaneRetry> {
 public:
  using Task = std::move_only_function<void(Scheduler&)>;
  /// How many records the selector means, those in memory or due already among them.
  using Done = std::function<void(std::uint64_t matched)>;
  /// What outlives it. `tell` runs a task on the scheduler's thread; once `stopping` is set no more is begun.
  struct World {
    queue::Spool& spool;
    DiskWork& disk;
    const Clock& clock;
    const std::atomic<bool>& stopping;
    std::function<void(Task)> tell;
  };

  LaneRetry(World world, EntrySelector selector, Done done)
      : world_(std::move(world)), selector_(std::move(selector)), done_(std::move(done)) {}

  /// Any thread. `done` is called once, on a disk or the scheduler's thread.
  void start();

 private:
  void one_message();
  void one_page();
  bool matches(const queue::DueEntry& entry, TimePoint now);
  bool matches(const mail::Envelope& envelope, TimePoint now) const;

  const World world_;
  const EntrySelector selector_;
  const Done done_;
  std::vector<queue::LaneKey> lanes_;
  std::size_t lane_ = 0;  ///< which one is being read
  std::optional<queue::DueEntry> from_;
  std::uint64_t matched_ = 0;
};

}  // namespace danki::delivery
