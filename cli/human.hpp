#pragma once

#include "base/time.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Numbers and times as people read them.
namespace danki::cli {

/// In its one or two largest units: "42s", "5m", "3h 12m", "4d 2h". Below a second: "0s".
std::string human_duration(std::chrono::seconds duration);
/// In its largest unit only, for tables: "42s", "5m", "3h", "4d".
std::string short_duration(std::chrono::seconds duration);
/// "2026-11-23 05:49:39 UTC (3h 12m ago)"
std::string full_time(TimePoint when, TimePoint now);
/// "512", "4.0K", "1.5M", "12G": powers of 1024, at most five characters.
std::string short_size(std::uint64_t bytes);
/// "12,345"
std::string grouped(std::uint64_t number);

/// RFC 3339 in UTC, as the API writes it.
std::optional<TimePoint> parse_rfc3339(std::string_view text);

}  // namespace danki::cli
