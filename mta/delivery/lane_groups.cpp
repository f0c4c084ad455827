// LaneTable: who may hold how much of it.
#include "mta/delivery/lane_table.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::chrono::milliseconds kFeedEvery{100};  // shares change with every site that comes and goes

std::size_t index_of(mail::MailClass klass) {
  return static_cast<std::size_t>(klass);
}

}  // namespace

LaneGroup* LaneTable::find_group(const std::string& name) {
  auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : found->second.get();
}

LaneGroup& LaneTable::group(const std::string& name) {
  auto& slot = groups_[name];
  if (!slot) {
    slot = std::make_unique<LaneGroup>();
    slot->name = name;
  }
  return *slot;
}

void LaneTable::join(Lane& lane, LaneGroup& group) {
  lane.group = &group;
  group.lanes.emplace(lane.id, &lane);
  hold(lane, lane.in_memory + lane.requested);
}

void LaneTable::leave_group(Lane& lane) {
  LaneGroup& left = *lane.group;
  release(lane, lane.in_memory + lane.requested);
  left.lanes.erase(lane.id);
  lane.group = nullptr;
  if (!left.lanes.empty()) return;
  for (mail::MailClass klass : {mail::MailClass::Transactional, mail::MailClass::Bulk})
    with_claim(left, klass, [&](std::size_t i) { left.starved[i].clear(); });
  starving_.erase(&left);
  drained_.erase(&left);
  groups_.erase(std::string(left.name));
}

void LaneTable::regroup(const std::string& domain, const std::string& name) {
  for (auto it = by_key_.lower_bound({domain, mail::MailClass::Transactional, ""});
       it != by_key_.end() && it->first.domain == domain; ++it) {
    Lane& lane = *it->second;
    if (lane.group->name == name) continue;
    unpark(lane);
    LaneGroup& joined = group(name);
    leave_group(lane);
    join(lane, joined);
    lane.starved = false;
    plan(lane);
  }
}

/// Changes what a class of the group holds or wants, and counts whether it does.
template <class Change>
void LaneTable::with_claim(LaneGroup& group, mail::MailClass klass, Change change) {
  const std::size_t i = index_of(klass);
  auto claims = [&] { return group.held[i] > 0 || group.wanting[i] || !group.starved[i].empty() ? 1u : 0u; };
  claimants_[i] -= claims();
  change(i);
  claimants_[i] += claims();
}

void LaneTable::hold(const Lane& lane, std::size_t entries) {
  with_claim(*lane.group, lane.key.klass, [&](std::size_t i) {
    lane.group->held[i] += entries;
    held_[i] += entries;
  });
}

void LaneTable::release(const Lane& lane, std::size_t entries) {
  LaneGroup& group = *lane.group;
  with_claim(group, lane.key.klass, [&](std::size_t i) {
    group.held[i] -= entries;
    held_[i] -= entries;
  });
  if (!group.starved[0].empty() || !group.starved[1].empty()) drained_.insert(&group);
}

void LaneTable::want(Lane& lane) {
  with_claim(*lane.group, lane.key.klass, [&](std::size_t i) { lane.group->wanting[i] = true; });
  wanting_.push_back(lane.group);
}

void LaneTable::end_wants() {
  for (LaneGroup* group : std::exchange(wanting_, {})) {
    for (mail::MailClass klass : {mail::MailClass::Transactional, mail::MailClass::Bulk})
      with_claim(*group, klass, [&](std::size_t i) { group->wanting[i] = false; });
  }
}

/// One share more than there are claimants: room for who comes next, without anybody having to leave first.
std::size_t LaneTable::share(mail::MailClass klass, std::size_t newcomers) const {
  const std::size_t of_class = claimants_[index_of(klass)] + newcomers;
  const std::size_t of_all = claimants_[0] + claimants_[1] + newcomers;
  return std::max<std::size_t>(1, std::min(limits_.total / (of_all + 1), most_of_class() / (of_class + 1)));
}

std::size_t LaneTable::free_for(mail::MailClass klass) const {
  const std::size_t of_class = held_[index_of(klass)];
  const std::size_t of_all = held_[0] + held_[1];
  if (of_class >= most_of_class() || of_all >= limits_.total) return 0;
  return std::min(most_of_class() - of_class, limits_.total - of_all);
}

std::size_t LaneTable::room(const Lane& lane) const {
  const std::size_t i = index_of(lane.key.klass);
  const std::size_t held = lane.group->held[i];
  const bool claims = held > 0 || lane.group->wanting[i] || !lane.group->starved[i].empty();
  const std::size_t share = this->share(lane.key.klass, claims ? 0 : 1);
  return held >= share ? 0 : std::min(share - held, free_for(lane.key.klass));
}

void LaneTable::starve(Lane& lane, TimePoint now) {
  if (lane.starved) return;
  lane.starved = true;
  if (starving_.empty()) next_feed_ = now + kFeedEvery;
  with_claim(*lane.group, lane.key.klass, [&](std::size_t i) { lane.group->starved[i].push_back(lane.id); });
  starving_.insert(lane.group);
}

/// Lets lanes of the group read that found no room, in the order they came, as far as there is some now.
void LaneTable::feed(LaneGroup& group, std::size_t least_room) {
  for (mail::MailClass klass : {mail::MailClass::Transactional, mail::MailClass::Bulk}) {
    const std::deque<LaneId>& waiting = group.starved[index_of(klass)];
    std::size_t fed = 0;
    while (!waiting.empty()) {
      auto found = lanes_.find(waiting.front());
      if (found != lanes_.end() && found->second->starved && found->second->group == &group) {
        Lane& lane = *found->second;
        const std::size_t free = room(lane);
        if (free <= fed || free < least_room) break;
        ++fed;
        lane.starved = false;
        plan(lane);
      }
      with_claim(group, klass, [&](std::size_t i) { group.starved[i].pop_front(); });
    }
  }
  if (group.starved[0].empty() && group.starved[1].empty()) starving_.erase(&group);
}

void LaneTable::feed_all() {
  drained_.clear();
  for (LaneGroup* group : std::set<LaneGroup*>(starving_)) feed(*group, 1);
}

void LaneTable::feed_drained(TimePoint now) {
  if (starving_.empty()) return;
  if (now >= next_feed_) {
    next_feed_ = now + kFeedEvery;
    feed_all();
    return;
  }
  // One by one, each message would cost a seek.
  const std::size_t share = this->share(mail::MailClass::Bulk);
  const std::size_t worth_a_seek = std::max<std::size_t>(1, std::min(limits_.low_water, share / 4));
  for (LaneGroup* group : std::exchange(drained_, {})) feed(*group, worth_a_seek);
}

std::optional<mail::MailClass> LaneTable::crowded_out() const {
  for (mail::MailClass klass : {mail::MailClass::Transactional, mail::MailClass::Bulk}) {
    if (free_for(klass) > 0) continue;
    for (const LaneGroup* group : starving_) {
      if (!group->starved[index_of(klass)].empty() && group->held[index_of(klass)] < share(klass)) return klass;
    }
  }
  return std::nullopt;
}

std::vector<LaneGroup*> LaneTable::over_share(mail::MailClass klass) const {
  std::vector<LaneGroup*> over;
  for (const auto& [name, group] : groups_) {
    if (group->held[index_of(klass)] > share(klass)) over.push_back(group.get());
  }
  return over;
}

}  // namespace danki::delivery
