#include "mta/delivery/lane_table.hpp"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr TimePoint kNow{std::chrono::milliseconds(1'795'412'979'120)};
constexpr queue::MessageId kAllKnown{~0ull};
const queue::LaneKey kLane{"a.example", mail::MailClass::Bulk, "letters"};

queue::DueEntry entry(std::uint64_t id, TimePoint due = kNow, const queue::LaneKey& lane = kLane,
                      std::uint32_t first = 0) {
  return {.lane = lane, .due = due, .id = {id}, .recipients = {first}};
}

/// Records on disk in key order, read as the spool would.
struct Disk {
  std::set<std::pair<queue::LaneKey, LanePosition>> records;

  void add(const queue::DueEntry& e) { records.emplace(e.lane, position_of(e)); }
  void remove(const queue::DueEntry& e) { records.erase({e.lane, position_of(e)}); }
  queue::LanePage read(const ReadRequest& request) const {
    queue::LanePage page;
    for (const auto& [lane, position] : records) {
      if (lane != request.key || position < position_of(*request.from)) continue;
      queue::DueEntry found = entry(position.id.value, position.due, lane, position.first);
      if (position.due > request.until || page.entries.size() >= request.limit) {
        page.next = found;
        break;
      }
      page.entries.push_back(found);
    }
    return page;
  }
};

struct LaneTableTest : ::testing::Test {
  Item* add(const queue::DueEntry& e, TimePoint now = kNow) {
    disk.add(e);
    return table.add_new(e, nullptr, now);
  }
  void finish(Item& item, const std::vector<queue::DueEntry>& remaining = {}) {
    disk.remove(item.entry);
    for (const queue::DueEntry& e : remaining) disk.add(e);
    table.finish(item, remaining);
  }
  std::vector<Item*> read_all(TimePoint now) {
    std::vector<Item*> taken;
    for (auto requests = table.reads_due(now); !requests.empty(); requests = table.reads_due(now)) {
      for (const ReadRequest& request : requests) {
        for (Item* item : table.on_page(request.lane, disk.read(request), kAllKnown)) taken.push_back(item);
      }
    }
    return taken;
  }

  LaneTable table{{.window = 8, .low_water = 2, .total = 20}};
  Disk disk;
};

TEST_F(LaneTableTest, KeepsNewMailInMemoryUntilTheWindowIsFull) {
  for (std::uint64_t id = 1; id <= 8; ++id) ASSERT_NE(add(entry(id)), nullptr) << id;
  EXPECT_EQ(add(entry(9)), nullptr);
  EXPECT_EQ(table.in_memory(), 8u);
  EXPECT_EQ(table.entries(), 9u);
}

TEST_F(LaneTableTest, NewMailJoinsABacklogOnDiskBehindIt) {
  for (std::uint64_t id = 1; id <= 9; ++id) add(entry(id));
  // Room again, but message 9 waits on disk and was first.
  for (auto& [id, item] : table.items()) {
    if (item->entry.id.value == 1) {
      finish(*item);
      break;
    }
  }
  EXPECT_EQ(add(entry(10)), nullptr);
}

TEST_F(LaneTableTest, ReadsOnAtItsPositionWhenTheWindowDrains) {
  std::vector<Item*> in_memory;
  for (std::uint64_t id = 1; id <= 30; ++id) {
    if (Item* item = add(entry(id))) in_memory.push_back(item);
  }
  EXPECT_THAT(table.reads_due(kNow), IsEmpty()) << "the window is full";
  std::vector<std::uint64_t> order;
  while (!in_memory.empty()) {
    order.push_back(in_memory.front()->entry.id.value);
    finish(*in_memory.front());
    in_memory.erase(in_memory.begin());
    for (Item* item : read_all(kNow)) in_memory.push_back(item);
    ASSERT_LE(table.in_memory(), 8u);
  }
  ASSERT_THAT(order, SizeIs(30));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(table.entries(), 0u);
  EXPECT_TRUE(table.lanes().empty());
}

TEST_F(LaneTableTest, WakesWhenTheEarliestRecordOnDiskIsDue) {
  table.add_on_disk(entry(1, kNow + 10min));
  table.add_on_disk(entry(2, kNow + 5min));
  disk.add(entry(1, kNow + 10min));
  disk.add(entry(2, kNow + 5min));
  EXPECT_EQ(table.next_wake(), kNow + 5min);
  EXPECT_THAT(read_all(kNow + 5min - 1ms), IsEmpty());
  auto taken = read_all(kNow + 5min);
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0]->entry.id.value, 2u);
  EXPECT_EQ(taken[0]->state, Item::State::Loading);
  EXPECT_EQ(table.next_wake(), kNow + 10min);
}

TEST_F(LaneTableTest, WhatEndedWhileAPageWasReadStaysEnded) {
  Item* item = add(entry(1));
  for (std::uint64_t id = 2; id <= 3; ++id) {
    table.add_on_disk(entry(id));
    disk.add(entry(id));
  }
  auto requests = table.reads_due(kNow);
  ASSERT_THAT(requests, SizeIs(1));
  queue::LanePage page = disk.read(requests[0]);
  page.entries.insert(page.entries.begin(), entry(1));  // read before it ended
  finish(*item);
  auto taken = table.on_page(requests[0].lane, page, kAllKnown);
  ASSERT_THAT(taken, SizeIs(2));
  EXPECT_EQ(table.entries(), 2u);
  EXPECT_EQ(taken[0]->entry.id.value, 2u);
}

TEST_F(LaneTableTest, WhatWasWrittenWhileAPageWasReadIsReadNext) {
  table.add_on_disk(entry(5));
  disk.add(entry(5));
  auto requests = table.reads_due(kNow);
  ASSERT_THAT(requests, SizeIs(1));
  queue::LanePage page = disk.read(requests[0]);
  // Deferred a moment ago and due before all that the page holds.
  table.add_on_disk(entry(3, kNow - 1s));
  disk.add(entry(3, kNow - 1s));
  ASSERT_THAT(table.on_page(requests[0].lane, page, kAllKnown), SizeIs(1));
  auto taken = read_all(kNow);
  ASSERT_THAT(taken, SizeIs(1)) << "the one in memory already must not come twice";
  EXPECT_EQ(taken[0]->entry.id.value, 3u);
}

TEST_F(LaneTableTest, LeavesOutWhatIsStillToBeAnnounced) {
  table.add_on_disk(entry(1));
  disk.add(entry(1));
  disk.add(entry(2));
  auto requests = table.reads_due(kNow);
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_THAT(table.on_page(requests[0].lane, disk.read(requests[0]), queue::MessageId{1}), SizeIs(1));
  EXPECT_NE(table.add_new(entry(2), nullptr, kNow), nullptr);
  EXPECT_EQ(table.in_memory(), 2u);
  EXPECT_EQ(table.entries(), 2u);
}

TEST_F(LaneTableTest, ReadsAgainAfterAFailure) {
  table.add_on_disk(entry(1));
  disk.add(entry(1));
  auto requests = table.reads_due(kNow);
  ASSERT_THAT(requests, SizeIs(1));
  table.on_read_failed(requests[0].lane, kNow + 5s);
  EXPECT_THAT(table.reads_due(kNow + 4s), IsEmpty());
  EXPECT_EQ(table.next_wake(), kNow + 5s);
  EXPECT_THAT(read_all(kNow + 5s), SizeIs(1));
}

TEST_F(LaneTableTest, AFullTableStarvesNoLaneForGood) {
  std::vector<Item*> holders;
  for (std::uint64_t lane = 0; lane < 20; ++lane) {
    Item* item = add(entry(1 + lane, kNow, {"d" + std::to_string(lane), mail::MailClass::Bulk, "t"}));
    if (item) holders.push_back(item);
  }
  ASSERT_EQ(table.in_memory(), 18u) << "bulk leaves an eighth to transactional mail";
  const queue::LaneKey hungry{"hungry", mail::MailClass::Bulk, "t"};
  for (std::uint64_t id = 100; id < 110; ++id) {
    EXPECT_EQ(add(entry(id, kNow, hungry)), nullptr);
    EXPECT_THAT(table.reads_due(kNow), IsEmpty());
  }
  EXPECT_FALSE(table.next_wake() && *table.next_wake() <= kNow) << "no spinning while there is no room";
  EXPECT_EQ(table.crowded_out(), mail::MailClass::Bulk);
  for (Item* item : holders) finish(*item);
  std::size_t hungry_seen = 0;
  TimePoint now = kNow;
  for (int rounds = 0; rounds < 20; ++rounds) {
    now += 100ms;
    for (Item* item : read_all(now)) {
      hungry_seen += item->entry.lane == hungry;
      finish(*item);
    }
    EXPECT_LE(table.in_memory(), 18u);
  }
  EXPECT_EQ(hungry_seen, 10u);
  EXPECT_EQ(table.entries(), 0u);
}

TEST_F(LaneTableTest, NoGroupTakesWhatTheNextOneNeeds) {
  LaneTable grouped({.window = 8, .low_water = 2, .total = 20}, [](const std::string& d) { return d.substr(0, 1); });
  auto offer = [&](const std::string& domain, mail::MailClass klass) {
    static std::uint64_t id = 1000;
    return grouped.add_new(entry(++id, kNow, {domain, klass, "t"}), nullptr, kNow) != nullptr;
  };
  std::size_t first = 0, second = 0;
  for (int i = 0; i < 30; ++i) first += offer("a" + std::to_string(i) + ".example", mail::MailClass::Bulk);
  for (int i = 0; i < 30; ++i) second += offer("b" + std::to_string(i) + ".example", mail::MailClass::Bulk);
  EXPECT_EQ(first, 9u);  // 18 of 20 are for bulk: half of them for one, half for who comes next
  EXPECT_EQ(second, 6u);
  EXPECT_THAT(grouped.over_share(mail::MailClass::Bulk), SizeIs(1));
  EXPECT_TRUE(offer("c.example", mail::MailClass::Bulk));
  EXPECT_TRUE(offer("a.example", mail::MailClass::Transactional)) << "the classes of a site have a share each";
}

TEST_F(LaneTableTest, ParkedMailIsNotReadUntilItIsWanted) {
  Item* item = add(entry(1));
  table.park(*item, "main", kNow + 24h);
  table.add_parked(entry(2), "main", kNow + 24h);
  disk.add(entry(2));
  EXPECT_EQ(table.in_memory(), 0u);
  EXPECT_EQ(table.entries(), 2u);
  EXPECT_TRUE(table.has_parked("a.example"));
  EXPECT_THAT(read_all(kNow + 23h), IsEmpty());
  table.unpark(*table.find_group("a.example"));
  EXPECT_FALSE(table.has_parked("a.example"));
  EXPECT_THAT(read_all(kNow), SizeIs(2));
}

TEST_F(LaneTableTest, WhatIsBehindParkedMailIsRead) {
  for (std::uint64_t id = 1; id <= 30; ++id) {
    disk.add(entry(id));
    table.add_on_disk(entry(id));
  }
  std::size_t parked = 0;
  for (auto taken = read_all(kNow); !taken.empty(); taken = read_all(kNow)) {
    for (Item* item : taken) {
      if (item->entry.id.value <= 25) {
        table.park(*item, "launch", kNow + 24h);
        ++parked;
      } else {
        finish(*item);
      }
    }
  }
  EXPECT_EQ(parked, 25u);
  EXPECT_EQ(table.entries(), 25u);
  EXPECT_THAT(table.find_group("a.example")->parked_pools, ::testing::ElementsAre("launch"));
}

TEST_F(LaneTableTest, AProbeReadsAFewAndLeavesTheOthersParked) {
  for (std::uint64_t id = 1; id <= 10; ++id) {
    disk.add(entry(id));
    table.add_parked(entry(id), "main", kNow + 24h);
  }
  LaneGroup& group = *table.find_group("a.example");
  table.probe(group);
  EXPECT_TRUE(table.next_wake() && *table.next_wake() <= kNow);
  auto probes = read_all(kNow);
  ASSERT_THAT(probes, SizeIs(4));
  EXPECT_EQ(probes[0]->entry.id.value, 1u);
  EXPECT_TRUE(table.has_parked("a.example"));
  for (Item* item : probes) finish(*item);
  EXPECT_THAT(read_all(kNow), IsEmpty());
  table.unpark(group);
  EXPECT_THAT(read_all(kNow), SizeIs(6));
}

TEST_F(LaneTableTest, AProbeThatFindsNothingForgetsWhatWasParked) {
  table.add_parked(entry(1), "main", kNow + 24h);  // gone from disk
  table.probe(*table.find_group("a.example"));
  EXPECT_THAT(read_all(kNow), IsEmpty());
  EXPECT_TRUE(table.lanes().empty());
  EXPECT_EQ(table.parked_lanes(), 0u);
}

TEST_F(LaneTableTest, ParkedMailIsReadAgainWhenSomeOfItExpires) {
  for (std::uint64_t id = 1; id <= 3; ++id) {
    disk.add(entry(id));
    table.add_parked(entry(id), "main", kNow + (id == 2 ? 1h : 24h));
  }
  EXPECT_EQ(table.next_wake(), kNow + 1h);
  EXPECT_THAT(read_all(kNow + 1h - 1ms), IsEmpty());
  auto taken = read_all(kNow + 1h);
  ASSERT_THAT(taken, SizeIs(3));
  for (Item* item : taken) {
    if (item->entry.id.value == 2) {
      finish(*item);
    } else {
      table.park(*item, "main", kNow + 24h);
    }
  }
  EXPECT_THAT(read_all(kNow + 24h - 1ms), IsEmpty());
  EXPECT_THAT(read_all(kNow + 24h), SizeIs(2));
}

TEST_F(LaneTableTest, ADomainThatMovesTakesItsParkedMailAlong) {
  table.add_parked(entry(1), "main", kNow + 24h);
  disk.add(entry(1));
  table.regroup("a.example", "mx.b.example");
  EXPECT_EQ(table.find_group("a.example"), nullptr);
  EXPECT_NE(table.find_group("mx.b.example"), nullptr);
  EXPECT_THAT(read_all(kNow), SizeIs(1));
}

TEST_F(LaneTableTest, APutBackItemIsReadAgain) {
  Item* item = add(entry(1));
  table.put_back(*item);
  EXPECT_EQ(table.in_memory(), 0u);
  EXPECT_EQ(table.entries(), 1u);
  auto taken = read_all(kNow);
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0]->entry.id.value, 1u);
}

TEST_F(LaneTableTest, MovesOnlyWhatIsOnDiskAndMovesItOnce) {
  Item* in_memory = add(entry(1));
  ASSERT_NE(in_memory, nullptr);
  queue::DueEntry later = entry(2, kNow + 1h);
  table.add_on_disk(later);
  disk.add(later);
  auto movable = table.begin_move({entry(1), later});
  ASSERT_THAT(movable, SizeIs(1));
  EXPECT_EQ(movable[0], later);
  EXPECT_THAT(table.begin_move({later}), IsEmpty()) << "under way already";
  // Due meanwhile: the old record must not be taken while the spool writes the new one.
  EXPECT_THAT(read_all(kNow + 1h), IsEmpty());
  disk.remove(later);
  disk.add(entry(2, kNow));
  table.end_move(movable, kNow);
  auto taken = read_all(kNow + 1h);
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0]->entry.due, kNow);
  EXPECT_EQ(table.entries(), 2u);
}

TEST_F(LaneTableTest, APageReadBeforeAMoveDoesNotBringTheOldRecordBack) {
  table.add_on_disk(entry(1));
  disk.add(entry(1));
  queue::DueEntry old = entry(2, kNow + 1s);
  table.add_on_disk(old);
  disk.add(old);
  auto movable = table.begin_move({old});
  auto requests = table.reads_due(kNow + 2s);
  ASSERT_THAT(requests, SizeIs(1));
  queue::LanePage page = disk.read(requests[0]);
  ASSERT_THAT(page.entries, SizeIs(2));
  disk.remove(old);
  disk.add(entry(2, kNow - 1s));
  table.end_move(movable, kNow - 1s);
  EXPECT_THAT(table.on_page(requests[0].lane, page, kAllKnown), SizeIs(1));
  auto taken = read_all(kNow + 2s);
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0]->entry.due, kNow - 1s);
}

TEST_F(LaneTableTest, WhatRemainsOfAnAttemptWaitsOnDiskForItsTime) {
  Item* item = add(entry(1));
  finish(*item, {entry(1, kNow + 30s)});
  EXPECT_EQ(table.entries(), 1u);
  EXPECT_EQ(table.in_memory(), 0u);
  EXPECT_EQ(table.next_wake(), kNow + 30s);
  EXPECT_THAT(read_all(kNow + 30s), SizeIs(1));
}

TEST_F(LaneTableTest, AScannedLaneIsReadFromItsEarliestTime) {
  disk.add(entry(1, kNow - 1h));
  disk.add(entry(2, kNow + 1h));
  table.add_lane({.lane = kLane, .entries = 2, .recipients = 2, .earliest_due = kNow - 1h});
  EXPECT_EQ(table.entries(), 2u);
  ASSERT_THAT(read_all(kNow), SizeIs(1));
  EXPECT_EQ(table.next_wake(), kNow + 1h);
}

}  // namespace
}  // namespace danki::delivery
