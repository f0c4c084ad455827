#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace danki::queue {

/// Counts the contents that live messages hold in memory. Outlives the spool as long as a content does. Thread-safe.
class ContentMemory {
 public:
  explicit ContentMemory(std::uint64_t limit) : limit_(limit) {}

  /// The same string, shared; counted until its last user lets go. Null when there is no room for it.
  std::shared_ptr<const std::string> keep(std::string content) {
    if (*used_ + content.capacity() > limit_) return nullptr;
    return share(std::move(content));
  }
  /// Likewise, room or not: for somebody who is about to send it.
  std::shared_ptr<const std::string> share(std::string content) {
    const std::uint64_t bytes = content.capacity();
    *used_ += bytes;
    return {new std::string(std::move(content)), [used = used_, bytes](const std::string* s) {
              delete s;
              *used -= bytes;
            }};
  }
  std::uint64_t used() const { return *used_; }

 private:
  const std::uint64_t limit_;
  std::shared_ptr<std::atomic<std::uint64_t>> used_ =
      std::make_shared<std::atomic<std::uint64_t>>(0);  // with every content
};

}  // namespace danki::queue
