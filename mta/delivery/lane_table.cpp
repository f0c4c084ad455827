#include "mta/delivery/lane_table.hpp"

#include <algorithm>
#include <cassert>

namespace danki::delivery {

LanePosition position_of(const queue::DueEntry& entry) {
  return {entry.due, entry.id, entry.recipients.front()};
}

LaneTable::LaneTable(Limits limits) : limits_(limits) {}
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
  if (entry.due > now || backlog_on_disk || target.in_memory >= limits_.window || items_.size() >= limits_.total) {
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
  if (lane.reading || !lane.disk_from) return;
  // A refill costs a seek: wait until a good part of the window is free.
  if (lane.in_memory > limits_.low_water) return;
  TimePoint at = lane.disk_from->due;
  if (lane.wake_at && *lane.wake_at <= at) return;
  lane.wake_at = at;
  wakes_.emplace(at, lane.id);
}

std::vector<ReadRequest> LaneTable::reads_due(TimePoint now) {
  std::vector<ReadRequest> requests;
  std::size_t room = limits_.total > items_.size() ? limits_.total - items_.size() : 0;
  if (room > 0 && !starved_.empty()) {
    std::vector<LaneId> again = std::move(starved_);
    starved_.clear();
    for (LaneId id : again) {
      auto found = lanes_.find(id);
      if (found == lanes_.end()) continue;
      found->second->starved = false;
      plan(*found->second);
    }
  }
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
    if (room == 0) {
      if (!due.starved) starved_.push_back(id);
      due.starved = true;
      continue;
    }
    queue::DueEntry from{
        .lane = due.key, .due = due.disk_from->due, .id = due.disk_from->id, .recipients = {due.disk_from->first}};
    ReadRequest request{.lane = id, .key = due.key, .from = std::move(from), .until = now, .limit = 0};
    request.limit = std::min(room, limits_.window - std::min<std::size_t>(limits_.window, due.in_memory));
    // Records already in memory may come back from disk in between; ask for as many more.
    request.limit += due.in_memory;
    room -= std::min(room, request.limit);
    due.reading = true;
    due.inserted.reset();
    due.finished.clear();
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<Item*> LaneTable::on_page(LaneId id, const queue::LanePage& page, queue::MessageId known) {
  std::vector<Item*> taken;
  auto found = lanes_.find(id);
  if (found == lanes_.end()) return taken;
  Lane& read = *found->second;
  read.reading = false;
  for (const queue::DueEntry& entry : page.entries) {
    LanePosition position = position_of(entry);
    // A record that ended or moved after the page was read must not come back to life.
    if (entry.id > known || read.members.contains(position) || read.finished.contains(position) ||
        read.moving.contains(position)) {
      continue;
    }
    Item& item = new_item(read, entry);
    item.state = Item::State::Loading;
    taken.push_back(&item);
  }
  read.disk_from.reset();
  if (page.next) read.disk_from = position_of(*page.next);
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
  read.reading = false;
  read.wake_at = retry_at;
  wakes_.emplace(retry_at, id);
}

void LaneTable::remove_item(Item& item) {
  Lane& owner = *item.lane;
  owner.members.erase(position_of(item.entry));
  --owner.in_memory;
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
  if (lane.in_memory > 0 || lane.disk_from || lane.reading || !lane.moving.empty()) return;
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
  if (wakes_.empty()) return std::nullopt;
  return wakes_.top().first;
}

}  // namespace danki::delivery
