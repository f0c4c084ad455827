#include "mta/delivery/retry_schedule.hpp"

#include <algorithm>
#include <string_view>

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using std::chrono::seconds;

const std::vector<seconds> kSteps{seconds(30), seconds(60), seconds(3600)};
constexpr TimePoint kNow{Duration(1'700'000'000'000)};

struct Range {
  Duration least, most;
};

/// What a thousand retries make of it.
Range spread_of(unsigned attempts, std::optional<seconds> stated = std::nullopt) {
  SeededRandom random(7);
  Range range{Duration::max(), Duration::min()};
  for (int i = 0; i < 1000; ++i) {
    const Duration delay = next_attempt_at(kNow, attempts, kSteps, random, stated) - kNow;
    range.least = std::min(range.least, delay);
    range.most = std::max(range.most, delay);
  }
  return range;
}

TEST(NextAttemptAt, TakesTheStepsInTurnAndRepeatsTheLast) {
  struct Case {
    unsigned attempts;
    seconds step;
  };
  for (const Case& c : {Case{1, kSteps[0]}, Case{2, kSteps[1]}, Case{3, kSteps[2]}, Case{4, kSteps[2]},
                        Case{1000, kSteps[2]}, Case{0, kSteps[0]}}) {
    SCOPED_TRACE(c.attempts);
    const Range range = spread_of(c.attempts);
    EXPECT_GE(range.least, Duration(c.step) * 9 / 10);
    EXPECT_LE(range.most, Duration(c.step) * 11 / 10);
    EXPECT_LT(range.least, Duration(c.step) * 92 / 100);  // the jitter is there, both ways
    EXPECT_GT(range.most, Duration(c.step) * 108 / 100);
  }
}

TEST(NextAttemptAt, StatedTimeOverridesOnlyAShorterStep) {
  const Range longer = spread_of(1, seconds(300));
  EXPECT_GE(longer.least, Duration(seconds(300)));  // never before the stated time
  EXPECT_LE(longer.most, Duration(seconds(330)));
  const Range shorter = spread_of(3, seconds(300));
  EXPECT_GE(shorter.least, Duration(seconds(3240)));
  const Range close = spread_of(2, seconds(60));  // half of the jittered steps would be too early
  EXPECT_GE(close.least, Duration(seconds(60)));
  EXPECT_LE(close.most, Duration(seconds(66)));
}

TEST(NextAttemptAt, RepeatsFromItsSeed) {
  SeededRandom a(3), b(3);
  EXPECT_EQ(next_attempt_at(kNow, 1, kSteps, a), next_attempt_at(kNow, 1, kSteps, b));
}

TEST(StatedRetryAfter, ReadsTimesThatAskForAnotherTry) {
  struct Case {
    std::string_view text;
    std::optional<int> want;
  };
  for (const Case& c : {
           Case{"try again in 300 seconds", 300},
           Case{"Recipient address rejected: Greylisted, please try again in 900 seconds", 900},
           Case{"Sender address rejected: Greylisted for 42 sec.", 42},
           Case{"Greylisting in action, please come back in 00:04:59", 299},
           Case{"come back in 04:59", 299},
           Case{"Please retry after 5 minutes", 300},
           Case{"retry after 5 minutes 30 seconds.", 330},
           Case{"retry in 1 hour and 5 min", 3900},
           Case{"Rate limited (retry=300s)", 300},
           Case{"wait at least 2 min before sending more", 120},
           Case{"Try again in 1h", 3600},
           Case{"first line\nRETRY AFTER 10 MINUTES", 600},
           Case{"try again in 60 seconds, or retry after 2 minutes", 120},
           Case{"try again later", std::nullopt},
           Case{"Greylisted, see http://example.org/300/seconds.html", std::nullopt},
           Case{"try again, 100 messages per 60 seconds are allowed", std::nullopt},
           Case{"limit of 20 in 10 minutes exceeded, try again later", std::nullopt},
           Case{"try again in 5", std::nullopt},    // of what?
           Case{"try again in 5 m", std::nullopt},  // minutes or months
           Case{"try again in 0 seconds", std::nullopt},
           Case{"try again in 2 days", std::nullopt},
           Case{"try again in 90000 seconds", std::nullopt},  // more than a day
           Case{"try again in 99999999999999999999 seconds", std::nullopt},
           Case{"retry 4.7.1 seconds", std::nullopt},
           Case{"come back in 00:61:00", std::nullopt},
           Case{"come back in ::::", std::nullopt},
           Case{"again again again", std::nullopt},
           Case{"", std::nullopt},
       }) {
    SCOPED_TRACE(c.text);
    const mail::Reply reply{.code = 451, .enhanced = {}, .text = std::string(c.text)};
    const auto stated = stated_retry_after(reply);
    EXPECT_EQ(stated.has_value(), c.want.has_value());
    if (stated && c.want) {
      EXPECT_EQ(stated->count(), *c.want);
    }
  }
}

TEST(StatedRetryAfter, ListensOnlyToTransientReplies) {
  EXPECT_FALSE(stated_retry_after({.code = 550, .enhanced = {}, .text = "try again in 300 seconds"}));
  EXPECT_FALSE(stated_retry_after({.code = 250, .enhanced = {}, .text = "try again in 300 seconds"}));
}

}  // namespace
}  // namespace danki::delivery
