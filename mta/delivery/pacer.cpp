#include "mta/delivery/pacer.hpp"

#include <algorithm>
#include <cmath>

namespace danki::delivery {

void Pacer::set_rate(std::optional<Rate> rate) {
  if (!rate || rate->count <= 0) {
    interval_.reset();
    return;
  }
  const Micros period = rate->per;
  interval_ = period / rate->count;
  tolerance_ = std::min<Micros>(period * kBurst, kMaxBurst);
}

SteadyPoint Pacer::next() const {
  if (!interval_) return SteadyPoint{};
  const double at = std::max(0.0, (full_at_ - tolerance_).count());
  return SteadyPoint(std::chrono::microseconds(static_cast<std::int64_t>(std::ceil(at))));
}

void Pacer::take(SteadyPoint now) {
  if (!interval_) return;
  full_at_ = std::max<Micros>(full_at_, now.time_since_epoch()) + *interval_;
}

void Pacer::give_back() {
  if (interval_) full_at_ -= *interval_;
}

}  // namespace danki::delivery
