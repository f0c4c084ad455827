#include "base/time.hpp"

#include "tests/fakes/clock.hpp"

#include <gtest/gtest.h>

namespace danki {
namespace {

using namespace std::chrono_literals;

TEST(Time, WritesBothCalendarFormats) {
  struct Case {
    std::int64_t millis;
    std::string_view rfc3339, rfc5322;
  };
  for (const Case& c : {Case{0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 +0000"},
                        Case{1'795'412'979'120, "2026-11-23T05:49:39.120Z", "Mon, 23 Nov 2026 05:49:39 +0000"},
                        Case{1'709'251'199'999, "2024-02-29T23:59:59.999Z", "Thu, 29 Feb 2024 23:59:59 +0000"},
                        Case{-1, "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 +0000"}}) {
    SCOPED_TRACE(c.rfc3339);
    EXPECT_EQ(to_rfc3339(from_millis(c.millis)), c.rfc3339);
    EXPECT_EQ(to_rfc5322(from_millis(c.millis)), c.rfc5322);
    EXPECT_EQ(to_millis(from_millis(c.millis)), c.millis);
  }
}

TEST(Time, SystemClockGoesForward) {
  const SystemClock clock;
  EXPECT_GT(clock.now(), from_millis(1'600'000'000'000));
  const SteadyPoint before = clock.steady();
  EXPECT_GE(clock.steady(), before);
}

TEST(Time, FakeClockMovesOnlyWhenTold) {
  fakes::FakeClock clock;
  const TimePoint begin = clock.now();
  const SteadyPoint steady_begin = clock.steady();
  EXPECT_EQ(clock.now(), begin);
  clock.advance(30min);
  EXPECT_EQ(clock.now() - begin, 30min);
  EXPECT_EQ(clock.steady() - steady_begin, 30min);
  clock.set_calendar(begin);
  EXPECT_EQ(clock.steady() - steady_begin, 30min);
}

}  // namespace
}  // namespace danki
