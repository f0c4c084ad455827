#include "queue/log_files.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace danki::queue {

using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

/// One log, shared by RocksDB's handle and a sync that is under way.
class LogFiles::Log {
 public:
  explicit Log(std::unique_ptr<FSWritableFile> target) : target_(std::move(target)) {}

  FSWritableFile* target() const { return target_.get(); }

  /// Before the write: octets that are there and not counted would never be synced.
  void count(std::size_t octets) { written_ += octets; }

  IOStatus sync(const IOOptions& options, IODebugContext* debug) {
    const std::scoped_lock lock(mutex_);
    return sync_locked(options, debug);
  }

  IOStatus sync_what_is_new() {
    const std::scoped_lock lock(mutex_);
    return is_closed_ || synced_ == written_ ? IOStatus::OK() : sync_locked({}, nullptr);
  }

  IOStatus close(const IOOptions& options, IODebugContext* debug) {
    const std::scoped_lock lock(mutex_);
    is_closed_ = true;
    return target_->Close(options, debug);
  }

 private:
  IOStatus sync_locked(const IOOptions& options, IODebugContext* debug) {
    if (!failure_.ok()) return failure_;  // the system tells of what it could not write once only
    const std::uint64_t covered = written_;
    auto status = target_->Sync(options, debug);
    if (status.ok())
      synced_ = covered;
    else
      failure_ = status;
    return status;
  }

  const std::unique_ptr<FSWritableFile> target_;
  std::atomic<std::uint64_t> written_{0};
  std::mutex mutex_;  // of syncs and the close, and what follows
  std::uint64_t synced_ = 0;
  bool is_closed_ = false;
  IOStatus failure_;
};

/// What RocksDB writes a log through.
class LogFiles::Handle final : public rocksdb::FSWritableFileWrapper {
 public:
  explicit Handle(std::shared_ptr<Log> log) : FSWritableFileWrapper(log->target()), log_(std::move(log)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    log_->count(data.size());
    return FSWritableFileWrapper::Append(data, options, debug);
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& check,
                  IODebugContext* debug) override {
    log_->count(data.size());
    return FSWritableFileWrapper::Append(data, options, check, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override { return log_->sync(options, debug); }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override { return log_->sync(options, debug); }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override { return log_->close(options, debug); }

 private:
  const std::shared_ptr<Log> log_;
};

LogFiles::LogFiles(std::shared_ptr<rocksdb::FileSystem> target) : FileSystemWrapper(std::move(target)) {}

IOStatus LogFiles::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                   std::unique_ptr<FSWritableFile>* result, IODebugContext* debug) {
  auto status = FileSystemWrapper::NewWritableFile(path, options, result, debug);
  if (!status.ok() || !path.ends_with(".log")) return status;
  auto log = std::make_shared<Log>(std::move(*result));
  *result = std::make_unique<Handle>(log);
  const std::scoped_lock lock(mutex_);
  std::erase_if(logs_, [](const std::weak_ptr<Log>& old) { return old.expired(); });
  logs_.push_back(log);
  const std::filesystem::path file = path;
  newest_ = std::strtoull(file.filename().c_str(), nullptr, 10);
  new_name_in_ = file.parent_path().string();
  return status;
}

IOStatus LogFiles::sync() {
  std::vector<std::weak_ptr<Log>> logs;
  std::string directory;
  {
    const std::scoped_lock lock(mutex_);
    logs = logs_;
    directory = std::exchange(new_name_in_, {});
  }
  auto status = directory.empty() ? IOStatus::OK() : sync_directory(directory);
  for (const auto& weak : logs) {
    if (!status.ok()) break;
    if (const auto log = weak.lock()) status = log->sync_what_is_new();
  }
  return status;
}

/// Without its name a new log would be gone with the power.
IOStatus LogFiles::sync_directory(const std::string& path) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  auto status = FileSystemWrapper::NewDirectory(path, {}, &directory, nullptr);
  if (status.ok()) status = directory->FsyncWithDirOptions({}, nullptr, rocksdb::DirFsyncOptions());
  return status;
}

}  // namespace danki::queue
