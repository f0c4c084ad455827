#include "mta/delivery/content_budget.hpp"

#include <utility>
#include <vector>

namespace danki::delivery {

/// With the lock held.
bool ContentBudget::take(std::uint64_t octets) {
  if (used_ > 0 && used_ + octets > limit_) return false;
  used_ += octets;
  return true;
}

ContentBudget::Room ContentBudget::room(std::uint64_t octets) {
  return {nullptr, [this, octets](void*) { give_back(octets); }};
}

void ContentBudget::ask(std::uint64_t octets, Granted granted) {
  {
    std::lock_guard lock(mutex_);
    if (!waiting_.empty() || !take(octets)) {
      waiting_.push_back({octets, std::move(granted)});
      return;
    }
  }
  granted(room(octets));
}

void ContentBudget::give_back(std::uint64_t octets) {
  std::vector<Waiting> next;
  {
    std::lock_guard lock(mutex_);
    used_ -= octets;
    while (!waiting_.empty() && take(waiting_.front().octets)) {
      next.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  for (Waiting& one : next) one.granted(room(one.octets));
}

std::uint64_t ContentBudget::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

std::size_t ContentBudget::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

}  // namespace danki::delivery
