#include "tests/queue/spool_fixture.hpp"

#include <atomic>
#include <thread>

#include <rocksdb/write_batch.h>

namespace danki::queue::testing {
namespace {

class StoreTest : public SpoolTest {
 protected:
  /// True once written and, if asked for, synced.
  bool put(const std::string& key, bool sync) {
    rocksdb::WriteBatch batch;
    batch.Put(store->family(Family::Counters), key, "1");
    return store->write(batch, sync).ok();
  }
  bool holds(const std::string& key) {
    std::string value;
    const auto reading = store->read();
    return reading && (*reading)->Get({}, reading->family(Family::Counters), key, &value).ok();
  }

  FaultEnv fault{scratch.path() / "attic"};
  std::unique_ptr<Store> store;
};

/// A log may be closed, to be synced by the flush that closed it, while the next write waits to sync it too. When that
/// sync fails, neither may touch the log again: RocksDB would end the process.
TEST_F(StoreTest, SurvivesAFailedSyncThatAFlushAndAWriteWaitFor) {
  auto opened = Store::open(options, fault.env.get());
  ASSERT_TRUE(opened) << opened.error().message();
  store = std::move(*opened);
  ASSERT_TRUE(put("synced", true));
  ASSERT_TRUE(put("written", false));
  fault.files->hold_syncs();
  store->flush();
  fault.files->wait_for_held_sync();
  std::atomic<bool> is_next_log_written = false;
  fault.files->set_fault([&](FaultFileSystem::Operation operation, const std::string& path) {
    if (!FaultFileSystem::is_log(path)) return rocksdb::IOStatus::OK();
    if (operation == FaultFileSystem::Operation::Append) is_next_log_written = true;
    return operation == FaultFileSystem::Operation::Sync ? rocksdb::IOStatus::IOError("broken")
                                                         : rocksdb::IOStatus::OK();
  });
  bool was_synced = true;
  std::jthread writer([&] { was_synced = put("refused", true); });
  ASSERT_TRUE(comes_true([&] { return is_next_log_written.load(); }));
  fault.files->release_syncs();
  writer.join();
  EXPECT_FALSE(was_synced);

  fault.files->clear_fault();
  const auto reopened = store->reopen();
  ASSERT_TRUE(reopened) << reopened.error().message();
  EXPECT_TRUE(holds("synced"));
  EXPECT_TRUE(put("later", true));
}

TEST_F(StoreTest, SyncsTheFirstBatchOfEveryLog) {
  auto opened = Store::open(options, fault.env.get());
  ASSERT_TRUE(opened) << opened.error().message();
  store = std::move(*opened);
  const auto syncs_of_put = [&](bool sync) {
    const auto before = fault.files->log_syncs();
    EXPECT_TRUE(put("x", sync));
    return fault.files->log_syncs() - before;
  };
  EXPECT_EQ(syncs_of_put(false), 0u) << "the first batch tells the format";
  EXPECT_EQ(syncs_of_put(true), 1u);
  store->compact();  // ends the log
  EXPECT_EQ(syncs_of_put(false), 1u);
  EXPECT_EQ(syncs_of_put(false), 0u);
}

}  // namespace
}  // namespace danki::queue::testing
