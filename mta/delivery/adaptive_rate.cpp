#include "mta/delivery/adaptive_rate.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace danki::delivery {

namespace {

double seconds(std::chrono::microseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

double AdaptiveRate::measured(SteadyPoint now) const {
  const double half_life = seconds(kMeasuredOver);
  const double decay = std::exp2(-seconds(now - weighed_at_) / half_life);
  return weight_ * decay * std::numbers::ln2 / half_life;  // a steady rate r weighs r * half_life / ln 2
}

void AdaptiveRate::on_sent(SteadyPoint now) {
  weight_ = weight_ * std::exp2(-seconds(now - weighed_at_) / seconds(kMeasuredOver)) + 1;
  weighed_at_ = now;
}

void AdaptiveRate::on_throttled(SteadyPoint now) {
  if (limited_ && now - decreased_at_ < options_.hold) return;
  const double sent = measured(now);
  if (!limited_) {
    target_ = std::max(sent, options_.floor);
    rate_ = target_;
  }
  // What was not even used cannot have been too much: the decrease is from what was sent.
  rate_ = std::max(options_.floor, std::min(rate_, std::max(sent, options_.floor)) * options_.decrease);
  step_ = std::max(options_.floor, target_ * options_.increase);
  limited_ = true;
  decreased_at_ = now;
  increased_at_ = now;
}

std::optional<double> AdaptiveRate::limit(SteadyPoint now) {
  if (!limited_) return std::nullopt;
  const auto steps = (now - increased_at_) / options_.increase_every;
  if (steps > 0) {
    increased_at_ += steps * options_.increase_every;
    rate_ += static_cast<double>(steps) * step_;
    if (rate_ >= options_.ends_at * target_) limited_ = false;
  }
  return limited_ ? std::optional(rate_) : std::nullopt;
}

void AdaptiveRate::restore(const State& state, SteadyPoint now) {
  limited_ = state.limit > 0;
  rate_ = state.limit;
  target_ = std::max(state.target, options_.floor);
  step_ = std::max(options_.floor, target_ * options_.increase);
  decreased_at_ = now;
  increased_at_ = now;
}

}  // namespace danki::delivery
