#include "net/dns_cache.hpp"

namespace danki::net {
namespace {

constexpr std::size_t kEntryOverheadBytes = 160;  // list node, map node, control block

std::size_t bytes_of(const std::string& key, const DnsAnswer& answer) {
  std::size_t bytes = kEntryOverheadBytes + key.size() + sizeof answer + answer.error.size();
  for (const DnsRecord& r : answer.records) bytes += sizeof r + r.owner.size() + r.text.size() + r.raw.size();
  return bytes;
}

}  // namespace

DnsCache::DnsCache(std::size_t max_entries, std::size_t max_bytes, const Clock& clock)
    : max_entries_(max_entries), max_bytes_(max_bytes), clock_(clock) {}

std::optional<DnsAnswer> DnsCache::find(const std::string& key) {
  std::shared_ptr<const DnsAnswer> answer;
  std::uint32_t left = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return std::nullopt;
    const auto entry = found->second;
    const auto remaining = entry->expires_at - clock_.steady();
    if (remaining <= remaining.zero()) {
      drop(entry);
      return std::nullopt;
    }
    entries_.splice(entries_.begin(), entries_, entry);
    answer = entry->answer;
    left = static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::seconds>(remaining).count());
  }
  DnsAnswer copy = *answer;
  copy.ttl = left;
  return copy;
}

void DnsCache::put(const std::string& key, DnsAnswer answer) {
  const std::size_t bytes = bytes_of(key, answer);
  const std::lock_guard lock(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) drop(found->second);
  if (answer.ttl == 0 || bytes > max_bytes_ || max_entries_ == 0) return;
  const auto expires_at = clock_.steady() + std::chrono::seconds(answer.ttl);
  entries_.push_front({key, std::make_shared<const DnsAnswer>(std::move(answer)), expires_at, bytes});
  by_key_.emplace(entries_.front().key, entries_.begin());
  bytes_ += bytes;
  while (entries_.size() > max_entries_ || bytes_ > max_bytes_) drop(std::prev(entries_.end()));
}

std::size_t DnsCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

void DnsCache::drop(Entries::iterator entry) {
  bytes_ -= entry->bytes;
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

}  // namespace danki::net
