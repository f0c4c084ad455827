#pragma once

#include "base/time.hpp"

#include <chrono>

namespace danki::fakes {

/// Time that stands still until a test moves it. Begins on 2026-11-23T05:49:39.120Z. One thread.
class FakeClock final : public Clock {
 public:
  FakeClock() = default;
  explicit FakeClock(TimePoint now) : now_(now) {}

  TimePoint now() const override { return now_; }
  SteadyPoint steady() const override { return steady_; }

  /// Both kinds of time go on, by the milliseconds in `by`.
  void advance(Duration by) {
    now_ += by;
    steady_ += by;
  }
  /// What an operator or NTP does to the calendar: steady time does not see it.
  void set_calendar(TimePoint now) { now_ = now; }

 private:
  TimePoint now_ = from_millis(1'795'412'979'120);
  SteadyPoint steady_{std::chrono::hours(1)};
};

}  // namespace danki::fakes
