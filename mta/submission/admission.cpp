#include "mta/submission/admission.hpp"

namespace danki::submission {

Admission::Place& Admission::Place::operator=(Place&& other) noexcept {
  if (this == &other) return *this;
  leave();
  admission_ = std::exchange(other.admission_, nullptr);
  client_ = std::move(other.client_);
  return *this;
}

void Admission::Place::leave() {
  if (admission_ != nullptr) std::exchange(admission_, nullptr)->leave(client_);
}

Admission::Place Admission::enter(const std::string& client, std::size_t max_sessions, std::size_t max_per_client) {
  std::lock_guard lock(mutex_);
  if (sessions_ >= max_sessions) return {};
  std::size_t& of_client = by_client_[client];
  if (of_client >= max_per_client) {
    if (of_client == 0) by_client_.erase(client);
    return {};
  }
  ++of_client;
  ++sessions_;
  return Place(this, client);
}

void Admission::leave(const std::string& client) {
  std::lock_guard lock(mutex_);
  --sessions_;
  const auto entry = by_client_.find(client);
  if (entry != by_client_.end() && --entry->second == 0) by_client_.erase(entry);
}

std::size_t Admission::sessions() const {
  std::lock_guard lock(mutex_);
  return sessions_;
}

}  // namespace danki::submission
