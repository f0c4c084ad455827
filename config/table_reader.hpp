#pragma once

#include "config/config.hpp"
#include "config/units.hpp"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

namespace danki::config {

/// One string of a list, with its own place.
struct PlacedText {
  std::string value;
  std::string where;
};

/// One TOML table being read: hands out checked values, remembers which keys were asked for, and reports the others.
/// Every problem goes to one list, with the place it was found at; reading goes on, so that an operator sees all of
/// them at once.
class TableReader {
 public:
  /// `path` names the table in messages: "listener", "dkim". The table outlives the reader.
  TableReader(const toml::table& table, std::string path, Problems& problems, std::vector<std::string>& warnings);

  /// Asks for the key: it counts as known from then on, whether the file has it or not.
  bool has(std::string_view key);
  /// No problem was found in this table so far: only then is it worth comparing its values.
  bool clean() const { return problems_.lines.size() == problems_before_; }
  std::string text(std::string_view key, std::string fallback);
  std::string required_text(std::string_view key);
  bool flag(std::string_view key, bool fallback);
  std::int64_t number(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high);
  double real(std::string_view key, double fallback, double low, double high);
  std::chrono::milliseconds duration(std::string_view key, std::chrono::milliseconds fallback,
                                     std::chrono::milliseconds low, std::chrono::milliseconds high);
  std::vector<std::chrono::seconds> durations(std::string_view key, std::vector<std::chrono::seconds> fallback);
  std::uint64_t size(std::string_view key, std::uint64_t fallback, std::uint64_t low, std::uint64_t high);
  /// nullopt: the key is absent or "none".
  std::optional<delivery::Rate> rate(std::string_view key);
  std::vector<std::string> texts(std::string_view key);
  std::vector<PlacedText> placed_texts(std::string_view key);
  /// The index of the word given; reports the allowed ones otherwise.
  std::size_t choice(std::string_view key, std::initializer_list<std::string_view> words, std::size_t fallback);

  /// [[shaping]] values: unset, "none", or a value.
  delivery::Setting<std::uint32_t> count_setting(std::string_view key);
  delivery::Setting<delivery::Rate> rate_setting(std::string_view key);
  delivery::Setting<bool> flag_setting(std::string_view key);

  /// The table's own place, and a key's value's place, as "file:line:column".
  std::string where() const;
  std::string where(std::string_view key) const;
  /// "listener.address"
  std::string name(std::string_view key) const;
  void problem(std::string_view key, const std::string& what);
  void problem_at(const std::string& where, std::string_view key, const std::string& what);
  void warn(std::string_view key, const std::string& what);
  /// Says so where the file has the key, rather than let an operator believe in what does not happen. `instead` is what
  /// happens.
  void no_effect_yet(std::string_view key, std::string_view instead = {});
  /// Reports the keys nobody asked for.
  void finish();
  const std::set<std::string, std::less<>>& asked() const { return asked_; }

 private:
  const toml::node* take(std::string_view key);
  template <class T>
  std::optional<T> value(std::string_view key, std::string_view kind);

  const toml::table& table_;
  std::string path_;
  Problems& problems_;
  std::size_t problems_before_;
  std::vector<std::string>& warnings_;
  std::set<std::string, std::less<>> asked_;
};

/// "danki.toml:12:3"
std::string place(const toml::source_region& source);

}  // namespace danki::config
