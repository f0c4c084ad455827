#include "queue/directory_lock.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace danki::queue {
namespace {

constexpr const char* kLockFile = "lock";

std::unexpected<Error> failed(const std::filesystem::path& path) {
  return std::unexpected(Error{std::error_code(errno, std::generic_category()), path.string()});
}

/// A file that root made for a repair must not shut out the daemon.
bool give_to_owner_of(const std::filesystem::path& directory, int file) {
  struct stat owner {
  }, made{};
  if (::geteuid() != 0) return true;
  if (::stat(directory.c_str(), &owner) != 0 || ::fstat(file, &made) != 0) return false;
  return (made.st_uid == owner.st_uid && made.st_gid == owner.st_gid) ||
         ::fchown(file, owner.st_uid, owner.st_gid) == 0;
}

}  // namespace

Result<DirectoryLock> DirectoryLock::take(const std::filesystem::path& directory) {
  const auto path = directory / kLockFile;
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return failed(path);
  DirectoryLock lock(file);
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failed(path);
    return std::unexpected(Error{std::errc::device_or_resource_busy,
                                 directory.string() + " is in use: a dankid, or its --repair-spool, works there"});
  }
  if (!give_to_owner_of(directory, file)) return failed(path);
  return lock;
}

DirectoryLock::~DirectoryLock() {
  if (file_ >= 0) ::close(file_);  // which ends the lock
}

}  // namespace danki::queue
