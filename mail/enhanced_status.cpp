#include "mail/enhanced_status.hpp"

#include "mail/ascii.hpp"

#include <fmt/format.h>

namespace danki::mail {
namespace {

/// One to three digits without leading zeros, taken off the front of `text`; -1 if there are none.
int take_number(std::string_view& text) {
  std::size_t digits = 0;
  int value = 0;
  while (digits < text.size() && digits < 3 && is_digit(text[digits])) value = value * 10 + (text[digits++] - '0');
  if (digits == 0 || (digits > 1 && text[0] == '0')) return -1;
  text.remove_prefix(digits);
  return value;
}

bool take_dot(std::string_view& text) {
  if (!text.starts_with('.')) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::optional<EnhancedStatus> EnhancedStatus::parse(std::string_view text) {
  EnhancedStatus status;
  status.klass = take_number(text);
  if (status.klass != 2 && status.klass != 4 && status.klass != 5) return std::nullopt;
  if (!take_dot(text) || (status.subject = take_number(text)) < 0) return std::nullopt;
  if (!take_dot(text) || (status.detail = take_number(text)) < 0) return std::nullopt;
  if (!text.empty()) return std::nullopt;
  return status;
}

std::string EnhancedStatus::to_string() const {
  return fmt::format("{}.{}.{}", klass, subject, detail);
}

}  // namespace danki::mail
