#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace danki::delivery {

/// Bounds how many octets of contents lie in memory because they were read for sending. First come, first served: who
/// finds no room waits until others give theirs back. One that is larger than the whole budget goes alone.
/// Thread-safe; outlives what it granted.
class ContentBudget {
 public:
  explicit ContentBudget(std::uint64_t limit) : limit_(limit) {}
  ContentBudget(const ContentBudget&) = delete;
  ContentBudget& operator=(const ContentBudget&) = delete;

  /// Room for so many octets, until the last copy is gone.
  using Room = std::shared_ptr<void>;
  using Granted = std::function<void(Room)>;
  /// `granted` is called at once, or later on the thread that gives room back; short callbacks only.
  void ask(std::uint64_t octets, Granted granted);

  std::uint64_t used() const;
  std::size_t waiting() const;

 private:
  struct Waiting {
    std::uint64_t octets;
    Granted granted;
  };
  bool take(std::uint64_t octets);
  Room room(std::uint64_t octets);
  void give_back(std::uint64_t octets);

  const std::uint64_t limit_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
  std::deque<Waiting> waiting_;
};

}  // namespace danki::delivery
