#pragma once

#include "base/time.hpp"

#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace danki::submission {

/// Failed authentications, counted under a client's address or what else a caller names, for ten minutes each; least
/// recently used ones are forgotten first. Thread-safe.
class AuthFailures {
 public:
  static constexpr std::size_t kMaxKeys = 65'536;
  static constexpr std::chrono::minutes kWindow{10};
  static constexpr Duration kFirstDelay{100};
  static constexpr Duration kMaxDelay{10'000};

  /// Failures under `key` within the window.
  std::size_t count(std::string_view key, SteadyPoint now);
  /// Counts one more and says how long its answer is to be held back: doubling, up to kMaxDelay.
  Duration add(std::string_view key, SteadyPoint now);

 private:
  struct Entry {
    std::string key;
    std::size_t failures;
    SteadyPoint since;
  };
  Entry* find(std::string_view key, SteadyPoint now);

  std::mutex mutex_;
  std::list<Entry> entries_;                                                 ///< most recently used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;  ///< keys are in the entries
};

}  // namespace danki::submission
