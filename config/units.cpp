#include "config/units.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace danki::config {

namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array kDurations = {Unit{"ms", 1},       Unit{"s", 1000},      Unit{"m", 60'000},
                                   Unit{"min", 60'000}, Unit{"h", 3'600'000}, Unit{"d", 86'400'000}};
constexpr std::array kSizes = {Unit{"B", 1}, Unit{"KiB", 1ll << 10}, Unit{"MiB", 1ll << 20}, Unit{"GiB", 1ll << 30},
                               Unit{"TiB", 1ll << 40}};

/// A whole number and what follows it.
std::optional<std::pair<std::int64_t, std::string_view>> split_number(std::string_view text) {
  std::int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  return std::pair(number, std::string_view(end, static_cast<std::size_t>(text.data() + text.size() - end)));
}

template <std::size_t N>
std::optional<std::int64_t> with_unit(std::string_view text, const std::array<Unit, N>& units) {
  auto split = split_number(text);
  if (!split) return std::nullopt;
  for (const Unit& unit : units) {
    if (split->second != unit.name) continue;
    if (split->first > std::numeric_limits<std::int64_t>::max() / unit.factor) return std::nullopt;
    return split->first * unit.factor;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  auto value = with_unit(text, kDurations);
  // A century is no setting; beyond it sums with today's date would overflow.
  if (!value || *value > 100ll * 366 * 86'400'000) return std::nullopt;
  return std::chrono::milliseconds(*value);
}

std::optional<delivery::Rate> parse_rate(std::string_view text) {
  auto split = split_number(text);
  if (!split || split->first == 0 || !split->second.starts_with('/')) return std::nullopt;
  std::string_view unit = split->second.substr(1);
  if (unit == "ms") return std::nullopt;
  for (const Unit& known : kDurations) {
    if (unit == known.name)
      return delivery::Rate{static_cast<double>(split->first), std::chrono::milliseconds(known.factor)};
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  auto value = with_unit(text, kSizes);
  if (!value) return std::nullopt;
  return static_cast<std::uint64_t>(*value);
}

}  // namespace danki::config
