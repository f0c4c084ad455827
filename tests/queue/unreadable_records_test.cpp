// A due record that does not decode holds up nobody else.
#include "queue/records.hpp"
#include "tests/queue/spool_fixture.hpp"

namespace danki::queue::testing {
namespace {

struct UnreadableTest : SpoolTest {
  /// Three messages of one lane; the due record of the one in the middle is spoilt.
  void SetUp() override {
    open();
    for (int i = 0; i < 3; ++i) entries.push_back(accept(make_message({"a.test"})).entries.front());
    other = accept(make_message({"b.test"})).entries.front();
    close();
    {
      auto store = Store::open(options, nullptr);
      ASSERT_TRUE(store);
      rocksdb::WriteBatch batch;
      batch.SingleDelete((*store)->family(Family::Due), due_key(entries[1]));
      ASSERT_TRUE((*store)->write(batch, true).ok());
      batch.Clear();
      batch.Put((*store)->family(Family::Due), due_key(entries[1]), "\x7f");  // a version that is none
      batch.Put((*store)->family(Family::Due), "no key", encode_due_value({}));
      ASSERT_TRUE((*store)->write(batch, true).ok());
    }
    open();
  }
  std::vector<DueEntry> entries;
  DueEntry other;
};

TEST_F(UnreadableTest, OthersAreScannedAndRead) {
  const auto lanes = spool->scan_lanes(spool->last_id());
  ASSERT_TRUE(lanes) << lanes.error().message();
  ASSERT_EQ(lanes->size(), 2u);
  EXPECT_EQ((*lanes)[0].entries, 2u);
  EXPECT_EQ((*lanes)[1].lane, other.lane);
  const auto page = spool->read_lane(entries[0].lane, std::nullopt, TimePoint::max(), 10);
  ASSERT_TRUE(page) << page.error().message();
  EXPECT_EQ(page->entries, (std::vector{entries[0], entries[2]}));
  EXPECT_EQ(all_due(), (std::vector{entries[0], entries[2], other}));
}

TEST_F(UnreadableTest, OneWithImpossibleRecipientsIsInNoLanesCount) {
  close();
  {
    auto store = Store::open(options, nullptr);
    ASSERT_TRUE(store);
    rocksdb::WriteBatch batch;
    batch.Put((*store)->family(Family::Due), due_key(entries[1]), encode_due_value(std::vector<std::uint32_t>{0, 0}));
    ASSERT_TRUE((*store)->write(batch, true).ok());
  }
  open();
  const auto lanes = spool->scan_lanes(spool->last_id());
  ASSERT_TRUE(lanes) << lanes.error().message();
  ASSERT_EQ(lanes->size(), 2u);
  EXPECT_EQ((*lanes)[0].entries, 2u);
  EXPECT_EQ((*lanes)[0].recipients, 2u);
}

TEST_F(UnreadableTest, APageMayEndBeforeIt) {
  auto page = spool->read_lane(entries[0].lane, std::nullopt, TimePoint::max(), 1);
  ASSERT_TRUE(page) << page.error().message();
  EXPECT_EQ(page->entries, std::vector{entries[0]});
  EXPECT_EQ(page->next, entries[2]);
}

TEST_F(UnreadableTest, EachIsCountedOnceAndStays) {
  EXPECT_EQ(spool->stats().unreadable_due_records, 0u);
  for (int i = 0; i < 3; ++i) {
    all_due();
    EXPECT_TRUE(spool->scan_lanes(spool->last_id()));
  }
  EXPECT_EQ(spool->stats().unreadable_due_records, 2u);
  restart();
  EXPECT_TRUE(spool->scan_lanes(spool->last_id()));
  EXPECT_EQ(spool->stats().unreadable_due_records, 2u);
  EXPECT_TRUE(spool->load(entries[1].id)) << "its message is whole";
}

}  // namespace
}  // namespace danki::queue::testing
