#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <utility>

namespace danki::daemon {

/// A data directory that no other dankid works in, as long as this lives. Taken before anything in it is opened: a
/// second daemon must not touch the first one's event log on its way to the spool's own lock. The kernel frees it when
/// the process ends, however it does.
class DataDirLock {
 public:
  /// Makes the directory if need be. The error names who is there.
  static Result<DataDirLock> take(const std::filesystem::path& data_dir);
  DataDirLock(DataDirLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DataDirLock& operator=(DataDirLock&&) = delete;
  ~DataDirLock();

 private:
  explicit DataDirLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace danki::daemon
