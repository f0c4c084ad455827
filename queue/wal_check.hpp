#pragma once

#include "base/result.hpp"
#include "queue/records.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <rocksdb/env.h>
#include <rocksdb/wal_filter.h>
#include <rocksdb/write_batch.h>

/// Is the damage in a write-ahead log what a crash leaves, or did acknowledged mail get lost? RocksDB alone cannot
/// tell: a torn page at the end looks like a bad checksum anywhere, and a log cut short may hide a gap before the next
/// one. But every batch of ours carries its number and the number up to which everything was on stable storage when it
/// was begun (records.hpp, Head).
namespace danki::queue {

/// The head that a batch stores, if it stores one.
std::optional<Head> head_of(const rocksdb::WriteBatch& batch);

/// Watches the batches that RocksDB replays while opening; stops the opening where their numbers have a gap.
class ContinuityFilter final : public rocksdb::WalFilter {
 public:
  const char* Name() const override { return "danki.continuity"; }
  void ColumnFamilyLogNumberMap(const std::map<std::uint32_t, std::uint64_t>& log_numbers,
                                const std::map<std::string, std::uint32_t>& ids) override;
  WalProcessingOption LogRecordFound(unsigned long long log_number, const std::string& log_file_name,
                                     const rocksdb::WriteBatch& batch, rocksdb::WriteBatch* new_batch,
                                     bool* batch_changed) override;

  bool found_gap() const { return found_gap_; }
  /// Logs below it are no longer needed. 0 when the opening failed before it was known.
  std::uint64_t first_log() const { return first_log_; }

 private:
  std::optional<std::uint64_t> last_batch_;
  bool found_gap_ = false;
  std::uint64_t first_log_ = 0;
};

/// Looks at the logs in `directory` from number `first_log` on. Damage that can only have hit batches not yet synced is
/// cut off, with all that follows: returns true. No damage: false. Damage before a batch that proves the lost one
/// synced: Errc::Damaged, naming file and place.
Result<bool> cut_damaged_tail(rocksdb::FileSystem& files, const std::string& directory, std::uint64_t first_log);

struct LogFile {
  std::uint64_t number;
  std::string path;
};
/// The logs in `directory` from number `first` on, oldest first.
Result<std::vector<LogFile>> list_logs(rocksdb::FileSystem& files, const std::string& directory, std::uint64_t first);

/// The crc32c of RocksDB's log records.
std::uint32_t crc32c(std::uint32_t seed, std::string_view bytes);

}  // namespace danki::queue
