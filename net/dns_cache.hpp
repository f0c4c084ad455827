#pragma once

#include "base/time.hpp"
#include "net/dns.hpp"

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace danki::net {

/// Answers by question for as long as their TTL allows, the least recently used going first. Thread-safe, so that what
/// is known costs no trip to the resolver's thread.
class DnsCache {
 public:
  DnsCache(std::size_t max_entries, std::size_t max_bytes, const Clock& clock);

  /// A copy with the seconds that are left in `ttl`.
  std::optional<DnsAnswer> find(const std::string& key);
  /// Keeps `answer` for its `ttl`; not at all if that is zero or the answer is larger than the whole cache.
  void put(const std::string& key, DnsAnswer answer);
  std::size_t size() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const DnsAnswer> answer;  // shared with those copying it while it is displaced
    SteadyPoint expires_at;
    std::size_t bytes;
  };
  using Entries = std::list<Entry>;  ///< most recently used first

  void drop(Entries::iterator entry);

  const std::size_t max_entries_, max_bytes_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::unordered_map<std::string_view, Entries::iterator> by_key_;  ///< views of the entries' keys
  std::size_t bytes_ = 0;
};

}  // namespace danki::net
