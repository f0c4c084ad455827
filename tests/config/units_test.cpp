#include "config/units.hpp"

#include <gtest/gtest.h>

namespace danki::config {
namespace {

using namespace std::chrono_literals;

TEST(Units, ReadsDurationsOnlyWithTheirUnit) {
  struct Case {
    std::string_view text;
    std::optional<std::chrono::milliseconds> want;
  };
  for (const Case& c : {Case{"250ms", 250ms},
                        Case{"30s", 30s},
                        Case{"5m", 5min},
                        Case{"5min", 5min},
                        Case{"4h", 4h},
                        Case{"3d", 72h},
                        Case{"0s", 0s},
                        Case{"5", std::nullopt},
                        Case{"", std::nullopt},
                        Case{"m", std::nullopt},
                        Case{"5 m", std::nullopt},
                        Case{" 5m", std::nullopt},
                        Case{"5M", std::nullopt},
                        Case{"-5m", std::nullopt},
                        Case{"+5m", std::nullopt},
                        Case{"1.5h", std::nullopt},
                        Case{"1h30m", std::nullopt},
                        Case{"5w", std::nullopt},
                        Case{"36500d", 36500 * 24h},
                        Case{"40000d", std::nullopt},
                        Case{"9223372036854775807d", std::nullopt},
                        Case{"99999999999999999999s", std::nullopt}}) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(parse_duration(c.text), c.want);
  }
}

TEST(Units, ReadsRatesAsCountAndPeriod) {
  struct Case {
    std::string_view text;
    std::optional<delivery::Rate> want;
  };
  for (const Case& c : {Case{"600/min", delivery::Rate{600, 1min}}, Case{"600/m", delivery::Rate{600, 1min}},
                        Case{"50000/h", delivery::Rate{50000, 1h}}, Case{"10/s", delivery::Rate{10, 1s}},
                        Case{"1000/d", delivery::Rate{1000, 24h}}, Case{"0/s", std::nullopt}, Case{"600", std::nullopt},
                        Case{"600/", std::nullopt}, Case{"/s", std::nullopt}, Case{"5/ms", std::nullopt},
                        Case{"600/5min", std::nullopt}, Case{"none", std::nullopt}, Case{"-1/s", std::nullopt}}) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(parse_rate(c.text), c.want);
  }
}

TEST(Units, ReadsSizesInPowersOf1024) {
  struct Case {
    std::string_view text;
    std::optional<std::uint64_t> want;
  };
  for (const Case& c :
       {Case{"1000B", 1000u}, Case{"64KiB", 65536u}, Case{"25MiB", 25u << 20}, Case{"1GiB", 1u << 30},
        Case{"2TiB", 2ull << 40}, Case{"25", std::nullopt}, Case{"25MB", std::nullopt}, Case{"25M", std::nullopt},
        Case{"-1B", std::nullopt}, Case{"9223372036854775807KiB", std::nullopt}}) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(parse_size(c.text), c.want);
  }
}

}  // namespace
}  // namespace danki::config
