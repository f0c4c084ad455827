#include "mail/path.hpp"

#include "base/utf8.hpp"
#include "mail/ascii.hpp"
#include "mail/errors.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>

#include <fmt/format.h>

namespace danki::mail {
namespace {

std::unexpected<Error> bad_path(std::string why) {
  return std::unexpected(Error{Errc::BadPath, std::move(why)});
}

std::unexpected<Error> bad_parameter(std::string why) {
  return std::unexpected(Error{Errc::BadParameter, std::move(why)});
}

/// Takes "@a.example,@b.example:" off the front of `text`, which begins with "@". Empty: it is well formed.
std::optional<std::string> problem_of_route(std::string_view& text) {
  for (;;) {
    if (!text.starts_with('@')) return "a source route names hosts as @host";
    text.remove_prefix(1);
    // An address literal may hold colons of its own.
    const std::size_t literal_end = text.starts_with('[') ? std::min(text.find(']'), text.size()) : 0;
    const std::size_t end = text.find_first_of(",:>", literal_end);
    if (end == std::string_view::npos || text[end] == '>') return "a source route ends with a colon";
    if (const auto host = normalise_domain(text.substr(0, end)); !host) return host.error().detail;
    const bool is_last = text[end] == ':';
    text.remove_prefix(end + 1);
    if (is_last) return std::nullopt;
  }
}

/// Where the ">" is that ends the mailbox which `text` begins with; one inside a quoted local part does not.
std::size_t find_closing_bracket(std::string_view text) {
  std::size_t position = 0;
  if (text.starts_with('"')) {
    for (position = 1; position < text.size() && text[position] != '"'; ++position) {
      if (text[position] == '\\') ++position;
    }
  }
  return position < text.size() ? text.find('>', position) : std::string_view::npos;
}

/// Upper or lower case; -1 if it is none.
int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char upper = to_upper(c);
  return upper >= 'A' && upper <= 'F' ? upper - 'A' + 10 : -1;
}

/// Of a well-formed sequence of two to four octets.
std::uint32_t code_point(std::string_view sequence) {
  std::uint32_t code = static_cast<unsigned char>(sequence.front()) & (0x7Fu >> sequence.size());
  for (const char c : sequence.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
  return code;
}

bool is_xchar(char c) {
  return c >= '!' && c <= '~' && c != '+' && c != '=';
}

Result<Parameter> parse_parameter(std::string_view text) {
  const std::size_t equals = text.find('=');
  Parameter parameter;
  for (const char c : text.substr(0, equals)) {
    if (!is_alnum(c) && (c != '-' || parameter.keyword.empty())) return bad_parameter("a bad character in a keyword");
    parameter.keyword += to_upper(c);
  }
  if (parameter.keyword.empty()) return bad_parameter("a parameter without a keyword");
  if (equals == std::string_view::npos) return parameter;
  const std::string_view value = text.substr(equals + 1);
  if (value.empty()) return bad_parameter(parameter.keyword + "= without a value");
  if (!is_utf8(value) || std::any_of(value.begin(), value.end(), [](char c) { return is_control(c) || c == '='; })) {
    return bad_parameter("a bad character in the value of " + parameter.keyword);
  }
  parameter.value = value;
  return parameter;
}

}  // namespace

Result<ParsedPath> parse_path(std::string_view text, PathRules rules) {
  text = trim_wsp(text);
  if (!text.starts_with('<')) return bad_path("a path begins with <");
  text.remove_prefix(1);
  const bool has_route = text.starts_with('@');
  if (has_route) {
    if (auto problem = problem_of_route(text)) return bad_path(std::move(*problem));
  }
  const std::size_t end = find_closing_bracket(text);
  if (end == std::string_view::npos) return bad_path("a path ends with >");
  const std::string_view mailbox = text.substr(0, end);
  const std::string_view behind = text.substr(end + 1);
  if (!behind.empty() && !is_wsp(behind.front())) return bad_path("no space between the path and the parameters");

  ParsedPath path{.address = {}, .rest = trim_wsp(behind)};
  if (mailbox.empty()) {
    if (!rules.allow_null || has_route) return bad_path("the null path is not allowed here");
    return path;
  }
  if (rules.allow_postmaster && iequals(mailbox, "postmaster")) {
    path.address.local = mailbox;
    return path;
  }
  auto address = parse_address(mailbox);
  if (!address) return bad_path(std::move(address.error().detail));
  path.address = std::move(*address);
  return path;
}

Result<std::vector<Parameter>> parse_parameters(std::string_view text) {
  std::vector<Parameter> parameters;
  for (text = trim_wsp(text); !text.empty(); text = trim_wsp(text)) {
    const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
    auto parameter = parse_parameter(text.substr(0, end));
    if (!parameter) return std::unexpected(std::move(parameter.error()));
    for (const Parameter& earlier : parameters) {
      if (earlier.keyword == parameter->keyword) return bad_parameter(parameter->keyword + " is given twice");
    }
    if (parameters.size() == kMaxParameters) return bad_parameter("too many parameters");
    parameters.push_back(std::move(*parameter));
    text.remove_prefix(end);
  }
  return parameters;
}

std::string encode_xtext(std::string_view text) {
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (is_xchar(c)) {
      encoded += c;
    } else {
      fmt::format_to(std::back_inserter(encoded), "+{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

Result<std::string> decode_xtext(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_xchar(text[i]) || is_non_ascii(text[i])) {
      decoded += text[i];
      continue;
    }
    if (text[i] != '+') return std::unexpected(Error{Errc::BadXtext, "an octet that must be written as +XX"});
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low < 0) return std::unexpected(Error{Errc::BadXtext, "a + needs two hexadecimal digits behind it"});
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

std::string ascii_orcpt(std::string_view orcpt) {
  const bool is_utf8_type = istarts_with(orcpt, "utf-8;");
  std::string ascii;
  ascii.reserve(orcpt.size());
  while (!orcpt.empty()) {
    const std::size_t length = std::max<std::size_t>(1, utf8_sequence_length(orcpt));
    const std::string_view sequence = orcpt.substr(0, length);
    if (!is_non_ascii(sequence.front())) {
      ascii += sequence;
    } else if (is_utf8_type && length > 1) {
      fmt::format_to(std::back_inserter(ascii), "\\x{{{:X}}}", code_point(sequence));
    } else {
      ascii += encode_xtext(sequence);
    }
    orcpt.remove_prefix(length);
  }
  return ascii;
}

}  // namespace danki::mail
