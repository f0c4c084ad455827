#include "queue/store_options.hpp"

#include "base/log.hpp"
#include "queue/removal_collector.hpp"
#include "queue/store.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>

namespace danki::queue {
namespace {

constexpr std::size_t kBloomBitsPerKey = 10;
constexpr std::uint64_t kMinBlobBytes =
    1024;  // below, the record in the table is about as large as the reference to a blob

/// What RocksDB has to say goes to the program's log. Its own log file lies on the disk of the spool: when a write to
/// it fails, the next line trips an assertion (RocksDB 7.8, WritableFileWriter::seen_error), so a full disk would end
/// the process.
class DatabaseLog final : public rocksdb::Logger {
 public:
  DatabaseLog() : Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    Logv(rocksdb::InfoLogLevel::INFO_LEVEL, format, arguments);
  }
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel() || level == rocksdb::InfoLogLevel::HEADER_LEVEL) return;
    const bool is_error = level >= rocksdb::InfoLogLevel::ERROR_LEVEL;
    if (!is_error && !log::enabled(log::Level::Debug)) return;
    std::array<char, 512> text{};
    std::vsnprintf(text.data(), text.size(), format, arguments);
    log::write(is_error ? log::Level::Warn : log::Level::Debug, "the spool's database says", {{"text", text.data()}});
  }
};

/// Three quarters of the memory for memtables, the rest for blocks: the queue is written far more often than read.
std::size_t memtable_bytes(const SpoolOptions& options) {
  return options.cache_bytes / 4 * 3;
}

rocksdb::ColumnFamilyOptions queue_family(const SpoolOptions& options, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions family;
  // The write buffer manager decides when to flush; this only keeps one family from taking it all.
  family.write_buffer_size = memtable_bytes(options);
  family.arena_block_size = 256 << 10;  // eight families: small pieces, or empty memtables take the budget
  family.max_write_buffer_number = 6;
  family.level0_file_num_compaction_trigger = 4;
  // One writer, whose records are small: never let a late compaction hold up the answer to a client.
  family.level0_slowdown_writes_trigger = 60;
  family.level0_stop_writes_trigger = 100;
  family.target_file_size_base = 16 << 20;
  family.max_bytes_for_level_base = 64 << 20;
  family.level_compaction_dynamic_level_bytes = true;
  family.compression = rocksdb::kNoCompression;
  family.table_properties_collector_factories.push_back(make_removal_collector());
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = false;  // the budget comes first
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kBloomBitsPerKey));
  table.format_version = 5;
  table.block_size = 8 << 10;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

std::vector<rocksdb::ColumnFamilyDescriptor> family_descriptors(const SpoolOptions& options,
                                                                const std::shared_ptr<rocksdb::Cache>& cache) {
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const char* name : kFamilyNames) descriptors.emplace_back(name, queue_family(options, cache));
  rocksdb::ColumnFamilyOptions& bodies = descriptors[static_cast<std::size_t>(Family::Bodies)].options;
  bodies.enable_blob_files = true;
  bodies.min_blob_size = kMinBlobBytes;
  bodies.blob_file_size = 64 << 20;
  bodies.enable_blob_garbage_collection = true;
  bodies.blob_garbage_collection_age_cutoff = 0.5;
  bodies.blob_garbage_collection_force_threshold = 0.5;
  return descriptors;
}

}  // namespace

DatabaseOptions database_options(const SpoolOptions& options, rocksdb::Env* env) {
  // Memtables are charged to the block cache, so both together keep to one budget.
  const auto cache = rocksdb::NewLRUCache(options.cache_bytes, 2, false, 0.5);
  DatabaseOptions result{.db = {}, .families = family_descriptors(options, cache)};
  rocksdb::DBOptions& db = result.db;
  db.env = env;
  db.create_if_missing = true;
  db.create_missing_column_families = true;
  db.paranoid_checks = true;

  // What a crash leaves is a log cut short. Anything else in the log stops the start (queue/wal_check.hpp looks
  // closer).
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  db.recycle_log_file_num = 0;
  db.track_and_verify_wals_in_manifest = true;
  db.max_total_wal_size = options.max_wal_bytes;
  db.max_bgerror_resume_count = 0;  // the commit thread resumes

  // One thread writes.
  db.allow_concurrent_memtable_write = false;
  db.enable_pipelined_write = false;
  db.enable_write_thread_adaptive_yield = false;

  db.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(memtable_bytes(options), cache);
  db.max_open_files = 256;
  db.max_background_jobs = 2;
  db.max_subcompactions = 1;
  db.max_file_opening_threads = 1;
  db.bytes_per_sync = 1 << 20;  // spreads the write-back of tables, so that the log's syncs need not wait behind it
  db.compaction_readahead_size = 256 << 10;
  db.writable_file_max_buffer_size = 256 << 10;
  db.avoid_unnecessary_blocking_io = true;
  db.delete_obsolete_files_period_micros = 60ull * 1000 * 1000;

  db.info_log = std::make_shared<DatabaseLog>();
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  return result;
}

}  // namespace danki::queue
