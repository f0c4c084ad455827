#include "mta/submission/moment.hpp"

#include "mail/ascii.hpp"

namespace danki::submission {
namespace {

/// Takes characters from the front of a text.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  std::optional<int> digits(std::size_t count) {
    if (text_.size() < count) return std::nullopt;
    int value = 0;
    for (const char c : text_.substr(0, count)) {
      if (!mail::is_digit(c)) return std::nullopt;
      value = value * 10 + (c - '0');
    }
    text_.remove_prefix(count);
    return value;
  }
  bool one_of(std::string_view characters) {
    if (text_.empty() || characters.find(text_.front()) == std::string_view::npos) return false;
    last_ = text_.front();
    text_.remove_prefix(1);
    return true;
  }
  char last() const { return last_; }
  bool at_digit() const { return !text_.empty() && mail::is_digit(text_.front()); }
  bool empty() const { return text_.empty(); }

 private:
  std::string_view text_;
  char last_ = 0;
};

std::optional<Duration> parse_duration(std::string_view text) {
  Cursor cursor(text);
  std::int64_t count = 0;
  if (!cursor.at_digit()) return std::nullopt;
  for (int digits = 0; cursor.at_digit(); ++digits) {
    if (digits == 9) return std::nullopt;
    count = count * 10 + *cursor.digits(1);
  }
  if (!cursor.one_of("smhd")) return std::nullopt;
  const char unit = cursor.last();
  if (!cursor.empty()) return std::nullopt;
  const std::int64_t seconds = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 86400;
  return std::chrono::seconds(count * seconds);
}

std::optional<Duration> parse_offset(Cursor& cursor) {
  if (cursor.one_of("Zz")) return Duration(0);
  if (!cursor.one_of("+-")) return std::nullopt;
  const int sign = cursor.last() == '-' ? -1 : 1;
  const auto hours = cursor.digits(2);
  if (!hours || *hours > 23 || !cursor.one_of(":")) return std::nullopt;
  const auto minutes = cursor.digits(2);
  if (!minutes || *minutes > 59) return std::nullopt;
  return std::chrono::minutes(sign * (*hours * 60 + *minutes));
}

}  // namespace

std::optional<TimePoint> parse_rfc3339(std::string_view text) {
  Cursor cursor(text);
  const auto year = cursor.digits(4);
  if (!year || !cursor.one_of("-")) return std::nullopt;
  const auto month = cursor.digits(2);
  if (!month || !cursor.one_of("-")) return std::nullopt;
  const auto day = cursor.digits(2);
  if (!day || !cursor.one_of("Tt ")) return std::nullopt;
  const auto hour = cursor.digits(2);
  if (!hour || *hour > 23 || !cursor.one_of(":")) return std::nullopt;
  const auto minute = cursor.digits(2);
  if (!minute || *minute > 59 || !cursor.one_of(":")) return std::nullopt;
  const auto second = cursor.digits(2);
  if (!second || *second > 60) return std::nullopt;  // 60: a leap second

  std::int64_t millis = 0;
  if (cursor.one_of(".")) {
    if (!cursor.at_digit()) return std::nullopt;
    for (std::int64_t weight = 100; cursor.at_digit(); weight /= 10) millis += weight * *cursor.digits(1);
  }
  const auto offset = parse_offset(cursor);
  if (!offset || !cursor.empty()) return std::nullopt;

  const std::chrono::year_month_day date{std::chrono::year{*year}, std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const TimePoint midnight{std::chrono::sys_days{date}};
  return midnight + std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(*second) +
         Duration(millis) - *offset;
}

std::optional<TimePoint> parse_moment(std::string_view text, TimePoint from) {
  std::optional<TimePoint> moment = parse_rfc3339(text);
  if (!moment) {
    const auto duration = parse_duration(text);
    if (!duration || *duration > kMaxMoment) return std::nullopt;
    moment = from + *duration;
  }
  if (*moment > from + kMaxMoment) return std::nullopt;
  return moment;
}

}  // namespace danki::submission
