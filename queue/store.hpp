#pragma once

#include "base/result.hpp"
#include "queue/directory_lock.hpp"
#include "queue/log_files.hpp"
#include "queue/log_list.hpp"
#include "queue/options.hpp"
#include "queue/records.hpp"
#include "queue/store_options.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <rocksdb/db.h>

namespace danki::queue {

/// The column families, in the order of kFamilyNames.
enum class Family : std::size_t { Default, Bodies, Envelopes, State, Due, Suppression, Idempotency, Counters };
inline constexpr std::array<const char*, 8> kFamilyNames = {"default", "bodies",      "envelopes",   "state",
                                                            "due",     "suppression", "idempotency", "counters"};

inline constexpr const char* kRepairCommand = "dankid --repair-spool";

/// A status of the database as an Error: what it is about in `detail`.
Error to_error(const rocksdb::Status& status, std::string_view doing);

/// Where the database lives below the spool's directory.
std::string database_path(const SpoolOptions& options);

/// The RocksDB database: opening with its checks, and the gate between many readers and the commit thread, which alone
/// writes and may close and reopen the database after a failed write.
class Store {
 public:
  /// `env` null: the real one. `options` is copied. The directory is locked from here to close().
  static Result<std::unique_ptr<Store>> open(const SpoolOptions& options, rocksdb::Env* env);
  /// For repair, which has the directory's lock: reads the log around damage and does not ask whether all blob files
  /// are there.
  static Result<std::unique_ptr<Store>> open_damaged(const SpoolOptions& options, rocksdb::Env* env);
  ~Store();

  /// A reader's place: while it lives, the database is not closed. Short-lived.
  class Reading {
   public:
    explicit Reading(Store* store) : store_(store), shown_{store->shown_up_to_} {}
    Reading(Reading&& other) noexcept : store_(std::exchange(other.store_, nullptr)), shown_(other.shown_) {}
    Reading& operator=(Reading&&) = delete;
    ~Reading() {
      if (store_) store_->end_reading();
    }
    rocksdb::DB* operator->() const { return store_->db_.get(); }
    rocksdb::ColumnFamilyHandle* family(Family f) const { return store_->family(f); }
    /// Whether a message is there for readers; show_up_to().
    bool shows(MessageId id) const { return id <= shown_; }

   private:
    Store* store_;
    const MessageId shown_;
  };
  /// Waits while the database is being reopened. Errc::Closed after close(), Errc::Unavailable when reopening failed
  /// and is yet to be tried again.
  Result<Reading> read();

  // From here on for the commit thread (and for open, before there is one).

  rocksdb::ColumnFamilyHandle* family(Family f) const { return handles_[static_cast<std::size_t>(f)]; }
  bool is_open() const { return db_ != nullptr; }
  /// The first batch of a log is always synced: so where a log does not begin well and others follow it, that is damage
  /// and not what a power cut took of batches nobody had synced.
  rocksdb::Status write(rocksdb::WriteBatch& batch, bool sync);
  /// Messages with later ids are in the database before their sync has returned, and stay there for a moment when it
  /// failed and they were refused: nobody may find and deliver them. At first all are shown.
  void show_up_to(MessageId id) { shown_up_to_ = id.value; }
  rocksdb::Status sync();
  /// After a failed flush or compaction: makes the open database take writes again.
  rocksdb::Status resume();
  /// A write or sync of the log failed: resuming would go on writing to that log (RocksDB 7.8 asserts that nobody
  /// does), only reopening helps.
  bool log_failed() const { return log_failed_; }
  std::uint64_t memtable_bytes() const;
  /// Does the disk take a new file, its content and its name?
  rocksdb::Status try_disk();
  /// Closes and opens again; blocks readers meanwhile. What reached the log before is there again.
  Result<void> reopen();
  /// nullopt in a new database.
  Result<std::optional<Head>> read_head();
  /// Starts writing the memtables to tables, without waiting: gives back log and garbage.
  void flush();
  /// A background job (flush, compaction) failed since the last resume().
  bool background_failed() const { return background_failed_; }
  /// Leaves one version of every record. Blocks for long.
  rocksdb::Status compact();
  void close();

  rocksdb::FileSystem& files() const { return *env_->GetFileSystem(); }

 private:
  Store(SpoolOptions options, rocksdb::Env* env, bool is_repairing);
  Result<void> take_directory();
  Result<void> open_database();
  Result<void> check_families();
  Result<void> check_logs();
  Result<std::optional<Head>> head_before(std::uint64_t log);
  Result<void> check_format();
  Result<void> check_blob_files();
  void close_database();
  void list_begun_logs();
  void end_reading();

  const SpoolOptions options_;
  const std::shared_ptr<LogFiles> log_files_;  // with env_
  const std::unique_ptr<rocksdb::Env> env_;
  const bool is_repairing_;
  std::optional<DirectoryLock> directory_lock_;
  std::uint64_t begun_log_ = 0;          // the newest log of which the first batch is on stable storage
  std::deque<ListedLog> unlisted_logs_;  // begun, and not yet in the list of logs
  std::uint64_t warned_of_log_ = 0;      // the newest one that a warning was about
  DatabaseOptions database_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilyNames.size()> handles_{};
  std::atomic<bool> background_failed_{false}, log_failed_{false};
  std::atomic<std::uint64_t> shown_up_to_{~std::uint64_t{0}};

  enum class Gate { Open, Reopening, Broken, Closed };
  std::mutex gate_mutex_;
  std::condition_variable gate_changed_;
  Gate gate_ = Gate::Open;
  std::size_t readers_ = 0;
};

}  // namespace danki::queue
