// LaneTable: mail that is passed over while its site has no open path.
#include "mta/delivery/lane_table.hpp"

#include <algorithm>

namespace danki::delivery {

namespace {

constexpr std::size_t kProbedLanes = 4;                        // of one group at a time
constexpr std::chrono::milliseconds kWalkPerEntry{1};          // least time between two walks over what is parked...
constexpr std::chrono::milliseconds kLeastBetweenWalks{5000};  // ...so that looking for what expired costs little

}  // namespace

void LaneTable::note_parked(Lane& lane, const LanePosition& position, const std::string& pool, TimePoint expires_at) {
  if (!lane.parked) {
    lane.parked = Parked{.from = position};
    ++lane.group->parked_lanes;
    ++parked_lanes_;
  }
  ++lane.parked->entries;
  lane.parked->from = std::min(lane.parked->from, position);
  lane.parked->expires_at = std::min(lane.parked->expires_at, expires_at);
  lane.group->parked_pools.insert(pool);
  plan_expiry(lane);
}

void LaneTable::add_parked(const queue::DueEntry& entry, const std::string& pool, TimePoint expires_at) {
  Lane& target = lane(entry.lane);
  ++target.entries;
  ++entries_;
  note_parked(target, position_of(entry), pool, expires_at);
}

void LaneTable::park(Item& item, const std::string& pool, TimePoint expires_at) {
  Lane& owner = *item.lane;
  LanePosition position = position_of(item.entry);
  remove_item(item);
  note_parked(owner, position, pool, expires_at);
  plan(owner);  // what lies behind may be for another pool, or expire sooner
}

void LaneTable::unpark(Lane& lane) {
  if (!lane.parked) return;
  LanePosition from = lane.parked->from;
  lane.parked.reset();
  --parked_lanes_;
  if (--lane.group->parked_lanes == 0) lane.group->parked_pools.clear();
  note_on_disk(lane, from);
}

void LaneTable::unpark(LaneGroup& group) {
  if (group.parked_lanes == 0) return;
  for (auto& [id, lane] : group.lanes) unpark(*lane);
}

void LaneTable::probe(LaneGroup& group) {
  std::size_t chosen = 0;
  for (mail::MailClass klass : {mail::MailClass::Transactional, mail::MailClass::Bulk}) {
    auto next = group.lanes.upper_bound(group.probed_last);
    for (std::size_t i = 0; i < group.lanes.size() && chosen < kProbedLanes; ++i, ++next) {
      if (next == group.lanes.end()) next = group.lanes.begin();
      if (next->second->key.klass != klass || !next->second->parked) continue;
      ++chosen;
      to_probe_.push_back(next->first);
    }
  }
  if (chosen > 0) group.probed_last = to_probe_.back();
}

bool LaneTable::has_parked(const std::string& domain) const {
  if (parked_lanes_ == 0) return false;
  for (auto it = by_key_.lower_bound({domain, mail::MailClass::Transactional, ""});
       it != by_key_.end() && it->first.domain == domain; ++it) {
    if (it->second->parked) return true;
  }
  return false;
}

std::vector<LaneGroup*> LaneTable::parked_groups() const {
  std::vector<LaneGroup*> parked;
  if (parked_lanes_ == 0) return parked;
  for (const auto& [name, group] : groups_) {
    if (group->parked_lanes > 0) parked.push_back(group.get());
  }
  return parked;
}

void LaneTable::plan_expiry(Lane& lane) {
  TimePoint at = std::max(lane.parked->expires_at, lane.no_walk_before);
  if (lane.expiry_wake_at <= at) return;
  lane.expiry_wake_at = at;
  expiry_wakes_.emplace(at, lane.id);
}

/// What expired lies somewhere among the parked: only the messages themselves know. All of it is read again, and parked
/// again where it has time left.
void LaneTable::unpark_expired(TimePoint now) {
  while (!expiry_wakes_.empty() && expiry_wakes_.top().first <= now) {
    auto [at, id] = expiry_wakes_.top();
    expiry_wakes_.pop();
    auto found = lanes_.find(id);
    if (found == lanes_.end() || found->second->expiry_wake_at != at) continue;
    Lane& lane = *found->second;
    lane.expiry_wake_at = TimePoint::max();
    if (!lane.parked || lane.parked->expires_at == TimePoint::max()) continue;
    if (std::max(lane.parked->expires_at, lane.no_walk_before) > now) {
      plan_expiry(lane);
      continue;
    }
    lane.no_walk_before =
        now + std::max<Duration>(kLeastBetweenWalks, kWalkPerEntry * static_cast<std::int64_t>(lane.parked->entries));
    unpark(lane);
  }
}

}  // namespace danki::delivery
