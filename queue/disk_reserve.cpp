#include "queue/disk_reserve.hpp"

#include "base/log.hpp"

#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace danki::queue {
namespace {

std::string reserve_path(const SpoolOptions& options) {
  return (options.directory / "reserve").string();
}

/// Space that is really taken: a file of holes reserves nothing.
bool is_allocated(const std::string& path, std::uint64_t bytes) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return false;
  return static_cast<std::uint64_t>(info.st_size) == bytes && static_cast<std::uint64_t>(info.st_blocks) * 512 >= bytes;
}

}  // namespace

void DiskReserve::check(bool may_make) {
  std::uint64_t free = 0;
  if (files_.GetFreeSpace(options_.directory.string(), {}, &free, nullptr).ok()) free_bytes_ = free;
  if (!held_ && may_make && options_.reserve_file_bytes > 0) make();
  // Others on this disk need space too, the event log first: what it cannot write is lost. The spool's own log was
  // allocated ahead, so a write of ours may fail much later.
  if (free_bytes_ < options_.reserve_file_bytes / 2) release();
}

void DiskReserve::make() {
  const std::string path = reserve_path(options_);
  if (is_allocated(path, options_.reserve_file_bytes)) {
    held_ = true;
    return;
  }
  if (free_bytes_ < options_.disk_reserve_bytes + options_.reserve_file_bytes) return;
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return;
  const int problem = ::posix_fallocate(file, 0, static_cast<off_t>(options_.reserve_file_bytes));
  ::close(file);
  if (problem != 0) {
    ::unlink(path.c_str());
    log::warn("the spool's reserve file could not be made", {{"file", path}, {"error", std::strerror(problem)}});
    return;
  }
  held_ = true;
}

bool DiskReserve::release() {
  if (!held_) return false;
  held_ = false;
  const std::string path = reserve_path(options_);
  ::unlink(path.c_str());
  log::warn("gave up the spool's reserve file to record outcomes", {{"file", path}});
  return true;
}

}  // namespace danki::queue
