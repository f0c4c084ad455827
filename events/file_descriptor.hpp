#pragma once

#include <memory>
#include <utility>

namespace danki::events {

/// A file descriptor that closes itself.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

using SharedDescriptor = std::shared_ptr<const FileDescriptor>;  // the writer and the thread that syncs share it

}  // namespace danki::events
