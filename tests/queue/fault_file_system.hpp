#pragma once

#include "base/random.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

namespace danki::queue::testing {

/// The real file system below RocksDB, and what can happen to it: writes and syncs that fail or hang, a full disk, and
/// a power cut after which everything not synced may be gone: file contents, new names, renames and removals.
/// Thread-safe.
class FaultFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  using IOStatus = rocksdb::IOStatus;
  enum class Operation { Append, Sync, Create, Rename, Delete, SyncDirectory };
  /// Looks at an operation before it happens and may fail it. Called under no lock.
  using Fault = std::function<IOStatus(Operation, const std::string& path)>;

  /// `attic`: a directory beside the database, for what is removed but not yet surely so.
  explicit FaultFileSystem(std::filesystem::path attic)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), attic_(std::move(attic)) {
    std::filesystem::create_directories(attic_);
  }

  const char* Name() const override { return "FaultFileSystem"; }

  void set_fault(Fault fault) {
    const std::scoped_lock lock(mutex_);
    fault_ = std::make_shared<const Fault>(std::move(fault));
  }
  void clear_fault() {
    const std::scoped_lock lock(mutex_);
    fault_.reset();
  }
  /// Looks at what is about to be opened or read, files and directories, and may fail it. Called under no lock.
  using ReadFault = std::function<IOStatus(const std::string& path)>;
  void set_read_fault(ReadFault fault) {
    const std::scoped_lock lock(mutex_);
    read_fault_ = std::make_shared<const ReadFault>(std::move(fault));
  }
  void clear_read_fault() {
    const std::scoped_lock lock(mutex_);
    read_fault_.reset();
  }
  /// What free space the file system reports; nullopt: the truth.
  void set_free_space(std::optional<std::uint64_t> bytes) {
    const std::scoped_lock lock(mutex_);
    free_space_ = bytes;
  }
  static bool is_log(const std::string& path) { return path.ends_with(".log"); }
  std::uint64_t log_syncs() const { return log_syncs_; }

  /// A slow disk: each sync of the log takes at least so long.
  void slow_syncs(std::chrono::milliseconds each) { sync_takes_ = each; }
  /// Syncs of the log wait until release_syncs().
  void hold_syncs() {
    const std::scoped_lock lock(mutex_);
    hold_syncs_ = true;
  }
  void release_syncs() {
    {
      const std::scoped_lock lock(mutex_);
      hold_syncs_ = false;
    }
    changed_.notify_all();
  }
  /// Until a sync of the log is being held.
  void wait_for_held_sync() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held_syncs_ > 0; });
  }

  /// The power goes before operation number `after` from now on: it and everything later fails.
  void cut_power_after(std::uint64_t after) {
    const std::scoped_lock lock(mutex_);
    operations_left_ = after;
  }
  bool is_dead() const { return dead_; }
  std::uint64_t operations() const { return operations_; }

  /// Makes the disk what it might be after a power cut now. Everything that used this object must be closed. The object
  /// is good for use again.
  void lose_unsynced(Random& random) {
    const std::scoped_lock lock(mutex_);
    // Names first, newest first: journals keep the order, so what is lost is the end.
    for (std::uint64_t lost = random.between(0, unsynced_names_.size()); lost > 0; --lost) {
      unsynced_names_.back().undo();
      unsynced_names_.pop_back();
    }
    unsynced_names_.clear();
    for (auto& [path, file] : files_) {
      std::error_code gone;
      if (!std::filesystem::exists(path, gone) || file.written <= file.synced) continue;
      if (is_log(path) && random.between(0, 1) == 0)
        tear(path, file, random);
      else
        std::filesystem::resize_file(path, random.between(file.synced, file.written), gone);
    }
    files_.clear();
    dead_ = false;
    operations_left_.reset();
  }

  // Of rocksdb::FileSystem.

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result, rocksdb::IODebugContext* debug) override {
    if (auto status = before(Operation::Create, path); !status.ok()) return status;
    auto status = target()->NewWritableFile(path, options, result, debug);
    if (status.ok()) {
      const std::scoped_lock lock(mutex_);
      files_[path] = {};
      add_name(path);
      *result = std::make_unique<File>(*this, path, std::move(*result));
    }
    return status;
  }

  IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                              rocksdb::IODebugContext* debug) override {
    if (auto status = before(Operation::Create, path); !status.ok()) return status;
    auto status = target()->ReopenWritableFile(path, options, result, debug);
    if (status.ok()) {
      const std::scoped_lock lock(mutex_);
      const std::uint64_t size = std::filesystem::file_size(path);
      files_[path] = {.written = size, .synced = size};
      *result = std::make_unique<File>(*this, path, std::move(*result));
    }
    return status;
  }

  IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             rocksdb::IODebugContext* debug) override {
    if (auto status = before_read(path); !status.ok()) return status;
    return target()->NewSequentialFile(path, options, result, debug);
  }

  IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               rocksdb::IODebugContext* debug) override {
    if (auto status = before_read(path); !status.ok()) return status;
    return target()->NewRandomAccessFile(path, options, result, debug);
  }

  IOStatus GetChildren(const std::string& path, const rocksdb::IOOptions& options, std::vector<std::string>* result,
                       rocksdb::IODebugContext* debug) override {
    if (auto status = before_read(path); !status.ok()) return status;
    return target()->GetChildren(path, options, result, debug);
  }

  IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* result, rocksdb::IODebugContext* debug) override {
    auto status = target()->NewDirectory(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<Directory>(*this, path, std::move(*result));
    return status;
  }

  IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                      rocksdb::IODebugContext* debug) override {
    if (auto status = before(Operation::Delete, path); !status.ok()) return status;
    const std::scoped_lock lock(mutex_);
    return remove_softly(path, options, debug);
  }

  IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                      rocksdb::IODebugContext* debug) override {
    if (auto status = before(Operation::Rename, to); !status.ok()) return status;
    const std::scoped_lock lock(mutex_);
    if (std::filesystem::exists(to)) {
      if (auto status = remove_softly(to, options, debug); !status.ok()) return status;
    }
    auto status = target()->RenameFile(from, to, options, debug);
    if (!status.ok()) return status;
    move_extents(from, to);
    unsynced_names_.push_back({.undo = [this, from, to] {
      std::error_code gone;
      std::filesystem::rename(to, from, gone);
      move_extents(to, from);
    }});
    return status;
  }

  IOStatus LinkFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                    rocksdb::IODebugContext* debug) override {
    if (auto status = before(Operation::Create, to); !status.ok()) return status;
    auto status = target()->LinkFile(from, to, options, debug);
    const std::scoped_lock lock(mutex_);
    if (status.ok()) add_name(to);
    return status;
  }

  IOStatus GetFreeSpace(const std::string& path, const rocksdb::IOOptions& options, std::uint64_t* free,
                        rocksdb::IODebugContext* debug) override {
    {
      const std::scoped_lock lock(mutex_);
      if (free_space_) {
        *free = *free_space_;
        return IOStatus::OK();
      }
    }
    return target()->GetFreeSpace(path, options, free, debug);
  }

 private:
  struct Extent {
    std::uint64_t written = 0, synced = 0;
  };
  struct NameChange {
    std::function<void()> undo;
  };

  class File final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(FaultFileSystem& system, std::string path, std::unique_ptr<rocksdb::FSWritableFile> target)
        : FSWritableFileOwnerWrapper(std::move(target)), system_(system), path_(std::move(path)) {}

    IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                    rocksdb::IODebugContext* debug) override {
      if (auto status = system_.before(Operation::Append, path_); !status.ok()) return status;
      auto status = FSWritableFileOwnerWrapper::Append(data, options, debug);
      if (status.ok()) system_.appended(path_, data.size());
      return status;
    }
    IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, const rocksdb::DataVerificationInfo&,
                    rocksdb::IODebugContext* debug) override {
      return Append(data, options, debug);
    }
    IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return sync([&] { return FSWritableFileOwnerWrapper::Sync(options, debug); });
    }
    IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return sync([&] { return FSWritableFileOwnerWrapper::Fsync(options, debug); });
    }

   private:
    template <class F>
    IOStatus sync(F&& really) {
      system_.hold(path_);
      const std::uint64_t covered = system_.written(path_);
      if (auto status = system_.before(Operation::Sync, path_); !status.ok()) return status;
      auto status = really();
      if (status.ok()) system_.synced(path_, covered);
      return status;
    }

    FaultFileSystem& system_;
    const std::string path_;
  };

  class Directory final : public rocksdb::FSDirectoryWrapper {
   public:
    Directory(FaultFileSystem& system, std::string path, std::unique_ptr<rocksdb::FSDirectory> target)
        : FSDirectoryWrapper(std::move(target)), system_(system), path_(std::move(path)) {}
    IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      if (auto status = system_.before(Operation::SyncDirectory, path_); !status.ok()) return status;
      auto status = FSDirectoryWrapper::Fsync(options, debug);
      if (status.ok()) system_.names_synced();
      return status;
    }
    IOStatus FsyncWithDirOptions(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug,
                                 const rocksdb::DirFsyncOptions&) override {
      return Fsync(options, debug);
    }

   private:
    FaultFileSystem& system_;
    const std::string path_;
  };

  IOStatus before(Operation operation, const std::string& path) {
    std::shared_ptr<const Fault> fault;
    {
      const std::scoped_lock lock(mutex_);
      ++operations_;
      if (operations_left_ && (*operations_left_ == 0 || --*operations_left_ == 0)) dead_ = true;
      if (dead_) return IOStatus::IOError("the power is off");
      fault = fault_;
    }
    return fault ? (*fault)(operation, path) : IOStatus::OK();
  }

  IOStatus before_read(const std::string& path) {
    std::shared_ptr<const ReadFault> fault;
    {
      const std::scoped_lock lock(mutex_);
      fault = read_fault_;
    }
    return fault ? (*fault)(path) : IOStatus::OK();
  }

  void add_name(const std::string& path) {
    unsynced_names_.push_back({.undo = [path] {
      std::error_code gone;
      std::filesystem::remove(path, gone);
    }});
  }

  /// Of a file, or of all files in a directory.
  void move_extents(const std::string& from, const std::string& to) {
    std::map<std::string, Extent> moved;
    std::erase_if(files_, [&](const auto& file) {
      const auto& [path, extent] = file;
      const bool is_moved = path == from || path.starts_with(from + "/");
      if (is_moved) moved.emplace(to + path.substr(from.size()), extent);
      return is_moved;
    });
    files_.merge(moved);
  }

  void hold(const std::string& path) {
    if (!is_log(path)) return;
    std::this_thread::sleep_for(sync_takes_.load());
    std::unique_lock lock(mutex_);
    ++held_syncs_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !hold_syncs_; });
    --held_syncs_;
  }

  void appended(const std::string& path, std::uint64_t bytes) {
    const std::scoped_lock lock(mutex_);
    files_[path].written += bytes;
  }
  std::uint64_t written(const std::string& path) {
    const std::scoped_lock lock(mutex_);
    return files_[path].written;
  }
  void synced(const std::string& path, std::uint64_t covered) {
    const std::scoped_lock lock(mutex_);
    files_[path].synced = std::max(files_[path].synced, covered);
    if (is_log(path)) ++log_syncs_;
  }
  void names_synced() {
    const std::scoped_lock lock(mutex_);
    unsynced_names_.clear();
  }

  /// Into the attic, so that it can come back.
  IOStatus remove_softly(const std::string& path, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) {
    const std::string kept = (attic_ / std::to_string(++kept_files_)).string();
    auto status = target()->RenameFile(path, kept, options, debug);
    if (!status.ok()) return status;
    const auto at = files_.find(path);
    const Extent extent = at == files_.end() ? Extent{} : at->second;
    if (at != files_.end()) files_.erase(at);
    unsynced_names_.push_back({.undo = [this, path, kept, extent] {
      std::error_code gone;  // the directory it was in
      std::filesystem::rename(kept, path, gone);
      files_[path] = extent;
    }});
    return status;
  }

  /// The file has its length, but sectors of what was not synced are zeros or garbage.
  static void tear(const std::string& path, const Extent& extent, Random& random) {
    constexpr std::uint64_t kSector = 512;
    std::error_code ignored;
    std::filesystem::resize_file(path, extent.written, ignored);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (std::uint64_t at = extent.synced; at < extent.written;) {
      const std::uint64_t end = std::min(extent.written, (at / kSector + 1) * kSector);
      const auto fate = random.between(0, 3);
      std::string sector(end - at, '\0');
      if (fate == 1) std::generate(sector.begin(), sector.end(), [&] { return static_cast<char>(random.next()); });
      file.seekp(static_cast<std::streamoff>(at));
      if (fate < 2) file.write(sector.data(), static_cast<std::streamsize>(sector.size()));
      at = end;
    }
  }

  const std::filesystem::path attic_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const Fault> fault_;  // with those that are asking it
  std::shared_ptr<const ReadFault> read_fault_;
  std::optional<std::uint64_t> free_space_;
  std::map<std::string, Extent> files_;
  std::vector<NameChange> unsynced_names_;
  std::optional<std::uint64_t> operations_left_;
  std::uint64_t kept_files_ = 0;
  std::atomic<std::uint64_t> operations_{0}, log_syncs_{0};
  std::atomic<bool> dead_{false};
  std::atomic<std::chrono::milliseconds> sync_takes_{};
  bool hold_syncs_ = false;
  std::size_t held_syncs_ = 0;
};

/// An Env for SpoolOptions around a file system of one's own.
struct FaultEnv {
  explicit FaultEnv(const std::filesystem::path& attic)
      : files(std::make_shared<FaultFileSystem>(attic)), env(rocksdb::NewCompositeEnv(files)) {}
  std::shared_ptr<FaultFileSystem> files;  // with env
  std::unique_ptr<rocksdb::Env> env;
};

}  // namespace danki::queue::testing
