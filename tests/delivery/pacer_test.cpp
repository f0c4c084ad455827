#include "mta/delivery/pacer.hpp"

#include "base/random.hpp"

#include <deque>
#include <vector>

#include <gtest/gtest.h>

namespace danki::delivery {

namespace {

using namespace std::chrono_literals;

constexpr SteadyPoint kStart(1h);

/// The most events in any window of this length.
std::size_t busiest(const std::vector<SteadyPoint>& events, std::chrono::microseconds window) {
  std::size_t most = 0, first = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    while (events[i] - events[first] > window) ++first;
    most = std::max(most, i - first + 1);
  }
  return most;
}

/// Takes whenever it may, woken each `tick` at most `late` too late.
std::vector<SteadyPoint> taken(Pacer& pacer, std::chrono::microseconds span, std::chrono::microseconds late) {
  SeededRandom random(1);
  std::vector<SteadyPoint> events;
  SteadyPoint now = kStart;
  while (now - kStart < span) {
    while (pacer.may_take(now)) {
      pacer.take(now);
      events.push_back(now);
    }
    now = std::max(now, pacer.next()) +
          std::chrono::microseconds(random.between(0, static_cast<std::uint64_t>(late.count())));
  }
  return events;
}

}  // namespace

TEST(Pacer, NoWindowExceedsTheRateByMoreThanAHundredth) {
  for (auto late : {0us, 1000us, 50000us, 2000000us}) {
    Pacer pacer;
    pacer.set_rate(Rate{600, 1min});
    EXPECT_LE(busiest(taken(pacer, 10min, late), 60s - 1us), 606u) << late.count();
  }
}

TEST(Pacer, ALateWakeUpIsMadeUpFor) {
  Pacer pacer;
  pacer.set_rate(Rate{600, 1min});
  EXPECT_GE(taken(pacer, 10min, 500ms).size(), 5990u);
}

TEST(Pacer, EventsAreSpreadNotBunched) {
  Pacer pacer;
  pacer.set_rate(Rate{600, 1min});
  EXPECT_LE(busiest(taken(pacer, 1min, 0us), 1s), 17u);  // 10, what may be made up for, and one
}

TEST(Pacer, IdleTimeIsNotSavedUp) {
  Pacer pacer;
  pacer.set_rate(Rate{60, 1min});
  pacer.take(kStart);
  const SteadyPoint later = kStart + 1h;
  int burst = 0;
  for (; pacer.may_take(later); ++burst) pacer.take(later);
  EXPECT_EQ(burst, 1);
}

TEST(Pacer, WhatWasTakenCountsAgainstANewRate) {
  Pacer pacer;
  pacer.set_rate(Rate{1, 1min});
  pacer.take(kStart);
  pacer.set_rate(Rate{60, 1min});
  EXPECT_GT(pacer.next(), kStart + 50s);
}

TEST(Pacer, WhatIsGivenBackMayBeTakenAgain) {
  Pacer pacer;
  pacer.set_rate(Rate{1, 1min});
  pacer.take(kStart);
  EXPECT_FALSE(pacer.may_take(kStart));
  pacer.give_back();
  EXPECT_TRUE(pacer.may_take(kStart));
}

TEST(Pacer, WithoutARateThereIsNoLimit) {
  Pacer pacer;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(pacer.may_take(kStart));
    pacer.take(kStart);
  }
  pacer.set_rate(Rate{1, 1h});
  pacer.take(kStart);
  pacer.set_rate(std::nullopt);
  EXPECT_TRUE(pacer.may_take(kStart));
}

}  // namespace danki::delivery
