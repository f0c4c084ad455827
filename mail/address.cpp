#include "mail/address.hpp"

#include "base/utf8.hpp"
#include "mail/ascii.hpp"
#include "mail/errors.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <idn2.h>

namespace danki::mail {
namespace {

constexpr std::size_t kMaxLabelBytes = 63;            // RFC 1035 section 2.3.4
constexpr std::size_t kMaxUnicodeDomainBytes = 1024;  // before IDNA; longer ones cannot shrink to 253 octets
constexpr std::string_view kIpv6Tag = "IPv6:";

std::unexpected<Error> bad_address(std::string why) {
  return std::unexpected(Error{Errc::BadAddress, std::move(why)});
}

std::unexpected<Error> bad_domain(std::string why) {
  return std::unexpected(Error{Errc::BadDomain, std::move(why)});
}

/// Snum of RFC 5321 section 4.1.3: one to three digits, 0 to 255. Leading zeros are in the grammar, and decimal.
std::optional<int> parse_octet(std::string_view text) {
  if (text.empty() || text.size() > 3 || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  if (value > 255) return std::nullopt;
  return value;
}

std::optional<std::string> canonical_ipv4(std::string_view text) {
  std::array<int, 4> octets{};
  for (std::size_t i = 0; i < octets.size(); ++i) {
    const std::size_t dot = text.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return std::nullopt;
    const auto octet = parse_octet(text.substr(0, dot));
    if (!octet) return std::nullopt;
    octets[i] = *octet;
    text.remove_prefix(dot == std::string_view::npos ? text.size() : dot + 1);
  }
  return fmt::format("{}.{}.{}.{}", octets[0], octets[1], octets[2], octets[3]);
}

std::optional<std::string> canonical_ipv6(std::string_view text) {
  in6_addr address{};
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  if (inet_pton(AF_INET6, std::string(text).c_str(), &address) != 1) return std::nullopt;
  if (inet_ntop(AF_INET6, &address, out.data(), out.size()) == nullptr) return std::nullopt;
  return std::string(out.data());
}

/// `text` begins with "[". RFC 5321 section 4.1.3.
Result<std::string> normalise_literal(std::string_view text) {
  if (text.size() < 2 || text.back() != ']') return bad_domain("an address literal ends with ]");
  const std::string_view inner = text.substr(1, text.size() - 2);
  if (istarts_with(inner, kIpv6Tag)) {
    const auto address = canonical_ipv6(inner.substr(kIpv6Tag.size()));
    if (!address) return bad_domain("no IPv6 address after [IPv6:");
    return fmt::format("[{}{}]", kIpv6Tag, *address);
  }
  const auto address = canonical_ipv4(inner);
  if (!address) return bad_domain("an address literal is [192.0.2.1] or [IPv6:2001:db8::1]");
  return fmt::format("[{}]", *address);
}

/// IDNA 2008 with the mapping of UTS 46, non-transitional (a German sharp s stays itself).
Result<std::string> to_a_labels(std::string_view domain) {
  if (!is_utf8(domain)) return bad_domain("the domain is not UTF-8");
  if (domain.size() > kMaxUnicodeDomainBytes) return bad_domain("the domain is too long");
  char* converted = nullptr;
  const int status = idn2_to_ascii_8z(std::string(domain).c_str(), &converted, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
  const std::unique_ptr<char, void (*)(void*)> owner(converted, idn2_free);
  if (status != IDN2_OK) return bad_domain(fmt::format("the domain has no ASCII form ({})", idn2_strerror(status)));
  return std::string(converted);
}

std::optional<std::string> problem_of_label(std::string_view label) {
  if (label.empty()) return "the domain has an empty label";
  if (label.size() > kMaxLabelBytes) return "a label of the domain is longer than 63 octets";
  if (label.front() == '-' || label.back() == '-') return "a label of the domain begins or ends with a hyphen";
  // The underscore is not in the grammar, but hosts are named with it and mail to them works.
  if (!std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-' || c == '_'; })) {
    return "the domain has a character that no domain has";
  }
  return std::nullopt;
}

/// QcontentSMTP of RFC 5321 section 4.1.2 with RFC 6531 section 3.3; `text` has its quotes.
bool is_quoted_string(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return false;
  const std::string_view inner = text.substr(1, text.size() - 2);
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (is_control(inner[i]) || inner[i] == '"') return false;
    if (inner[i] != '\\') continue;
    if (++i == inner.size() || is_control(inner[i]) || is_non_ascii(inner[i])) return false;
  }
  return true;
}

/// Dot-string of RFC 5321 section 4.1.2 with RFC 6531 section 3.3.
bool is_dot_string(std::string_view text) {
  bool after_dot = true;  // so that a dot at the beginning is refused
  for (const char c : text) {
    if (c == '.' ? after_dot : !is_atext(c) && !is_non_ascii(c)) return false;
    after_dot = c == '.';
  }
  return !after_dot;
}

std::optional<std::string> problem_of_local(std::string_view local) {
  if (local.empty()) return "nothing before the @";
  if (local.size() > kMaxLocalBytes) return "the local part is longer than 64 octets";
  if (!is_utf8(local)) return "the local part is not UTF-8";
  if (local.front() == '"' ? !is_quoted_string(local) : !is_dot_string(local)) {
    return local.find("..") != std::string_view::npos || local.front() == '.' || local.back() == '.'
               ? "a dot is out of place in the local part"
               : "the local part has a character that needs quoting";
  }
  return std::nullopt;
}

std::string_view without_trailing_dot(std::string_view domain) {
  if (domain.ends_with('.')) domain.remove_suffix(1);
  return domain;
}

}  // namespace

std::string Address::to_string() const {
  if (domain.empty()) return local;
  std::string text;
  text.reserve(local.size() + 1 + domain.size());
  text += local;
  text += '@';
  text += domain;
  return text;
}

bool Address::needs_smtputf8() const {
  return !is_ascii(local);
}

Result<Address> parse_address(std::string_view text) {
  const std::size_t at = text.rfind('@');  // a quoted local part may hold one, a domain never does
  if (at == std::string_view::npos) return bad_address("an address has an @");
  const std::string_view local = text.substr(0, at);
  if (auto problem = problem_of_local(local)) return bad_address(std::move(*problem));
  auto domain = normalise_domain(text.substr(at + 1));
  if (!domain) return bad_address(std::move(domain.error().detail));
  if (local.size() + 1 + domain->size() > kMaxAddressBytes) return bad_address("the address is longer than 254 octets");
  return Address{.local = std::string(local), .domain = std::move(*domain)};
}

Result<std::string> normalise_domain(std::string_view text) {
  if (text.empty()) return bad_domain("the domain is empty");
  if (text.front() == '[') return normalise_literal(text);
  if (std::any_of(text.begin(), text.end(), is_control)) return bad_domain("a control character in the domain");

  std::string domain;
  if (is_ascii(text)) {
    domain = to_lower(without_trailing_dot(text));
  } else {
    auto converted = to_a_labels(without_trailing_dot(text));
    if (!converted) return converted;
    domain = to_lower(*converted);
  }
  if (domain.size() > kMaxDomainBytes) return bad_domain("the domain is longer than 253 octets");
  for (std::string_view rest = domain;;) {
    const std::size_t dot = rest.find('.');
    if (auto problem = problem_of_label(rest.substr(0, dot))) return bad_domain(std::move(*problem));
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  return domain;
}

bool domain_matches(std::string_view domain, std::string_view pattern) {
  if (pattern == "*") return true;
  domain = without_trailing_dot(domain);
  pattern = without_trailing_dot(pattern);
  if (pattern.starts_with("*.")) pattern.remove_prefix(1);
  if (domain.empty() || pattern.empty()) return false;
  if (!pattern.starts_with('.')) return iequals(domain, pattern);
  // The pattern's own dot is the border between labels; something must stand before it.
  return domain.size() > pattern.size() && iequals(domain.substr(domain.size() - pattern.size()), pattern);
}

}  // namespace danki::mail
