#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <utility>

namespace danki::queue {

/// The right to be the only one who works in a spool's directory: a daemon, also while it closes and reopens the
/// database, or a repair. Lives as long as this object; the kernel ends it with the process. Works between threads and
/// processes, not between machines.
class DirectoryLock {
 public:
  /// Never waits. device_or_resource_busy, naming `directory`, when somebody has it, also elsewhere in this process.
  /// The directory must exist; the file `lock` in it is made and stays.
  static Result<DirectoryLock> take(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(DirectoryLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;

 private:
  explicit DirectoryLock(int file) : file_(file) {}
  int file_;
};

}  // namespace danki::queue
