#include "config/table_reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace danki::config {

std::string place(const toml::source_region& source) {
  std::string file = source.path ? *source.path : std::string("danki.toml");
  return fmt::format("{}:{}:{}", file, source.begin.line, source.begin.column);
}

namespace {

constexpr std::chrono::seconds kShortestStep{1};
constexpr std::chrono::seconds kLongestStep{30 * 24 * 3600};

template <std::size_t N>
std::string in_largest_unit(std::uint64_t value, const std::pair<std::uint64_t, const char*> (&units)[N]) {
  for (const auto& [factor, name] : units) {
    if (value >= factor && value % factor == 0) return fmt::format("{}{}", value / factor, name);
  }
  return fmt::format("{}{}", value, units[N - 1].second);
}

std::string duration_text(std::chrono::milliseconds value) {
  return in_largest_unit(static_cast<std::uint64_t>(value.count()),
                         {{86'400'000, "d"}, {3'600'000, "h"}, {60'000, "m"}, {1000, "s"}, {1, "ms"}});
}

std::string size_text(std::uint64_t value) {
  return in_largest_unit(
      value, {{1ull << 40, "TiB"}, {1ull << 30, "GiB"}, {1ull << 20, "MiB"}, {1ull << 10, "KiB"}, {1, "B"}});
}

}  // namespace

TableReader::TableReader(const toml::table& table, std::string path, Problems& problems,
                         std::vector<std::string>& warnings)
    : table_(table),
      path_(std::move(path)),
      problems_(problems),
      problems_before_(problems.lines.size()),
      warnings_(warnings) {}

std::string TableReader::where() const {
  return place(table_.source());
}

std::string TableReader::where(std::string_view key) const {
  const toml::node* node = table_.get(key);
  return node ? place(node->source()) : where();
}

std::string TableReader::name(std::string_view key) const {
  return key.empty() ? path_ : fmt::format("{}.{}", path_, key);
}

void TableReader::problem(std::string_view key, const std::string& what) {
  problem_at(where(key), key, what);
}

void TableReader::problem_at(const std::string& where, std::string_view key, const std::string& what) {
  problems_.lines.push_back(fmt::format("{}: {}: {}", where, name(key), what));
}

void TableReader::warn(std::string_view key, const std::string& what) {
  warnings_.push_back(fmt::format("{}: {}: {}", where(key), name(key), what));
}

void TableReader::no_effect_yet(std::string_view key, std::string_view instead) {
  if (has(key)) warn(key, fmt::format("has no effect yet{}{}", instead.empty() ? "" : "; ", instead));
}

bool TableReader::has(std::string_view key) {
  return take(key) != nullptr;
}

const toml::node* TableReader::take(std::string_view key) {
  asked_.emplace(key);
  return table_.get(key);
}

template <class T>
std::optional<T> TableReader::value(std::string_view key, std::string_view kind) {
  const toml::node* node = take(key);
  if (!node) return std::nullopt;
  if (auto found = node->value_exact<T>()) return *found;
  problem(key, fmt::format("must be {}", kind));
  return std::nullopt;
}

std::string TableReader::text(std::string_view key, std::string fallback) {
  return value<std::string>(key, "a string").value_or(std::move(fallback));
}

std::string TableReader::required_text(std::string_view key) {
  if (!has(key)) {
    problem(key, "is missing; a string is required");
    return {};
  }
  auto found = value<std::string>(key, "a string");
  if (found && found->empty()) problem(key, "must not be empty");
  return found.value_or(std::string());
}

bool TableReader::flag(std::string_view key, bool fallback) {
  return value<bool>(key, "true or false").value_or(fallback);
}

std::int64_t TableReader::number(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  auto found = value<std::int64_t>(key, "a whole number");
  if (!found) return fallback;
  if (*found < low || *found > high) {
    problem(key, fmt::format("{} is out of range; allowed are {} to {}", *found, low, high));
    return fallback;
  }
  return *found;
}

double TableReader::real(std::string_view key, double fallback, double low, double high) {
  const toml::node* node = take(key);
  if (!node) return fallback;
  auto found = node->is_number() ? node->value<double>() : std::nullopt;
  if (!found || !(*found >= low && *found <= high)) {  // so written, nan is refused too
    problem(key, fmt::format("must be a number from {} to {}", low, high));
    return fallback;
  }
  return *found;
}

std::chrono::milliseconds TableReader::duration(std::string_view key, std::chrono::milliseconds fallback,
                                                std::chrono::milliseconds low, std::chrono::milliseconds high) {
  auto written = value<std::string>(key, "a duration like \"30s\", \"5m\", \"4h\" or \"3d\"");
  if (!written) return fallback;
  auto found = parse_duration(*written);
  if (!found) {
    problem(key, fmt::format("\"{}\" is no duration; write a number and ms, s, m, h or d, like \"5m\"", *written));
    return fallback;
  }
  if (*found < low || *found > high) {
    problem(key, fmt::format("\"{}\" is out of range; allowed are \"{}\" to \"{}\"", *written, duration_text(low),
                             duration_text(high)));
    return fallback;
  }
  return *found;
}

std::vector<std::chrono::seconds> TableReader::durations(std::string_view key,
                                                         std::vector<std::chrono::seconds> fallback) {
  if (!has(key)) return fallback;
  std::vector<std::chrono::seconds> found;
  std::size_t before = problems_.lines.size();
  for (const auto& [written, where] : placed_texts(key)) {
    auto step = parse_duration(written);
    if (step && *step >= kShortestStep && *step <= kLongestStep) {
      found.push_back(std::chrono::duration_cast<std::chrono::seconds>(*step));
    } else {
      problem_at(
          where, key,
          fmt::format("\"{}\" is no duration from \"1s\" to \"30d\"; write a number and s, m, h or d, like \"5m\"",
                      written));
    }
  }
  if (problems_.lines.size() > before) return fallback;
  if (found.empty()) {
    problem(key, "must name at least one step, like [\"5m\", \"1h\"]; the last one repeats");
    return fallback;
  }
  return found;
}

std::uint64_t TableReader::size(std::string_view key, std::uint64_t fallback, std::uint64_t low, std::uint64_t high) {
  auto written = value<std::string>(key, "a size like \"25MiB\"");
  if (!written) return fallback;
  auto found = parse_size(*written);
  if (!found) {
    problem(key, fmt::format("\"{}\" is no size; write a number and B, KiB, MiB or GiB, like \"25MiB\"", *written));
    return fallback;
  }
  if (*found < low || *found > high) {
    problem(key, fmt::format("\"{}\" is out of range; allowed are \"{}\" to \"{}\"", *written, size_text(low),
                             size_text(high)));
    return fallback;
  }
  return *found;
}

std::optional<delivery::Rate> TableReader::rate(std::string_view key) {
  auto written = value<std::string>(key, "a rate like \"600/min\" or \"none\"");
  if (!written || *written == "none") return std::nullopt;
  auto found = parse_rate(*written);
  if (!found)
    problem(key, fmt::format(
                     "\"{}\" is no rate; write a number above 0 and /s, /min, /h or /d, like \"600/min\", or \"none\"",
                     *written));
  return found;
}

std::vector<PlacedText> TableReader::placed_texts(std::string_view key) {
  std::vector<PlacedText> found;
  const toml::node* node = take(key);
  if (!node) return found;
  const toml::array* array = node->as_array();
  if (!array) {
    problem(key, "must be a list of strings, like [\"a\", \"b\"]");
    return found;
  }
  for (const toml::node& element : *array) {
    std::string where = place(element.source());
    if (auto written = element.value_exact<std::string>()) {
      found.push_back({std::move(*written), std::move(where)});
    } else {
      problem_at(where, key, "must hold strings only, like [\"a\", \"b\"]");
    }
  }
  return found;
}

std::vector<std::string> TableReader::texts(std::string_view key) {
  std::vector<std::string> found;
  for (PlacedText& text : placed_texts(key)) found.push_back(std::move(text.value));
  return found;
}

std::size_t TableReader::choice(std::string_view key, std::initializer_list<std::string_view> words,
                                std::size_t fallback) {
  auto written = value<std::string>(key, "a string");
  if (!written) return fallback;
  std::size_t index = 0;
  std::string allowed;
  for (std::string_view word : words) {
    if (*written == word) return index;
    ++index;
    allowed += (allowed.empty() ? "" : ", ") + std::string(word);
  }
  problem(key, fmt::format("\"{}\" is not allowed here; allowed are {}", *written, allowed));
  return fallback;
}

delivery::Setting<std::uint32_t> TableReader::count_setting(std::string_view key) {
  using Setting = delivery::Setting<std::uint32_t>;
  const toml::node* node = take(key);
  if (!node) return {};
  if (auto word = node->value_exact<std::string>(); word && *word == "none") return {Setting::Kind::None, 0};
  auto found = node->value_exact<std::int64_t>();
  if (!found || *found < 1 || *found > 1'000'000) {
    problem(key, "must be a whole number from 1 to 1000000, or \"none\"");
    return {};
  }
  return {Setting::Kind::Value, static_cast<std::uint32_t>(*found)};
}

delivery::Setting<delivery::Rate> TableReader::rate_setting(std::string_view key) {
  using Setting = delivery::Setting<delivery::Rate>;
  if (!has(key)) return {};
  std::size_t before = problems_.lines.size();
  auto found = rate(key);
  if (found) return {Setting::Kind::Value, *found};
  return problems_.lines.size() == before ? Setting{Setting::Kind::None, {}} : Setting{};
}

delivery::Setting<bool> TableReader::flag_setting(std::string_view key) {
  using Setting = delivery::Setting<bool>;
  if (!has(key)) return {};
  return {Setting::Kind::Value, flag(key, false)};
}

void TableReader::finish() {
  for (const auto& [key, node] : table_) {
    if (asked_.contains(key.str())) continue;
    problem_at(place(key.source()), key.str(), fmt::format("unknown key; allowed are {}", fmt::join(asked_, ", ")));
  }
}

}  // namespace danki::config
