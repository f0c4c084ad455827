#pragma once

#include "base/time.hpp"

#include <optional>
#include <string_view>

namespace danki::submission {

inline constexpr std::chrono::hours kMaxMoment{24 * 366};  ///< a year ahead: later is a mistake

/// What X-Danki-Send-After and X-Danki-Expire-After say: a duration after `from` ("90s", "5m", "12h", "3d") or a
/// date-time of RFC 3339 ("2026-11-23T14:00:00+09:00"). Empty if it is neither, or later than kMaxMoment after `from`.
std::optional<TimePoint> parse_moment(std::string_view text, TimePoint from);

/// RFC 3339 section 5.6, with the offset required; fractions of a second beyond milliseconds are cut.
std::optional<TimePoint> parse_rfc3339(std::string_view text);

}  // namespace danki::submission
