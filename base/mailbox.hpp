#pragma once

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace danki {

/// Many producers, one consumer, taken in batches. push() says whether the box was empty, so only then need the
/// consumer be woken; a busy pair exchanges batches without a wake-up each. Bounds are the owner's: it knows what may
/// be refused.
template <class T>
class Mailbox {
 public:
  /// True when the box was empty: the caller wakes the consumer.
  bool push(T item) {
    std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    return items_.size() == 1;
  }

  /// Everything pushed so far, in order. `into` is cleared first; its capacity is reused.
  void take_all(std::vector<T>& into) {
    into.clear();
    std::lock_guard lock(mutex_);
    items_.swap(into);
  }

  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<T> items_;
};

}  // namespace danki
