#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace danki::submission {

/// How many sessions there are, in all and by client address. Thread-safe; bounded by the limit on sessions.
class Admission {
 public:
  /// A place under both limits; given back when it goes.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept
        : admission_(std::exchange(other.admission_, nullptr)), client_(std::move(other.client_)) {}
    Place& operator=(Place&& other) noexcept;
    ~Place() { leave(); }
    explicit operator bool() const { return admission_ != nullptr; }

   private:
    friend class Admission;
    Place(Admission* admission, std::string client) : admission_(admission), client_(std::move(client)) {}
    void leave();

    Admission* admission_ = nullptr;
    std::string client_;
  };

  /// An empty place when a limit is reached.
  Place enter(const std::string& client, std::size_t max_sessions, std::size_t max_per_client);
  std::size_t sessions() const;

 private:
  void leave(const std::string& client);

  mutable std::mutex mutex_;
  std::size_t sessions_ = 0;
  std::unordered_map<std::string, std::size_t> by_client_;
};

}  // namespace danki::submission
