#include "mta/delivery/lane_retry.hpp"

#include "base/log.hpp"

#include <future>
#include <memory>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::size_t kPage = 1000;  // records moved at a time: a million do not pile up in memory
constexpr std::chrono::milliseconds kStopCheck{100};

}  // namespace

/// What the lane's key does not tell.
bool LaneRetry::matches(const queue::DueEntry& entry, const EntrySelector& selector, TimePoint now) {
  if (!selector.id.empty() && entry.id.to_string() != selector.id) return false;
  if (selector.campaign.empty() && !selector.older_than) return true;
  auto message = spool_.load(entry.id);
  if (!message) return false;
  const mail::Envelope& envelope = (*message)->envelope;
  if (!selector.campaign.empty() && envelope.campaign != selector.campaign) return false;
  return !selector.older_than || now - envelope.arrived_at >= *selector.older_than;
}

std::uint64_t LaneRetry::run(const queue::LaneKey& lane, const EntrySelector& selector) {
  std::uint64_t matched = 0;
  std::optional<queue::DueEntry> from;
  do {
    if (stopping_) return matched;
    auto page = spool_.read_lane(lane, from, TimePoint::max(), kPage);
    if (!page) {
      log::error("reading the queue failed", {{"error", page.error().message()}});
      return matched;
    }
    std::vector<queue::DueEntry> later;
    TimePoint now = clock_.now();
    for (queue::DueEntry& entry : page->entries) {
      if (!matches(entry, selector, now)) continue;
      ++matched;
      if (entry.due > now) later.push_back(std::move(entry));
    }
    from = std::move(page->next);
    if (!later.empty() && !reschedule(std::move(later))) return matched;
  } while (from);
  return matched;
}

/// False if the scheduler has ended and answers no more.
bool LaneRetry::reschedule(std::vector<queue::DueEntry> entries) {
  auto moved = std::make_shared<std::promise<void>>();  // shared with a scheduler that may answer too late
  auto answered = moved->get_future();
  tell_([moved, entries = std::move(entries)](Scheduler& s) mutable {
    s.reschedule(std::move(entries));
    moved->set_value();
  });
  while (answered.wait_for(kStopCheck) != std::future_status::ready) {
    if (stopping_) return false;
  }
  return true;
}

}  // namespace danki::delivery
