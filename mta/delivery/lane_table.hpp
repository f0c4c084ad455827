#pragma once

#include "queue/spool.hpp"

#include <cstdint>
#include <deque>
#include <functional>
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
///
/// No site may fill the table: the lanes of a site form a *group*, and each class of a group holds at most an equal
/// share, of which one is always left for who comes next; neither class may take the last eighth from the other. Mail
/// whose site has no open path is *parked*: it lies on disk behind the lane's reading position, is passed over, and is
/// read again when the site answers or some of it expires.
namespace danki::delivery {

using ItemId = std::uint64_t;
using LaneId = std::uint64_t;

struct Lane;
struct LaneGroup;

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
  unsigned stale_returns = 0;      // likewise, from connections that had gone before MAIL was answered
};

/// A place in a lane on disk: key order is due, id, first recipient.
struct LanePosition {
  TimePoint due{};
  queue::MessageId id;
  std::uint32_t first = 0;
  auto operator<=>(const LanePosition&) const = default;
};
LanePosition position_of(const queue::DueEntry& entry);

/// Mail that was passed over: every record of it lies at or behind `from`.
struct Parked {
  LanePosition from;
  std::uint64_t entries = 0;  ///< about; records that ended since are still counted
  TimePoint expires_at = TimePoint::max();
};

struct Lane {
  LaneId id = 0;
  queue::LaneKey key;
  LaneGroup* group = nullptr;
  std::uint64_t entries = 0;  ///< on disk and in memory
  std::uint64_t in_memory = 0;
  std::optional<LanePosition> disk_from;  ///< nothing before it is on disk only, but what is parked; nullopt: nothing
  std::optional<Parked> parked;
  std::map<LanePosition, ItemId> members;  ///< what is in memory, by its record's key
  bool reading = false;
  bool probing = false;                         ///< what is being read is some of what is parked
  std::size_t requested = 0;                    ///< room kept for what is being read
  bool starved = false;                         ///< found no room; listed once with its group
  std::optional<LanePosition> inserted;         ///< least record written while `reading`
  std::set<LanePosition> finished;              ///< records that ended while `reading`
  std::set<LanePosition> moving;                ///< records that the spool is giving another time
  std::optional<TimePoint> wake_at;             ///< when a wake-up for this lane is already planned
  TimePoint expiry_wake_at = TimePoint::max();  ///< likewise, for what expires of the parked
  TimePoint no_walk_before{};                   ///< reading all that is parked again costs its length
};

/// The lanes of one site; until a domain is resolved, those of the domain.
struct LaneGroup {
  std::string name;
  std::map<LaneId, Lane*> lanes;
  std::size_t held[2] = {0, 0};      ///< by class: items in memory, and room kept for those being read
  std::deque<LaneId> starved[2];     ///< lanes that found no room
  bool wanting[2] = {false, false};  ///< about to be given some
  std::size_t parked_lanes = 0;
  std::set<std::string> parked_pools;  ///< whose mail was parked
  LaneId probed_last = 0;
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
  /// Names the group of a domain's lanes.
  using GroupOf = std::function<std::string(const std::string& domain)>;
  explicit LaneTable(
      Limits limits, GroupOf group_of = [](const std::string& domain) { return domain; });
  ~LaneTable();

  /// A new record: in memory if the lane has nothing waiting on disk and there is room (the item is returned,
  /// Preparing), else left on disk.
  Item* add_new(const queue::DueEntry& entry, const queue::MessagePtr& message, TimePoint now);
  /// A new record whose site is closed: it joins what is parked.
  void add_parked(const queue::DueEntry& entry, const std::string& pool, TimePoint expires_at);
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

  /// Takes the item out of memory until unpark() or until some of the lane's parked mail expires.
  void park(Item& item, const std::string& pool, TimePoint expires_at);
  /// Reads all that is parked again.
  void unpark(LaneGroup& group);
  /// Reads a few of the group's parked records, transactional first, and leaves the others parked.
  void probe(LaneGroup& group);
  bool has_parked(const std::string& domain) const;
  std::vector<LaneGroup*> parked_groups() const;
  std::size_t parked_lanes() const { return parked_lanes_; }

  /// The domain's lanes belong to this group from now on; what was parked of them is read again if they moved.
  void regroup(const std::string& domain, const std::string& group);
  LaneGroup* find_group(const std::string& name);

  /// How many items one class of a group may hold while the table is as it is.
  std::size_t share(mail::MailClass klass) const { return share(klass, 0); }
  /// The most urgent class that is kept out by a full table although its group holds less than its share.
  std::optional<mail::MailClass> crowded_out() const;
  /// Lets lanes that found no room look again.
  void feed_all();
  /// Groups that hold more of a class than their share.
  std::vector<LaneGroup*> over_share(mail::MailClass klass) const;

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
  LaneGroup& group(const std::string& name);
  void join(Lane& lane, LaneGroup& group);
  void leave_group(Lane& lane);
  template <class Change>
  void with_claim(LaneGroup& group, mail::MailClass klass, Change change);
  std::vector<Lane*> lanes_due(TimePoint now);
  void want(Lane& lane);
  void end_wants();
  void hold(const Lane& lane, std::size_t entries);
  void release(const Lane& lane, std::size_t entries);
  void end_request(Lane& lane);
  std::size_t free_for(mail::MailClass klass) const;
  std::size_t share(mail::MailClass klass, std::size_t newcomers) const;
  std::size_t most_of_class() const { return limits_.total - limits_.total / 8; }
  std::size_t room(const Lane& lane) const;
  void starve(Lane& lane, TimePoint now);
  void feed(LaneGroup& group, std::size_t least_room);
  void feed_drained(TimePoint now);
  void note_parked(Lane& lane, const LanePosition& position, const std::string& pool, TimePoint expires_at);
  void unpark(Lane& lane);
  void plan_expiry(Lane& lane);
  void unpark_expired(TimePoint now);
  ReadRequest request(Lane& lane, const LanePosition& from, std::size_t limit, TimePoint now);
  Item& new_item(Lane& lane, const queue::DueEntry& entry);
  void note_on_disk(Lane& lane, const LanePosition& position);
  void plan(Lane& lane);
  void remove_item(Item& item);
  void drop_if_empty(Lane& lane);

  Limits limits_;
  GroupOf group_of_;
  std::unordered_map<std::string, std::unique_ptr<LaneGroup>> groups_;
  std::unordered_map<LaneId, std::unique_ptr<Lane>> lanes_;
  std::map<queue::LaneKey, Lane*> by_key_;
  std::unordered_map<ItemId, std::unique_ptr<Item>> items_;
  using Wake = std::pair<TimePoint, LaneId>;
  std::priority_queue<Wake, std::vector<Wake>, std::greater<>> wakes_;
  std::priority_queue<Wake, std::vector<Wake>, std::greater<>> expiry_wakes_;
  std::vector<LaneId> to_probe_;
  std::set<LaneGroup*> starving_;  // groups with lanes that found no room
  std::vector<LaneGroup*> wanting_;
  std::set<LaneGroup*> drained_;  // of these, those that gave up an item since
  TimePoint next_feed_{};
  std::size_t held_[2] = {0, 0};       // by class, as the groups have it
  std::size_t claimants_[2] = {0, 0};  // groups that hold something of a class or want to
  std::size_t parked_lanes_ = 0;
  LaneId next_lane_ = 1;
  ItemId next_item_ = 1;
  std::uint64_t entries_ = 0;
};

}  // namespace danki::delivery
