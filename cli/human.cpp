#include "cli/human.hpp"

#include <array>
#include <charconv>

#include <fmt/format.h>

namespace danki::cli {
namespace {

struct Unit {
  std::int64_t seconds;
  char letter;
};
constexpr std::array<Unit, 4> kUnits = {{{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};

std::string in_units(std::chrono::seconds duration, int most) {
  std::int64_t left = std::max<std::int64_t>(duration.count(), 0);
  std::string text;
  for (std::size_t i = 0; i < kUnits.size() && most > 0; ++i) {
    const std::int64_t count = left / kUnits[i].seconds;
    if (count == 0) {
      if (!text.empty()) break;  // "3h", not "3h 12s"
      continue;
    }
    text += fmt::format("{}{}{}", text.empty() ? "" : " ", count, kUnits[i].letter);
    left %= kUnits[i].seconds;
    --most;
  }
  return text.empty() ? "0s" : text;
}

}  // namespace

std::string human_duration(std::chrono::seconds duration) {
  return in_units(duration, 2);
}

std::string short_duration(std::chrono::seconds duration) {
  return in_units(duration, 1);
}

std::string full_time(TimePoint when, TimePoint now) {
  const std::string stamp = to_rfc3339(when);
  const auto distance = std::chrono::duration_cast<std::chrono::seconds>(when - now);
  const std::string relative = distance.count() == 0  ? "now"
                               : distance.count() > 0 ? "in " + human_duration(distance)
                                                      : human_duration(-distance) + " ago";
  return fmt::format("{} {} UTC ({})", stamp.substr(0, 10), stamp.substr(11, 8), relative);
}

std::string short_size(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes);
  double size = static_cast<double>(bytes);
  std::size_t unit = 0;
  constexpr std::string_view kLetters = "KMGTPE";
  for (size /= 1024; size >= 999.5 && unit + 1 < kLetters.size(); size /= 1024) ++unit;
  return fmt::format("{:.{}f}{}", size, size < 9.95 ? 1 : 0, kLetters[unit]);
}

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

std::optional<TimePoint> parse_rfc3339(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:dd.dddZ";
  if (text.size() != kShape.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (kShape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != kShape[i]) return std::nullopt;
  }
  const auto number = [&](std::size_t offset, std::size_t digits) {
    int value = 0;
    for (const char c : text.substr(offset, digits)) value = value * 10 + (c - '0');
    return value;
  };
  const std::chrono::year_month_day date{std::chrono::year(number(0, 4)),
                                         std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                         std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  if (!date.ok()) return std::nullopt;
  return TimePoint(std::chrono::sys_days(date) + std::chrono::hours(number(11, 2)) +
                   std::chrono::minutes(number(14, 2)) + std::chrono::seconds(number(17, 2)) + Duration(number(20, 3)));
}

}  // namespace danki::cli
