#include "tests/queue/spool_fixture.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include <rocksdb/write_batch.h>

/// What the commit thread does with batches, seen through the spool.
namespace danki::queue::testing {
namespace {

using State = RecipientProgress::State;
using Operation = FaultFileSystem::Operation;
using namespace std::chrono_literals;

class CommitterTest : public SpoolTest {
 protected:
  ~CommitterTest() override { close(); }

  /// Puts records into the closed database as a damaged one might have them.
  void put(const std::vector<std::tuple<Family, std::string, std::string>>& records) {
    auto store = Store::open(options, nullptr);
    ASSERT_TRUE(store) << store.error().message();
    rocksdb::WriteBatch batch;
    for (const auto& [family, key, value] : records) batch.Put((*store)->family(family), key, value);
    ASSERT_TRUE((*store)->write(batch, true).ok());
  }

  FaultEnv fault{scratch.path() / "attic"};
};

/// Whoever hears of an id takes it that all below are announced, or were there before: it would find a report that is
/// not on disk as well, and send it twice.
TEST_F(CommitterTest, AnnouncesABatchAtOnceInTheOrderOfIds) {
  open(fault.env.get());
  struct Heard {
    std::mutex mutex;
    std::vector<std::vector<MessageId>> batches;
    std::atomic<std::size_t> messages{0};
  };
  const auto heard = std::make_shared<Heard>();  // with the spool's sink
  spool->on_accepted([heard, log = accepted_log](std::vector<Accepted> batch) {
    {
      const std::scoped_lock lock(heard->mutex);
      auto& ids = heard->batches.emplace_back();
      for (const Accepted& accepted : batch) ids.push_back(accepted.message->id);
      heard->messages += batch.size();
    }
    log->add(std::move(batch));
  });
  const Accepted tried = accept(make_message({"a.test"}));
  fault.files->hold_syncs();
  spool->accept(make_message({"first.test"}), [](const Result<MessageId>&) {});
  fault.files->wait_for_held_sync();
  spool->accept(make_message({"second.test"}), [](const Result<MessageId>&) {});
  std::vector<Outcome> outcomes;
  outcomes.push_back(outcome_of(tried.message, tried.entries[0], State::Bounced));
  outcomes.back().report = make_message({"sender.test"}, "Subject: Undelivered\r\n\r\n");
  spool->record(std::move(outcomes), nullptr);
  fault.files->release_syncs();
  ASSERT_TRUE(comes_true([&] { return heard->messages == 4; }));
  const std::scoped_lock lock(heard->mutex);
  ASSERT_EQ(heard->batches.size(), 3u);
  ASSERT_EQ(heard->batches[2].size(), 2u);
  EXPECT_LT(heard->batches[1][0], heard->batches[2][0]);
  EXPECT_LT(heard->batches[2][0], heard->batches[2][1]);
}

TEST_F(CommitterTest, DiscardsAndMovesLongListsOfWhatIsGone) {
  options.max_batch = 16;
  open();
  DueEntry entry = accept(make_message({"a.test"})).entries.front();
  close();
  const DueEntry good = entry;
  std::vector<DueEntry> orphans;
  std::vector<std::tuple<Family, std::string, std::string>> records;
  for (int i = 0; i < 100; ++i) {
    ++entry.id.value;
    orphans.push_back(entry);
    records.emplace_back(Family::Due, due_key(entry), encode_due_value(entry.recipients));
  }
  put(records);
  open();
  EXPECT_EQ(all_due().size(), 101u);
  reschedule(orphans, test_time() + 1h);
  EXPECT_EQ(all_due().size(), 101u);
  spool->discard(orphans);
  record(std::vector<Outcome>{});  // after it in order
  EXPECT_EQ(all_due(), std::vector{good});
}

TEST_F(CommitterTest, StartsAndRecoversThoughRecordsDoNotDecode) {
  open();
  const Accepted good = accept(make_message({"a.test"}));
  close();
  DueEntry bad = good.entries[0];
  bad.id.value -= 1;
  put({{Family::Due, due_key(bad), "\xff"},
       {Family::Due, "x", ""},
       {Family::Envelopes, id_key(bad.id), "\xff"},
       {Family::Envelopes, "x", ""},
       {Family::State, "x", ""}});
  open(fault.env.get());
  reschedule({bad, good.entries[0]}, test_time() + 1h);
  fault.files->set_fault([](Operation operation, const std::string& path) {
    return operation == Operation::Sync && FaultFileSystem::is_log(path) ? rocksdb::IOStatus::IOError("injected")
                                                                         : rocksdb::IOStatus::OK();
  });
  EXPECT_FALSE(try_accept(make_message({"b.test"})));
  fault.files->clear_fault();
  ASSERT_TRUE(comes_true([&] { return spool->refusal() == Refusal::None; }));
  accept(make_message({"b.test"}));
  const auto shown = spool->show(good.message->id);
  ASSERT_TRUE(shown) << shown.error().message();
  EXPECT_EQ(shown->entries.front().due, test_time() + 1h);
}

}  // namespace
}  // namespace danki::queue::testing
