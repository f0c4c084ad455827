#include "tests/support/scenario.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <fmt/core.h>
#include <fnmatch.h>
#include <strings.h>
#include <toml++/toml.h>

namespace danki::support {
namespace {

using Duration = std::chrono::steady_clock::duration;

constexpr std::array<std::string_view, 10> kStageNames{"connect", "ehlo", "helo",    "starttls", "mail",
                                                       "rcpt",    "data", "content", "dot",      "done"};
constexpr std::array<std::string_view, 6> kActionNames{"accept", "reply", "close", "drop", "stall", "half-reply"};
constexpr std::array<std::string_view, 4> kScopeNames{"client", "listen", "client+listen", "all"};
constexpr std::size_t kMaxRemembered = 1'000'000;  // a test that needs more would rather fail than eat the machine

std::array<uint8_t, 16> address_bytes(const Endpoint& endpoint) {
  std::array<uint8_t, 16> bytes{};
  if (endpoint.family() == AF_INET6) {
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6&>(endpoint.storage).sin6_addr, 16);
  } else {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes.data() + 12, &reinterpret_cast<const sockaddr_in&>(endpoint.storage).sin_addr, 4);
  }
  return bytes;
}

bool holds(const std::vector<AddressRange>& ranges, const Endpoint& endpoint) {
  if (ranges.empty()) return true;
  auto bytes = address_bytes(endpoint);
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const AddressRange& range) { return range.first <= bytes && bytes <= range.last; });
}

bool matches_glob(const std::vector<std::string>& globs, std::string_view text) {
  std::string value(text);
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return fnmatch(glob.c_str(), value.c_str(), FNM_CASEFOLD) == 0; });
}

/// One table of the file; says where a value is wrong and which keys are unknown.
class Table {
 public:
  Table(const toml::table& table, std::string path) : table_(table), path_(std::move(path)) {}

  [[noreturn]] void fail(const toml::source_region& where, const std::string& problem) const {
    throw std::runtime_error(fmt::format("{}:{}:{}: {}", path_, where.begin.line, where.begin.column, problem));
  }

  void only(std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : table_) {
      if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
        fail(key.source(), fmt::format("unknown key \"{}\"", key.str()));
      }
    }
  }

  /// Strings of a value that is one string or a list of them. A number counts as its text.
  std::vector<std::string> strings(std::string_view key) const {
    const toml::node* node = table_.get(key);
    if (node == nullptr) return {};
    std::vector<std::string> values;
    if (const auto* array = node->as_array()) {
      for (const auto& element : *array) values.push_back(text_of(element, key));
    } else {
      values.push_back(text_of(*node, key));
    }
    return values;
  }

  std::optional<std::string> string(std::string_view key) const {
    const toml::node* node = table_.get(key);
    return node == nullptr ? std::nullopt : std::optional(text_of(*node, key));
  }

  bool boolean(std::string_view key) const {
    const toml::node* node = table_.get(key);
    if (node == nullptr) return false;
    if (!node->is_boolean()) fail(node->source(), fmt::format("{}: true or false", key));
    return node->as_boolean()->get();
  }

  /// Calls `read` on the text of `key` if it is there; what it throws is told with the place.
  template <typename Read>
  void with(std::string_view key, Read read) const {
    auto text = string(key);
    if (!text) return;
    try {
      read(*text);
    } catch (const std::exception& error) {
      fail(table_.get(key)->source(), fmt::format("{}: {}", key, error.what()));
    }
  }

  std::vector<AddressRange> addresses(std::string_view key) const;

 private:
  std::string text_of(const toml::node& node, std::string_view key) const {
    if (const auto* text = node.as_string()) return text->get();
    if (const auto* number = node.as_integer()) return std::to_string(number->get());
    fail(node.source(), fmt::format("{}: a string or a number", key));
  }

  const toml::table& table_;
  std::string path_;
};

template <typename Enum, std::size_t N>
Enum parse_name(const std::array<std::string_view, N>& names, std::string_view text) {
  auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) {
    std::string allowed;
    for (auto name : names) allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", name);
    throw std::invalid_argument(fmt::format("\"{}\" is none of {}", text, allowed));
  }
  return static_cast<Enum>(found - names.begin());
}

double parse_number(std::string_view text, std::string_view& rest) {
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 0) throw std::invalid_argument(fmt::format("\"{}\": a number first", text));
  rest = text.substr(static_cast<std::size_t>(end - text.data()));
  return number;
}

double seconds_of_unit(std::string_view unit) {
  if (unit == "ms") return 0.001;
  if (unit == "s") return 1;
  if (unit == "m" || unit == "min") return 60;
  if (unit == "h") return 3600;
  throw std::invalid_argument(fmt::format("\"{}\": the unit is ms, s, m or h", unit));
}

Duration parse_duration(std::string_view text) {
  std::string_view unit;
  double number = parse_number(text, unit);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(number * seconds_of_unit(unit)));
}

Rate parse_rate(std::string_view text) {
  std::string_view rest;
  double number = parse_number(text, rest);
  if (!rest.starts_with('/')) throw std::invalid_argument("a rate is a number, / and s, min or h");
  return {.per_second = number / seconds_of_unit(rest.substr(1)), .burst = std::max(1.0, number)};
}

uint64_t parse_count(std::string_view text) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw std::invalid_argument(fmt::format("\"{}\" is not a number", text));
  }
  return number;
}

/// "3", "1-3" or "11-".
Range parse_range(std::string_view text) {
  auto dash = text.find('-');
  Range range;
  range.first = parse_count(text.substr(0, dash));
  if (dash == std::string_view::npos) {
    range.last = range.first;
  } else if (dash + 1 < text.size()) {
    range.last = parse_count(text.substr(dash + 1));
  }
  return range;
}

/// An address, "FIRST-LAST" or "ADDRESS/BITS".
AddressRange parse_address_range(std::string_view text) {
  AddressRange range;
  if (auto dash = text.find('-'); dash != std::string_view::npos) {
    range.first = address_bytes(parse_endpoint(text.substr(0, dash), 0));
    range.last = address_bytes(parse_endpoint(text.substr(dash + 1), 0));
    return range;
  }
  auto slash = text.find('/');
  Endpoint endpoint = parse_endpoint(text.substr(0, slash), 0);
  range.first = range.last = address_bytes(endpoint);
  if (slash == std::string_view::npos) return range;
  std::size_t family_bits = endpoint.family() == AF_INET ? 32 : 128;
  std::size_t bits = parse_count(text.substr(slash + 1));
  if (bits > family_bits) throw std::invalid_argument(fmt::format("\"{}\" has too many bits", text));
  for (std::size_t bit = 128 - family_bits + bits; bit < 128; ++bit) {
    auto mask = static_cast<uint8_t>(0x80 >> bit % 8);
    range.first[bit / 8] &= static_cast<uint8_t>(~mask);
    range.last[bit / 8] |= mask;
  }
  return range;
}

void check_reply(std::string_view reply) {
  bool has_code = reply.size() >= 3 && reply[0] >= '2' && reply[0] <= '5' &&
                  std::all_of(reply.begin(), reply.begin() + 3, [](char c) { return c >= '0' && c <= '9'; });
  if (!has_code || (reply.size() > 3 && reply[3] != ' ')) {
    throw std::invalid_argument("a reply is a code of three digits, a space and a text");
  }
}

std::vector<AddressRange> Table::addresses(std::string_view key) const {
  std::vector<AddressRange> ranges;
  for (const std::string& text : strings(key)) {
    try {
      ranges.push_back(parse_address_range(text));
    } catch (const std::exception& error) {
      fail(table_.get(key)->source(), fmt::format("{}: {}", key, error.what()));
    }
  }
  return ranges;
}

Rule read_rule(const toml::table& source, const std::string& path, std::size_t number) {
  Table table(source, path);
  table.only({"name",  "stage",  "action",     "listen",           "client",  "helo",     "mail",       "rcpt",
              "after", "before", "connection", "open_connections", "attempt", "greylist", "above_rate", "burst",
              "per",   "times",  "every",      "message",          "reply",   "for",      "store",      "reset"});
  Rule rule;
  rule.name = table.string("name").value_or(fmt::format("rule {}", number));
  bool has_stage = false, has_action = false;
  table.with("stage", [&](auto& text) { rule.stage = parse_name<Stage>(kStageNames, text), has_stage = true; });
  table.with("action", [&](auto& text) { rule.action = parse_name<Action>(kActionNames, text), has_action = true; });
  if (!has_stage || !has_action) table.fail(source.source(), "a rule needs a stage and an action");

  rule.listen = table.addresses("listen");
  rule.client = table.addresses("client");
  rule.helo = table.strings("helo");
  rule.mail = table.strings("mail");
  rule.rcpt = table.strings("rcpt");
  table.with("message", [&](auto& text) { rule.message = parse_range(text); });
  table.with("connection", [&](auto& text) { rule.connection = parse_range(text); });
  table.with("open_connections", [&](auto& text) { rule.open_connections = parse_range(text); });
  table.with("attempt", [&](auto& text) { rule.attempt = parse_range(text); });
  table.with("after", [&](auto& text) { rule.after = parse_duration(text); });
  table.with("before", [&](auto& text) { rule.before = parse_duration(text); });
  table.with("greylist", [&](auto& text) { rule.greylist = parse_duration(text); });
  table.with("above_rate", [&](auto& text) { rule.above_rate = parse_rate(text); });
  table.with("burst", [&](auto& text) {
    if (!rule.above_rate) throw std::invalid_argument("goes with above_rate");
    rule.above_rate->burst = static_cast<double>(std::max<uint64_t>(1, parse_count(text)));
  });
  table.with("per", [&](auto& text) { rule.rate_scope = parse_name<RateScope>(kScopeNames, text); });
  table.with("times", [&](auto& text) { rule.times = parse_count(text); });
  table.with("every", [&](auto& text) { rule.every = std::max<uint64_t>(1, parse_count(text)); });

  for (const std::string& line : table.strings("reply")) rule.reply += (rule.reply.empty() ? "" : "\n") + line;
  table.with("for", [&](auto& text) {
    if (text != "forever") rule.stall = parse_duration(text);
  });
  rule.store = table.boolean("store");
  rule.reset = table.boolean("reset");
  try {
    if (!rule.reply.empty()) check_reply(rule.reply);
  } catch (const std::exception& error) {
    table.fail(source.get("reply")->source(), fmt::format("reply: {}", error.what()));
  }
  if (rule.action == Action::Reply && rule.reply.empty()) table.fail(source.source(), "action \"reply\" needs a reply");
  bool takes_no_reply = rule.stage == Stage::Content || rule.stage == Stage::Done;
  if (takes_no_reply && (rule.action == Action::Reply || rule.action == Action::HalfReply)) {
    table.fail(source.source(), "nothing can be answered at this stage: close, drop or stall");
  }
  if (rule.action == Action::Close && rule.reply.empty()) rule.reply = "421 4.3.2 closing the connection";
  if ((rule.greylist || source.contains("attempt")) && rule.stage != Stage::Rcpt) {
    table.fail(source.source(), "greylist and attempt belong to the stage rcpt");
  }
  return rule;
}

Announcement read_announcement(const toml::table& source, const std::string& path) {
  Table table(source, path);
  table.only({"listen", "without", "with"});
  return {table.addresses("listen"), table.strings("without"), table.strings("with")};
}

std::string triplet(const Moment& moment, std::string_view rcpt) {
  return fmt::format("{} {} {}", moment.client.host(), moment.mail, rcpt);
}

}  // namespace

std::string_view to_string(Stage stage) {
  return kStageNames[static_cast<std::size_t>(stage)];
}

Scenario::Scenario(const std::string& path) {
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    Table(file, path).fail(error.source(), std::string(error.description()));
  }
  Table top(file, path);
  top.only({"rule", "announce"});
  if (const auto* rules = file["rule"].as_array()) {
    for (const auto& element : *rules) {
      if (!element.is_table()) top.fail(element.source(), "rules are written [[rule]]");
      rules_.push_back(read_rule(*element.as_table(), path, rules_.size() + 1));
    }
  } else if (file.contains("rule")) {
    top.fail(file.get("rule")->source(), "rules are written [[rule]]");
  }
  if (const auto* announcements = file["announce"].as_array()) {
    for (const auto& element : *announcements) {
      if (!element.is_table()) top.fail(element.source(), "announcements are written [[announce]]");
      announcements_.push_back(read_announcement(*element.as_table(), path));
    }
  } else if (file.contains("announce")) {
    top.fail(file.get("announce")->source(), "announcements are written [[announce]]");
  }
  memories_.resize(rules_.size());
}

std::optional<std::size_t> Scenario::decide(const Moment& moment, std::size_t from) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = from; i < rules_.size(); ++i) {
    if (rules_[i].stage == moment.stage && matches(rules_[i], memories_[i], moment)) return i;
  }
  return std::nullopt;
}

bool Scenario::matches(const Rule& rule, Memory& memory, const Moment& moment) {
  auto since_start = moment.now - started_at_;
  if (since_start < rule.after || (rule.before && since_start >= *rule.before)) return false;
  if (!holds(rule.listen, moment.listen) || !holds(rule.client, moment.client)) return false;
  if (!rule.helo.empty() && !matches_glob(rule.helo, moment.helo)) return false;
  if (!rule.mail.empty() && !matches_glob(rule.mail, moment.mail)) return false;
  auto is_named = [&](std::string_view rcpt) { return matches_glob(rule.rcpt, rcpt); };
  if (!rule.rcpt.empty() && std::none_of(moment.rcpts.begin(), moment.rcpts.end(), is_named)) return false;
  if (!rule.message.holds(moment.message) || !rule.connection.holds(moment.connection)) return false;
  if (!rule.open_connections.holds(moment.open_connections)) return false;

  // From here on the rule remembers what it saw, so the order matters: all that is plain comparison is done.
  if (memory.first_seen.size() + memory.buckets.size() + memory.attempts.size() > kMaxRemembered) memory = {};
  std::string_view rcpt = moment.rcpts.empty() ? std::string_view{} : moment.rcpts.front();
  if (moment.stage == Stage::Rcpt) {
    auto attempt = ++memory.attempts[fmt::format("{} {}", moment.mail, rcpt)];
    if (!rule.attempt.holds(attempt)) return false;
  }
  if (rule.greylist) {
    auto first_seen = memory.first_seen.try_emplace(triplet(moment, rcpt), moment.now).first->second;
    if (moment.now - first_seen >= *rule.greylist) return false;
  }
  if (rule.above_rate) {
    std::string key;
    if (rule.rate_scope == RateScope::Client || rule.rate_scope == RateScope::ClientAndListen)
      key = moment.client.host();
    if (rule.rate_scope == RateScope::Listen || rule.rate_scope == RateScope::ClientAndListen) {
      key += " " + moment.listen.to_string();
    }
    Bucket& bucket = memory.buckets.try_emplace(key, Bucket{rule.above_rate->burst, moment.now}).first->second;
    auto passed = std::chrono::duration<double>(moment.now - bucket.filled_at).count();
    bucket.tokens = std::min(rule.above_rate->burst, bucket.tokens + passed * rule.above_rate->per_second);
    bucket.filled_at = moment.now;
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return false;
    }
  }
  if (++memory.matched % rule.every != 0) return false;
  if (rule.times > 0 && memory.used >= rule.times) return false;
  ++memory.used;
  return true;
}

bool Scenario::announces(std::string_view extension, const Endpoint& listen, bool by_default) const {
  bool announced = by_default;
  auto names = [&](const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(), [&](const std::string& name) {
      return name.size() == extension.size() && strncasecmp(name.data(), extension.data(), name.size()) == 0;
    });
  };
  for (const Announcement& announcement : announcements_) {
    if (!holds(announcement.listen, listen)) continue;
    if (names(announcement.without)) announced = false;
    if (names(announcement.with)) announced = true;
  }
  return announced;
}

}  // namespace danki::support
