#pragma once

#include "queue/spool.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

/// Which due entries are in memory, and what must be read from disk next. Plain code: told what happened, answers what
/// to read. One strand. Memory holds per lane a bounded window of entries and a position on disk, nothing per message
/// beyond it.
namespace danki::delivery {

using ItemId = std::uint64_t;
using LaneId = std::uint64_t;

struct Lane;

/// One due entry in memory, from the moment it is taken in until the spool has recorded its end (or it goes back to
/// disk).
struct Item {
  enum class State { Loading, Preparing, Ready, Leased, Recording };
  ItemId id = 0;
  State state = State::Loading;
  Lane* lane = nullptr;
  queue::DueEntry entry;
  queue::MessagePtr message;       // null while Loading
  unsigned untouched_returns = 0;  // how often it came back after MAIL was said without an outcome
};

/// A place in a lane on disk: key order is due, id, first recipient.
struct LanePosition {
  TimePoint due{};
  queue::MessageId id;
  std::uint32_t first = 0;
  auto operator<=>(const LanePosition&) const = default;
};
LanePosition position_of(const queue::DueEntry& entry);

struct Lane {
  LaneId id = 0;
  queue::LaneKey key;
  std::uint64_t entries = 0;  ///< on disk and in memory
  std::uint64_t in_memory = 0;
  std::optional<LanePosition> disk_from;   ///< nothing before it is on disk but not in memory; nullopt: nothing on disk
  std::map<LanePosition, ItemId> members;  ///< what is in memory, by its record's key
  bool reading = false;
  bool starved = false;                  ///< found the table full; listed once
  std::optional<LanePosition> inserted;  ///< least record written while `reading`
  std::set<LanePosition> finished;       ///< records that ended while `reading`
  std::set<LanePosition> moving;         ///< records that the spool is giving another time
  std::optional<TimePoint> wake_at;      ///< when a wake-up for this lane is already planned
};

struct ReadRequest {
  LaneId lane = 0;
  queue::LaneKey key;
  std::optional<queue::DueEntry> from;
  TimePoint until{};
  std::size_t limit = 0;
};

class LaneTable {
 public:
  struct Limits {
    std::size_t window = 256;    ///< entries of one lane in memory
    std::size_t low_water = 64;  ///< a window refills from disk when it falls below
    std::size_t total = 20000;   ///< entries of all lanes in memory
  };
  explicit LaneTable(Limits limits);
  ~LaneTable();

  /// A new record: in memory if the lane has nothing waiting on disk and there is room (the item is returned,
  /// Preparing), else left on disk.
  Item* add_new(const queue::DueEntry& entry, const queue::MessagePtr& message, TimePoint now);
  /// What a scan of the disk found at the start.
  void add_lane(const queue::LaneCount& count);
  /// A record that was written for the future, or moved there.
  void add_on_disk(const queue::DueEntry& entry);

  /// Lanes whose disk part is due and whose window has room. Marks them as reading.
  std::vector<ReadRequest> reads_due(TimePoint now);
  /// The answer to a ReadRequest: items to load (state Loading). Records of messages above `known` are left out: they
  /// are announced by add_new.
  std::vector<Item*> on_page(LaneId lane, const queue::LanePage& page, queue::MessageId known);
  void on_read_failed(LaneId lane, TimePoint retry_at);

  Item* find(ItemId id);
  /// The record of this item is gone (outcome applied) or was replaced: `remaining` are the records written instead.
  void finish(Item& item, const std::vector<queue::DueEntry>& remaining);
  /// Takes the item out of memory; its record stays on disk and is read again when there is room.
  void put_back(Item& item);

  /// Of `entries` (one lane, on disk), those that may be given another time: not in memory. They are not read until
  /// end_move.
  std::vector<queue::DueEntry> begin_move(std::vector<queue::DueEntry> entries);
  void end_move(const std::vector<queue::DueEntry>& old, TimePoint due);

  /// When reads_due() may have something next; nullopt: nothing planned.
  std::optional<TimePoint> next_wake() const;
  std::size_t in_memory() const { return items_.size(); }
  std::uint64_t entries() const { return entries_; }
  const std::unordered_map<LaneId, std::unique_ptr<Lane>>& lanes() const { return lanes_; }
  Lane* find_lane(const queue::LaneKey& key);
  const std::unordered_map<ItemId, std::unique_ptr<Item>>& items() const { return items_; }

 private:
  Lane& lane(const queue::LaneKey& key);
  Item& new_item(Lane& lane, const queue::DueEntry& entry);
  void note_on_disk(Lane& lane, const LanePosition& position);
  void plan(Lane& lane);
  void remove_item(Item& item);
  void drop_if_empty(Lane& lane);

  Limits limits_;
  std::unordered_map<LaneId, std::unique_ptr<Lane>> lanes_;
  std::map<queue::LaneKey, Lane*> by_key_;
  std::unordered_map<ItemId, std::unique_ptr<Item>> items_;
  using Wake = std::pair<TimePoint, LaneId>;
  std::priority_queue<Wake, std::vector<Wake>, std::greater<>> wakes_;
  std::vector<LaneId> starved_;  // lanes that found the table full
  LaneId next_lane_ = 1;
  ItemId next_item_ = 1;
  std::uint64_t entries_ = 0;
};

}  // namespace danki::delivery
