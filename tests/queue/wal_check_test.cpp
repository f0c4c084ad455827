#include "queue/wal_check.hpp"

#include "queue/errc.hpp"
#include "queue/records.hpp"
#include "tests/queue/spool_fixture.hpp"

#include <fstream>

#include <rocksdb/write_batch.h>

namespace danki::queue {
namespace {

using queue::testing::ScratchDirectory;

TEST(Crc32c, KnowsTheValuesOfRfc3720) {  // appendix B.4, octets in the order of the wire
  EXPECT_EQ(crc32c(0, std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(0, std::string(32, '\xff')), 0x62a8ab43u);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) rising.push_back(static_cast<char>(i)), falling.push_back(static_cast<char>(31 - i));
  EXPECT_EQ(crc32c(0, rising), 0x46dd794eu);
  EXPECT_EQ(crc32c(0, falling), 0x113fdb5cu);
  EXPECT_EQ(crc32c(crc32c(0, rising.substr(0, 13)), rising.substr(13)), 0x46dd794eu) << "in pieces";
}

/// Logs put together by hand: batch numbers, and what they say was synced.
class WalCheckTest : public ::testing::Test {
 protected:
  struct Batch {
    std::uint64_t number, synced;
    bool is_torn = false;
    std::size_t filling = 100;
  };

  void write_log(std::uint64_t number, const std::vector<Batch>& batches) {
    std::string log;
    for (const Batch& b : batches) {
      rocksdb::WriteBatch batch;
      batch.Put("filling", std::string(b.filling, 'f'));
      batch.Put(std::string(kHeadKey),
                encode_head({.batch = b.number, .synced = b.synced, .next_id = 1, .messages = 1}));
      begins_[b.number] = log.size();
      append_record(log, batch.Data());
      if (b.is_torn) log[log.size() - b.filling / 2] ^= 0x55;
    }
    std::ofstream(path(number), std::ios::binary) << log;
  }
  std::string path(std::uint64_t number) const { return fmt::format("{}/{:06}.log", scratch_.path().string(), number); }
  std::uint64_t size(std::uint64_t number) const { return std::filesystem::file_size(path(number)); }
  Result<bool> check(std::uint64_t first_log = 0) {
    return cut_damaged_tail(*rocksdb::FileSystem::Default(), scratch_.path().string(), first_log);
  }

  ScratchDirectory scratch_;
  std::map<std::uint64_t, std::uint64_t> begins_;

 private:
  static void append_record(std::string& log, std::string_view record) {
    constexpr std::size_t kBlock = 32768, kHeader = 7;
    for (bool first = true; first || !record.empty(); first = false) {
      std::size_t left = kBlock - log.size() % kBlock;
      if (left < kHeader) {
        log.append(left, '\0');
        left = kBlock;
      }
      const std::string_view piece = record.substr(0, left - kHeader);
      record.remove_prefix(piece.size());
      const bool last = record.empty();
      const char type = first ? (last ? 1 : 2) : (last ? 4 : 3);
      const std::uint32_t crc = crc32c(crc32c(0, std::string_view(&type, 1)), piece);
      const std::uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8;
      for (int i = 0; i < 4; ++i) log.push_back(static_cast<char>(masked >> (8 * i)));
      log.push_back(static_cast<char>(piece.size()));
      log.push_back(static_cast<char>(piece.size() >> 8));
      log.push_back(type);
      log.append(piece);
    }
  }
};

TEST_F(WalCheckTest, LeavesHealthyLogsAlone) {
  write_log(3, {{1, 0}, {2, 1, false, 100'000}, {3, 2}});
  write_log(4, {{4, 3}, {5, 3}, {6, 5, false, 32'700}});
  write_log(5, {});
  const auto before = size(3);
  EXPECT_EQ(check(), false);
  EXPECT_EQ(size(3), before);
}

TEST_F(WalCheckTest, CutsWhatNobodyWasPromised) {
  write_log(3, {{1, 0}, {2, 1}, {3, 2, true}, {4, 2}});
  write_log(4, {{5, 2}});
  EXPECT_EQ(check(), true);
  EXPECT_EQ(size(3), begins_[3]);
  EXPECT_EQ(size(4), 0u) << "a batch without its predecessor is half of something";
  EXPECT_EQ(check(), false) << "healthy now";
}

TEST_F(WalCheckTest, RefusesWhenALaterBatchSaysItWasSynced) {
  write_log(3, {{1, 0}, {2, 1}, {3, 2, true}, {4, 2}});
  write_log(4, {{5, 4}});
  EXPECT_EQ(check().error().code, Errc::Damaged);
}

TEST_F(WalCheckTest, FindsAGapBetweenLogs) {
  write_log(3, {{1, 0}, {2, 1}});  // its end was cut off between two records
  write_log(4, {{4, 1}, {5, 1}});
  EXPECT_EQ(check(), true);
  EXPECT_EQ(size(4), 0u);
  write_log(4, {{4, 1}, {5, 3}});
  EXPECT_EQ(check().error().code, Errc::Damaged);
}

TEST_F(WalCheckTest, ABatchWrittenAgainToANewerLogIsNotMissing) {
  write_log(3, {{1, 0}, {2, 1}, {3, 2, true}});
  write_log(4, {{3, 2}, {4, 3}});
  EXPECT_EQ(check(), false);
  write_log(3, {{1, 0}, {2, 1}, {3, 2}});
  EXPECT_EQ(check(), false);
}

TEST_F(WalCheckTest, DoesNotLookAtLogsNoLongerNeeded) {
  write_log(3, {{1, 0, true}, {2, 1}, {9, 8}});
  write_log(7, {{50, 49}, {51, 50}});
  EXPECT_EQ(check().error().code, Errc::Damaged);
  EXPECT_EQ(check(7), false);
}

}  // namespace
}  // namespace danki::queue
