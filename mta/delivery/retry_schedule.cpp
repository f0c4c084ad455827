#include "mta/delivery/retry_schedule.hpp"

#include "mail/ascii.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

namespace danki::delivery {
namespace {

using std::chrono::seconds;

/// Words, numbers and clock times ("00:04:59") of a text, in order; everything else only separates them.
class Words {
 public:
  explicit Words(std::string_view text) : text_(text) {}

  /// Empty at the end.
  std::string_view next() {
    const auto is_part = [](char c) { return mail::is_alnum(c) || c == ':'; };
    const auto begin = std::find_if(text_.begin(), text_.end(), is_part);
    const auto end = std::find_if_not(begin, text_.end(), is_part);
    std::string_view word(begin, end);
    text_ = std::string_view(end, text_.end());
    while (word.ends_with(':')) word.remove_suffix(1);
    while (word.starts_with(':')) word.remove_prefix(1);
    return word.empty() && !text_.empty() ? next() : word;
  }

 private:
  std::string_view text_;
};

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Words that ask for another try.
bool is_cue(std::string_view word) {
  return is_one_of(word, std::array<std::string_view, 5>{"again", "retry", "back", "wait", "resend"}) ||
         word.starts_with("greylist") || word.starts_with("graylist");
}

/// Words that may stand between a cue and its time.
bool is_filler(std::string_view word) {
  return is_one_of(
      word, std::array<std::string_view, 16>{"in", "after", "for", "at", "least", "about", "around", "please", "try",
                                             "come", "later", "another", "a", "minimum", "of", "approximately"});
}

std::optional<std::int64_t> number(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || digits.size() > 7 || problem != std::errc{} || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

/// A lone "m" is no unit: it is as often a month or a million.
std::optional<seconds> unit(std::string_view word) {
  if (is_one_of(word, std::array<std::string_view, 5>{"s", "sec", "secs", "second", "seconds"})) return seconds(1);
  if (is_one_of(word, std::array<std::string_view, 4>{"min", "mins", "minute", "minutes"})) return seconds(60);
  if (is_one_of(word, std::array<std::string_view, 5>{"h", "hr", "hrs", "hour", "hours"})) return seconds(3600);
  return std::nullopt;
}

/// "00:04:59" or "04:59".
std::optional<seconds> clock_time(std::string_view word) {
  seconds total{0};
  int parts = 0;
  while (true) {
    const std::size_t colon = std::min(word.find(':'), word.size());
    const auto part = number(word.substr(0, colon));
    if (!part || colon > 2 || (parts > 0 && *part > 59)) return std::nullopt;
    total = total * 60 + seconds(*part);
    ++parts;
    if (colon == word.size()) break;
    word.remove_prefix(colon + 1);
  }
  if (parts != 2 && parts != 3) return std::nullopt;
  return total;
}

/// The time that begins with `word`, "5 minutes 30 seconds" summed up. `words` is a copy: what does not belong is
/// unread.
std::optional<seconds> time_at(std::string_view word, Words words) {
  if (const auto time = clock_time(word)) return time;
  std::optional<seconds> total;
  while (true) {
    const std::size_t digits = std::min(word.find_first_not_of("0123456789"), word.size());
    const auto count = number(word.substr(0, digits));
    if (!count) return total;
    const auto each = unit(digits < word.size() ? word.substr(digits) : words.next());
    if (!each) return total;
    total = total.value_or(seconds(0)) + *count * *each;
    word = words.next();
    if (word == "and") word = words.next();
  }
}

/// The time that follows a cue, fillers skipped. `words` is a copy.
std::optional<seconds> time_after_cue(Words words) {
  std::string_view word = words.next();
  while (is_filler(word) || is_cue(word)) word = words.next();
  return word.empty() ? std::nullopt : time_at(word, words);
}

}  // namespace

TimePoint next_attempt_at(TimePoint now, unsigned attempts, const std::vector<seconds>& steps, Random& random,
                          std::optional<seconds> stated) {
  assert(!steps.empty());
  const std::size_t step = std::min<std::size_t>(std::max(attempts, 1u) - 1, steps.size() - 1);
  const double spread = 1.0 + kRetryJitter * (2.0 * random.fraction() - 1.0);
  const double delay_ms = static_cast<double>(Duration(steps[step]).count()) * spread;
  Duration delay(std::llround(delay_ms));
  if (stated && delay < *stated) {
    // Late rather than early: one second too soon and a greylist begins anew.
    const double late = 1.0 + kRetryJitter * random.fraction();
    delay = Duration(std::llround(static_cast<double>(Duration(*stated).count()) * late));
  }
  return now + delay;
}

std::optional<seconds> stated_retry_after(const mail::Reply& reply) {
  if (!reply.transient()) return std::nullopt;
  const std::string text = mail::to_lower(std::string_view(reply.text));
  std::optional<seconds> longest;
  Words words(text);
  for (std::string_view word = words.next(); !word.empty(); word = words.next()) {
    if (!is_cue(word)) continue;
    const auto time = time_after_cue(words);
    if (time && *time > seconds(0) && *time <= kMaxStatedRetry) longest = std::max(longest.value_or(*time), *time);
  }
  return longest;
}

}  // namespace danki::delivery
