#include "events/file_descriptor.hpp"

#include <unistd.h>

namespace danki::events {

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace danki::events
