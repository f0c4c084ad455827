#pragma once

#include "base/time.hpp"
#include "mta/delivery/options.hpp"

#include <chrono>
#include <optional>

namespace danki::delivery {

/// Spreads events evenly so that a rate is kept: "600/min" is one each 100 ms, not 600 in the first second. A wake-up
/// that comes late is made up for, by at most kBurst of the period and never more than kMaxBurst. So no window of one
/// period sees more than (1 + kBurst) times the count, and one event. Plain code, one thread.
class Pacer {
 public:
  static constexpr double kBurst = 0.01;
  static constexpr std::chrono::microseconds kMaxBurst = std::chrono::seconds(1);

  /// nullopt lifts the limit. What was taken so far still counts against a new rate.
  void set_rate(std::optional<Rate> rate);
  bool is_limited() const { return interval_.has_value(); }
  /// When the next event may happen; `now` or before if it may already.
  SteadyPoint next() const;
  bool may_take(SteadyPoint now) const { return !interval_ || next() <= now; }
  /// One event happens. May be called although may_take() says no (an event that was promised before): the debt delays
  /// the next ones.
  void take(SteadyPoint now);
  /// An event taken did not happen after all.
  void give_back();

 private:
  using Micros = std::chrono::duration<double, std::micro>;
  std::optional<Micros> interval_;
  Micros tolerance_{0};
  Micros full_at_{
      0};  // since the clock's epoch: when the last event's share of time is over (GCRA's theoretical arrival)
};

}  // namespace danki::delivery
