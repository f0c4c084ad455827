#include "mta/daemon/data_dir_lock.hpp"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

namespace danki::daemon {

namespace {

constexpr const char* kFile = "dankid.lock";
constexpr mode_t kMode = 0640;

Error failed(const std::filesystem::path& path) {
  return {std::error_code(errno, std::generic_category()), path.string()};
}

/// What the daemon that holds the lock wrote: its pid, for people. Nothing relies on it.
std::string holder(int fd) {
  char text[32];
  const ssize_t got = ::pread(fd, text, sizeof text, 0);
  const std::string pid(text, got > 0 ? static_cast<std::size_t>(got) : 0);
  return pid.find_first_not_of("0123456789\n") == std::string::npos && !pid.empty()
             ? " (pid " + pid.substr(0, pid.find('\n')) + ")"
             : std::string();
}

}  // namespace

Result<DataDirLock> DataDirLock::take(const std::filesystem::path& data_dir) {
  std::error_code failure;
  std::filesystem::create_directories(data_dir, failure);
  if (failure) return std::unexpected(Error{failure, data_dir.string()});
  const std::filesystem::path file = data_dir / kFile;
  DataDirLock lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kMode));
  if (lock.fd_ < 0) return std::unexpected(failed(file));
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return std::unexpected(failed(file));
    return std::unexpected(
        Error{std::error_code(), fmt::format("another dankid{} works in {}", holder(lock.fd_), data_dir.string())});
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  // Only people read it: a full disk must not keep us from starting.
  if (::ftruncate(lock.fd_, 0) == 0) (void)!::pwrite(lock.fd_, pid.data(), pid.size(), 0);
  return lock;
}

DataDirLock::~DataDirLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace danki::daemon
