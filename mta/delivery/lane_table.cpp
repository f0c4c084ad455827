#include "mta/delivery/lane_table.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::size_t kProbe = 4;      // parked records of one lane that try whether the site answers again
constexpr std::size_t kWalkPage = 32;  // records read at a time behind parked mail

}  // namespace

LanePosition position_of(const queue::DueEntry& entry) {
  return {entry.due, entry.id, entry.recipients.front()};
}

LaneTable::LaneTable(Limits limits, GroupOf group_of) : limits_(limits), group_of_(std::move(group_of)) {}
LaneTable::~LaneTable() = default;

Lane* LaneTable::find_lane(const queue::LaneKey& key) {
  auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

Lane& LaneTable::lane(const queue::LaneKey& key) {
  if (Lane* known = find_lane(key)) return *known;
  auto made = std::make_unique<Lane>();
  Lane& lane = *made;
  lane.id = next_lane_++;
  lane.key = key;
  join(lane, group(group_of_(key.domain)));
  by_key_.emplace(key, &lane);
  lanes_.emplace(lane.id, std::move(made));
  return lane;
}

Item& LaneTable::new_item(Lane& lane, const queue::DueEntry& entry) {
  auto made = std::make_unique<Item>();
  Item& item = *made;
  item.id = next_item_++;
  item.lane = &lane;
  item.entry = entry;
  lane.members.emplace(position_of(entry), item.id);
  ++lane.in_memory;
  hold(lane, 1);
  items_.emplace(item.id, std::move(made));
  return item;
}

Item* LaneTable::find(ItemId id) {
  auto found = items_.find(id);
  return found == items_.end() ? nullptr : found->second.get();
}

Item* LaneTable::add_new(const queue::DueEntry& entry, const queue::MessagePtr& message, TimePoint now) {
  Lane& target = lane(entry.lane);
  ++target.entries;
  ++entries_;
  bool backlog_on_disk = target.disk_from && target.disk_from->due <= now;
  if (entry.due > now || backlog_on_disk || target.in_memory >= limits_.window || room(target) == 0) {
    note_on_disk(target, position_of(entry));
    return nullptr;
  }
  Item& item = new_item(target, entry);
  item.state = Item::State::Preparing;
  item.message = message;
  return &item;
}

void LaneTable::add_lane(const queue::LaneCount& count) {
  Lane& target = lane(count.lane);
  target.entries += count.entries;
  entries_ += count.entries;
  note_on_disk(target, LanePosition{.due = count.earliest_due});
}

void LaneTable::add_on_disk(const queue::DueEntry& entry) {
  Lane& target = lane(entry.lane);
  ++target.entries;
  ++entries_;
  note_on_disk(target, position_of(entry));
}

void LaneTable::note_on_disk(Lane& lane, const LanePosition& position) {
  if (lane.reading && (!lane.inserted || position < *lane.inserted)) lane.inserted = position;
  if (!lane.disk_from || position < *lane.disk_from) lane.disk_from = position;
  plan(lane);
}

void LaneTable::plan(Lane& lane) {
  if (lane.reading || lane.starved || !lane.disk_from) return;
  // A refill costs a seek: wait until a good part of the window is free.
  if (lane.in_memory > limits_.low_water) return;
  TimePoint at = lane.disk_from->due;
  if (lane.wake_at && *lane.wake_at <= at) return;
  lane.wake_at = at;
  wakes_.emplace(at, lane.id);
}

ReadRequest LaneTable::request(Lane& lane, const LanePosition& from, std::size_t limit, TimePoint now) {
  queue::DueEntry first{.lane = lane.key, .due = from.due, .id = from.id, .recipients = {from.first}};
  lane.reading = true;
  lane.requested = limit;
  hold(lane, limit);
  lane.inserted.reset();
  lane.finished.clear();
  // Records already in memory may come back from disk in between; ask for as many more.
  return {.lane = lane.id, .key = lane.key, .from = std::move(first), .until = now, .limit = limit + lane.in_memory};
}

void LaneTable::end_request(Lane& lane) {
  lane.reading = false;
  release(lane, lane.requested);
  lane.requested = 0;
}

std::vector<ReadRequest> LaneTable::reads_due(TimePoint now) {
  std::vector<ReadRequest> requests;
  unpark_expired(now);
  feed_drained(now);
  for (LaneId id : std::exchange(to_probe_, {})) {
    auto found = lanes_.find(id);
    if (found == lanes_.end() || found->second->reading || !found->second->parked) continue;
    Lane& lane = *found->second;
    std::size_t limit = std::min(room(lane), kProbe);
    if (limit == 0) continue;
    lane.probing = true;
    requests.push_back(request(lane, lane.parked->from, limit, now));
  }
  for (Lane* due : lanes_due(now)) {
    std::size_t limit = std::min(room(*due), limits_.window - std::min<std::size_t>(limits_.window, due->in_memory));
    if (limit == 0) {
      starve(*due, now);
      continue;
    }
    // What lies behind parked mail is most likely parked too: the disk is for others as well.
    if (due->group->parked_lanes > 0) limit = std::min(limit, kWalkPage);
    requests.push_back(request(*due, *due->disk_from, limit, now));
  }
  end_wants();
  return requests;
}

/// Those to read from now, transactional first. Each counts when shares are reckoned, so that the first does not take
/// what the last one needs.
std::vector<Lane*> LaneTable::lanes_due(TimePoint now) {
  std::vector<Lane*> lanes;
  while (!wakes_.empty() && wakes_.top().first <= now) {
    auto [at, id] = wakes_.top();
    wakes_.pop();
    auto found = lanes_.find(id);
    if (found == lanes_.end()) continue;
    Lane& due = *found->second;
    if (!due.wake_at || *due.wake_at != at) continue;  // planned anew since
    due.wake_at.reset();
    if (due.reading || !due.disk_from || due.in_memory > limits_.low_water) continue;
    if (due.disk_from->due > now) {
      plan(due);
      continue;
    }
    want(due);
    lanes.push_back(&due);
  }
  std::stable_partition(lanes.begin(), lanes.end(),
                        [](const Lane* lane) { return lane->key.klass == mail::MailClass::Transactional; });
  return lanes;
}

std::vector<Item*> LaneTable::on_page(LaneId id, const queue::LanePage& page, queue::MessageId known) {
  std::vector<Item*> taken;
  auto found = lanes_.find(id);
  if (found == lanes_.end()) return taken;
  Lane& read = *found->second;
  const std::size_t limit = read.requested;
  end_request(read);
  std::optional<LanePosition> next;
  if (page.next) next = position_of(*page.next);
  for (const queue::DueEntry& entry : page.entries) {
    LanePosition position = position_of(entry);
    // A record that ended or moved after the page was read must not come back to life.
    if (entry.id > known || read.members.contains(position) || read.finished.contains(position) ||
        read.moving.contains(position)) {
      continue;
    }
    if (taken.size() == limit) {
      next = position;
      break;
    }
    Item& item = new_item(read, entry);
    item.state = Item::State::Loading;
    taken.push_back(&item);
  }
  if (std::exchange(read.probing, false)) {
    // Its reading position stays; a probe that finds nothing tells that what was parked is gone or not due.
    if (taken.empty() && read.in_memory == 0) unpark(read);
  } else {
    read.disk_from = next;
  }
  if (read.inserted && (!read.disk_from || *read.inserted < *read.disk_from)) read.disk_from = read.inserted;
  read.inserted.reset();
  read.finished.clear();
  plan(read);
  drop_if_empty(read);
  return taken;
}

void LaneTable::on_read_failed(LaneId id, TimePoint retry_at) {
  auto found = lanes_.find(id);
  if (found == lanes_.end()) return;
  Lane& read = *found->second;
  end_request(read);
  read.probing = false;
  read.wake_at = retry_at;
  wakes_.emplace(retry_at, id);
}

void LaneTable::remove_item(Item& item) {
  Lane& owner = *item.lane;
  owner.members.erase(position_of(item.entry));
  --owner.in_memory;
  release(owner, 1);
  items_.erase(item.id);
}

void LaneTable::finish(Item& item, const std::vector<queue::DueEntry>& remaining) {
  Lane& owner = *item.lane;
  if (owner.reading) owner.finished.insert(position_of(item.entry));
  remove_item(item);
  --owner.entries;
  --entries_;
  for (const queue::DueEntry& entry : remaining) add_on_disk(entry);
  plan(owner);
  drop_if_empty(owner);
}

void LaneTable::put_back(Item& item) {
  Lane& owner = *item.lane;
  LanePosition position = position_of(item.entry);
  remove_item(item);
  note_on_disk(owner, position);
}

void LaneTable::drop_if_empty(Lane& lane) {
  if (lane.in_memory > 0 || lane.disk_from || lane.parked || lane.reading || !lane.moving.empty()) return;
  leave_group(lane);
  by_key_.erase(lane.key);
  entries_ -= lane.entries;  // a count that drifted ends with the lane
  lanes_.erase(lane.id);
}

std::vector<queue::DueEntry> LaneTable::begin_move(std::vector<queue::DueEntry> entries) {
  std::vector<queue::DueEntry> movable;
  for (queue::DueEntry& entry : entries) {
    Lane* owner = find_lane(entry.lane);
    LanePosition position = position_of(entry);
    if (!owner || owner->members.contains(position) || owner->finished.contains(position)) continue;
    if (!owner->moving.insert(position).second) continue;
    movable.push_back(std::move(entry));
  }
  return movable;
}

void LaneTable::end_move(const std::vector<queue::DueEntry>& old, TimePoint due) {
  for (const queue::DueEntry& entry : old) {
    Lane* owner = find_lane(entry.lane);
    if (!owner) continue;
    owner->moving.erase(position_of(entry));
    // A page read before the move may still hold the old record.
    if (owner->reading) owner->finished.insert(position_of(entry));
    queue::DueEntry moved = entry;
    moved.due = due;
    note_on_disk(*owner, position_of(moved));
  }
}

std::optional<TimePoint> LaneTable::next_wake() const {
  std::optional<TimePoint> next;
  auto earlier = [&](TimePoint at) { next = next ? std::min(*next, at) : at; };
  if (!wakes_.empty()) earlier(wakes_.top().first);
  if (!expiry_wakes_.empty()) earlier(expiry_wakes_.top().first);
  if (!starving_.empty()) earlier(next_feed_);
  if (!to_probe_.empty()) earlier(TimePoint{});
  return next;
}

}  // namespace danki::delivery
