#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <rocksdb/file_system.h>

namespace danki::queue {

/// The file system below the database, through which the commit thread syncs the database's log itself.
///
/// RocksDB's own ways to do that (WriteOptions::sync, SyncWAL) also sync the logs before the current one, which the
/// flush that closed them syncs too. When one of the two fails, the other trips an assertion (RocksDB 7.8,
/// WritableFileWriter::AssertFalseAndGetStatusForPrevError) and a broken disk would end the process. Here the two do
/// not meet: a log whose sync failed fails every later one, whoever asks.
class LogFiles final : public rocksdb::FileSystemWrapper {
 public:
  explicit LogFiles(std::shared_ptr<rocksdb::FileSystem> target);

  const char* Name() const override { return "LogFiles"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;

  /// When it returns OK, all that was written to open logs before is on stable storage, and so are their names. What a
  /// log that RocksDB closed held is in tables by then. For one thread; others may write and sync meanwhile.
  rocksdb::IOStatus sync();

  /// The number of the log created last; 0 before the first.
  std::uint64_t newest() const { return newest_; }

 private:
  class Log;
  class Handle;
  rocksdb::IOStatus sync_directory(const std::string& path);

  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<Log>> logs_;  // RocksDB's handles own them
  std::atomic<std::uint64_t> newest_{0};
  std::string new_name_in_;  // the directory to sync; empty when there is no new log
};

}  // namespace danki::queue
