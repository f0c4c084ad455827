#include "mta/submission/auth_failures.hpp"

#include <algorithm>

namespace danki::submission {

AuthFailures::Entry* AuthFailures::find(std::string_view key, SteadyPoint now) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  const auto entry = found->second;
  if (now - entry->since >= kWindow) {
    by_key_.erase(found);
    entries_.erase(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return &*entry;
}

std::size_t AuthFailures::count(std::string_view key, SteadyPoint now) {
  std::lock_guard lock(mutex_);
  const Entry* entry = find(key, now);
  return entry != nullptr ? entry->failures : 0;
}

Duration AuthFailures::add(std::string_view key, SteadyPoint now) {
  std::lock_guard lock(mutex_);
  Entry* entry = find(key, now);
  if (entry == nullptr) {
    if (entries_.size() >= kMaxKeys) {
      by_key_.erase(entries_.back().key);
      entries_.pop_back();
    }
    entries_.push_front({std::string(key), 0, now});
    entry = &entries_.front();
    by_key_.emplace(entry->key, entries_.begin());
  }
  const std::size_t doublings = std::min<std::size_t>(entry->failures++, 10);
  return std::min(kMaxDelay, kFirstDelay * (1 << doublings));
}

}  // namespace danki::submission
