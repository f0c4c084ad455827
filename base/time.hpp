#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace danki {

using Duration = std::chrono::milliseconds;
/// Calendar time in UTC, milliseconds: what is stored and logged.
using TimePoint = std::chrono::time_point<std::chrono::system_clock, Duration>;
/// Steady time, for waits and rates; means nothing after a restart.
using SteadyPoint = std::chrono::time_point<std::chrono::steady_clock, std::chrono::microseconds>;

/// Time is given, not taken: only the daemon's main() makes a real one.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual SteadyPoint steady() const = 0;
};

class SystemClock final : public Clock {
 public:
  TimePoint now() const override;
  SteadyPoint steady() const override;
};

/// RFC 3339 in UTC with milliseconds: 2026-11-23T05:49:39.120Z
std::string to_rfc3339(TimePoint t);
/// RFC 5322 section 3.3 date-time in UTC: Mon, 23 Nov 2026 05:49:39 +0000
std::string to_rfc5322(TimePoint t);
inline std::int64_t to_millis(TimePoint t) {
  return t.time_since_epoch().count();
}
inline TimePoint from_millis(std::int64_t ms) {
  return TimePoint(Duration(ms));
}

}  // namespace danki
