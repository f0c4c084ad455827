#include "admin/request.hpp"

#include "admin/json_views.hpp"

namespace danki::admin {
namespace {

constexpr std::size_t kMaxParts = 64;  // the API needs about a dozen

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// RFC 3986 section 2.1; in a query "+" is a space, as HTML forms and most clients write it.
std::optional<std::string> percent_decoded(std::string_view text, bool is_query) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += is_query && text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

/// Takes the part up to `separator` off the front of `text`, the separator too.
std::string_view take_part(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return part;
}

bool parse_query(std::string_view text, Target& target) {
  while (!text.empty()) {
    std::string_view value = take_part(text, '&');
    const std::string_view name = take_part(value, '=');
    if (name.empty()) continue;
    auto decoded_name = percent_decoded(name, true);
    auto decoded_value = percent_decoded(value, true);
    if (!decoded_name || !decoded_value || target.query.size() >= kMaxParts) return false;
    target.query[std::move(*decoded_name)] = std::move(*decoded_value);
  }
  return true;
}

}  // namespace

Response error_response(int status, std::string_view text) {
  return Response{.status = status, .body = error_json(text)};
}

std::optional<Target> parse_target(std::string_view text) {
  if (!text.starts_with('/')) return std::nullopt;
  Target target;
  std::string_view path = take_part(text, '?');
  if (!parse_query(text, target)) return std::nullopt;
  while (!path.empty()) {
    auto segment = percent_decoded(take_part(path, '/'), false);
    if (!segment || target.segments.size() >= kMaxParts) return std::nullopt;
    if (!segment->empty()) target.segments.push_back(std::move(*segment));
  }
  return target;
}

}  // namespace danki::admin
