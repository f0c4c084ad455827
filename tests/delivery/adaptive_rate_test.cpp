#include "mta/delivery/adaptive_rate.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {

namespace {

using namespace std::chrono_literals;

constexpr SteadyPoint kStart(1h);

/// Sends evenly for a while; gives the time afterwards.
SteadyPoint send(AdaptiveRate& rate, double per_second, std::chrono::seconds span, SteadyPoint now) {
  const auto step = std::chrono::microseconds(static_cast<std::int64_t>(1e6 / per_second));
  const SteadyPoint end = now + span;
  for (; now < end; now += step) rate.on_sent(now);
  return end;
}

}  // namespace

TEST(AdaptiveRate, WithoutAThrottlingReplyThereIsNoLimit) {
  AdaptiveRate rate;
  const SteadyPoint now = send(rate, 100, 60s, kStart);
  EXPECT_EQ(rate.limit(now), std::nullopt);
}

TEST(AdaptiveRate, TheFirstReplyHalvesWhatWasSent) {
  AdaptiveRate rate;
  const SteadyPoint now = send(rate, 40, 120s, kStart);
  rate.on_throttled(now);
  ASSERT_TRUE(rate.limit(now));
  EXPECT_NEAR(*rate.limit(now), 20, 1);
}

TEST(AdaptiveRate, RepliesOfOneBurstDecreaseOnce) {
  AdaptiveRate rate;
  SteadyPoint now = send(rate, 40, 120s, kStart);
  for (int i = 0; i < 50; ++i) rate.on_throttled(now + i * 100ms);
  EXPECT_NEAR(*rate.limit(now + 5s), 20, 1);
}

TEST(AdaptiveRate, GrowsByEvenStepsWhileCleanAndEnds) {
  AdaptiveRate rate;
  const SteadyPoint now = send(rate, 40, 120s, kStart);
  rate.on_throttled(now);
  EXPECT_NEAR(*rate.limit(now + 10s), 22, 1);
  EXPECT_NEAR(*rate.limit(now + 100s), 40, 1.5);
  EXPECT_EQ(rate.limit(now + 400s), std::nullopt);
}

TEST(AdaptiveRate, SettlesAroundWhatTheReceiverTakes) {
  AdaptiveRate rate;
  SteadyPoint now = send(rate, 50, 60s, kStart);
  rate.on_throttled(now);
  double sum = 0;
  int seconds = 0;
  for (; seconds < 3600; ++seconds) {
    const double allowed = rate.limit(now).value_or(50);
    if (seconds >= 600) sum += std::min(allowed, 50.0);
    now = send(rate, std::min(allowed, 50.0), 1s, now);
    if (allowed > 20) rate.on_throttled(now);  // the receiver's hidden limit
  }
  const double mean = sum / (seconds - 600);
  EXPECT_GT(mean, 11);
  EXPECT_LE(mean, 20);
}

TEST(AdaptiveRate, NeverFallsBelowTheFloor) {
  AdaptiveRate rate;
  SteadyPoint now = send(rate, 1, 60s, kStart);
  for (int i = 0; i < 100; ++i) rate.on_throttled(now += 11s);
  EXPECT_GE(*rate.limit(now), 1.0 / 60);
  EXPECT_LE(*rate.limit(now), 0.1);
}

TEST(AdaptiveRate, OutlivesARestart) {
  AdaptiveRate before;
  const SteadyPoint now = send(before, 40, 120s, kStart);
  before.on_throttled(now);
  AdaptiveRate after;
  after.restore(before.state(), SteadyPoint(1s));
  EXPECT_NEAR(*after.limit(SteadyPoint(1s)), *before.limit(now), 0.01);
  EXPECT_NEAR(*after.limit(SteadyPoint(11s)), *before.limit(now + 10s), 0.01);
}

}  // namespace danki::delivery
