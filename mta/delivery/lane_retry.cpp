#include "mta/delivery/lane_retry.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {
constexpr std::size_t kPage = 1000;  // records moved at a time: a million do not pile up in memory
}

void LaneRetry::start() {
  if (!selector_.id.empty()) {
    world_.disk.must([self = shared_from_this()] { self->one_message(); });
    return;
  }
  world_.tell([self = shared_from_this()](Scheduler& s) {
    self->lanes_ = s.retry(self->selector_);
    self->world_.disk.must([self] { self->one_page(); });
  });
}

/// One message is found by its id: no lane is read for it, and only its own sites are tried at once.
void LaneRetry::one_message() {
  const auto id = queue::MessageId::parse(selector_.id);
  if (!id || world_.stopping) return done_(0);
  auto stored = world_.spool.show(*id);
  if (!stored || !matches(stored->envelope, world_.clock.now())) return done_(0);
  world_.tell([self = shared_from_this(), entries = std::move(stored->entries)](Scheduler& s) mutable {
    std::vector<queue::LaneKey> lanes;
    for (const queue::DueEntry& entry : entries) lanes.push_back(entry.lane);
    const std::vector<queue::LaneKey> meant = s.retry(self->selector_, &lanes);
    std::erase_if(entries, [&](const queue::DueEntry& entry) {
      return std::find(meant.begin(), meant.end(), entry.lane) == meant.end();
    });
    const std::size_t matched = entries.size();
    std::erase_if(entries, [now = self->world_.clock.now()](const auto& entry) { return entry.due <= now; });
    if (!entries.empty()) s.reschedule(std::move(entries));
    self->done_(matched);
  });
}

void LaneRetry::one_page() {
  if (world_.stopping || lane_ == lanes_.size()) return done_(matched_);
  auto page = world_.spool.read_lane(lanes_[lane_], from_, TimePoint::max(), kPage);
  if (!page) {
    log::error("reading the queue failed", {{"error", page.error().message()}});
    return done_(matched_);
  }
  std::vector<queue::DueEntry> later;
  const TimePoint now = world_.clock.now();
  for (queue::DueEntry& entry : page->entries) {
    if (!matches(entry, now)) continue;
    ++matched_;
    if (entry.due > now) later.push_back(std::move(entry));
  }
  from_ = std::move(page->next);
  if (!from_) ++lane_;
  world_.tell([self = shared_from_this(), later = std::move(later)](Scheduler& s) mutable {
    if (!later.empty()) s.reschedule(std::move(later));
    self->world_.disk.must([self] { self->one_page(); });
  });
}

/// What the lane's key does not tell.
bool LaneRetry::matches(const queue::DueEntry& entry, TimePoint now) {
  if (selector_.campaign.empty() && !selector_.older_than) return true;
  auto message = world_.spool.load(entry.id);
  return message && matches((*message)->envelope, now);
}

bool LaneRetry::matches(const mail::Envelope& envelope, TimePoint now) const {
  if (!selector_.campaign.empty() && envelope.campaign != selector_.campaign) return false;
  return !selector_.older_than || now - envelope.arrived_at >= *selector_.older_than;
}

}  // namespace danki::delivery
