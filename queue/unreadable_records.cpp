#include "queue/unreadable_records.hpp"

#include "base/log.hpp"
#include "queue/records.hpp"

namespace danki::queue {

void UnreadableRecords::note(std::string_view key, const Error& error) {
  {
    const std::scoped_lock lock(mutex_);
    if (keys_.size() >= kMostNamed || !keys_.emplace(key).second) return;
    count_ = keys_.size();
  }
  const auto id = id_of_due_key(key);
  log::error("a due record cannot be read", {{"id", id ? id->to_string() : ""},
                                             {"domain", key.substr(0, key.find('\0'))},
                                             {"error", error.message()},
                                             {"action", "passed over, kept on disk"}});
}

}  // namespace danki::queue
