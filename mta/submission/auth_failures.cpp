#include "mta/submission/auth_failures.hpp"

#include <algorithm>

namespace danki::submission {

AuthFailures::Entry* AuthFailures::find(std::string_view client, SteadyPoint now) {
  const auto found = by_client_.find(client);
  if (found == by_client_.end()) return nullptr;
  const auto entry = found->second;
  if (now - entry->since >= kWindow) {
    by_client_.erase(found);
    entries_.erase(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return &*entry;
}

std::size_t AuthFailures::count(std::string_view client, SteadyPoint now) {
  std::lock_guard lock(mutex_);
  const Entry* entry = find(client, now);
  return entry != nullptr ? entry->failures : 0;
}

Duration AuthFailures::add(std::string_view client, SteadyPoint now) {
  std::lock_guard lock(mutex_);
  Entry* entry = find(client, now);
  if (entry == nullptr) {
    if (entries_.size() >= kMaxClients) {
      by_client_.erase(entries_.back().client);
      entries_.pop_back();
    }
    entries_.push_front({std::string(client), 0, now});
    entry = &entries_.front();
    by_client_.emplace(entry->client, entries_.begin());
  }
  const std::size_t doublings = std::min<std::size_t>(entry->failures++, 10);
  return std::min(kMaxDelay, kFirstDelay * (1 << doublings));
}

}  // namespace danki::submission
