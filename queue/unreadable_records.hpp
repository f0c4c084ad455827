#pragma once

#include "base/result.hpp"

#include <atomic>
#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace danki::queue {

/// Due records that do not decode: readers pass over them, so that one holds up nobody else, and nothing removes them.
/// Each is logged once. Thread-safe.
class UnreadableRecords {
 public:
  static constexpr std::size_t kMostNamed = 1000;  ///< more are neither logged nor counted

  void note(std::string_view key, const Error& error);
  std::size_t count() const { return count_; }

 private:
  std::mutex mutex_;
  std::set<std::string, std::less<>> keys_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace danki::queue
