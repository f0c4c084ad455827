#pragma once

#include <string>
#include <string_view>

/// Character classes of the mail grammars, without the C library's locale.
namespace danki::mail {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_alnum(char c) {
  return is_digit(c) || is_alpha(c);
}
constexpr bool is_non_ascii(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}
/// Space and tab: WSP of RFC 5234.
constexpr bool is_wsp(char c) {
  return c == ' ' || c == '\t';
}
/// US-ASCII controls with DEL; tab, CR and LF are among them.
constexpr bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}
/// atext of RFC 5322 section 3.2.3, ASCII only.
constexpr bool is_atext(char c) {
  return is_alnum(c) || (c != '\0' && std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos);
}
constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr char to_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// Case-insensitive ASCII comparison.
bool iequals(std::string_view a, std::string_view b);
bool istarts_with(std::string_view text, std::string_view prefix);
std::string to_lower(std::string_view text);
/// `text` without spaces and tabs at its ends.
std::string_view trim_wsp(std::string_view text);

}  // namespace danki::mail
