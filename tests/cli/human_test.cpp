#include "cli/human.hpp"

#include <gtest/gtest.h>

namespace danki::cli {
namespace {

using std::chrono::seconds;
constexpr TimePoint kNow{Duration(1'795'412'979'120)};

TEST(HumanDuration, UsesTheLargestUnits) {
  struct Case {
    std::int64_t seconds;
    std::string_view human, brief;
  };
  for (const Case& c :
       {Case{-5, "0s", "0s"}, Case{0, "0s", "0s"}, Case{59, "59s", "59s"}, Case{60, "1m", "1m"},
        Case{125, "2m 5s", "2m"}, Case{3600, "1h", "1h"}, Case{3605, "1h", "1h"}, Case{11'520, "3h 12m", "3h"},
        Case{86'400 * 4 + 7'300, "4d 2h", "4d"}, Case{86'400 * 400, "400d", "400d"}}) {
    EXPECT_EQ(human_duration(seconds(c.seconds)), c.human);
    EXPECT_EQ(short_duration(seconds(c.seconds)), c.brief);
  }
}

TEST(Times, AreRelativeAndAbsolute) {
  EXPECT_EQ(full_time(kNow - seconds(11'520), kNow), "2026-11-23 02:37:39 UTC (3h 12m ago)");
  EXPECT_EQ(full_time(kNow + seconds(300), kNow), "2026-11-23 05:54:39 UTC (in 5m)");
  EXPECT_EQ(full_time(kNow, kNow), "2026-11-23 05:49:39 UTC (now)");
}

TEST(ShortSize, TakesAtMostFiveColumns) {
  struct Case {
    std::uint64_t bytes;
    std::string_view want;
  };
  for (const Case& c : {Case{0, "0"}, Case{1023, "1023"}, Case{1024, "1.0K"}, Case{4096, "4.0K"}, Case{10'189, "10K"},
                        Case{102'400, "100K"}, Case{1'023'999, "1.0M"}, Case{26'214'400, "25M"},
                        Case{1ull << 40, "1.0T"}, Case{~0ull, "16E"}}) {
    EXPECT_EQ(short_size(c.bytes), c.want) << c.bytes;
  }
}

TEST(Grouped, SetsThousandsApart) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(12'345'678), "12,345,678");
}

TEST(ParseRfc3339, ReadsWhatTheApiWrites) {
  EXPECT_EQ(parse_rfc3339(to_rfc3339(kNow)), kNow);
  EXPECT_EQ(parse_rfc3339(to_rfc3339(TimePoint{})), TimePoint{});
  for (const char* wrong :
       {"", "2026-11-23", "2026-11-23T05:49:39Z", "2026-13-23T05:49:39.120Z", "2026-11-23T05:49:39.120+"}) {
    EXPECT_FALSE(parse_rfc3339(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace danki::cli
