#pragma once

#include "base/result.hpp"
#include "mail/address.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace danki::mail {

/// What the paths of one command may be besides <local@domain>.
struct PathRules {
  bool allow_null = false;        ///< "<>": MAIL FROM (RFC 5321 section 4.5.5)
  bool allow_postmaster = false;  ///< "<Postmaster>" without a domain: RCPT TO (RFC 5321 section 4.5.1)
};

struct ParsedPath {
  Address address;        ///< of <Postmaster>: local as written, domain empty
  std::string_view rest;  ///< the ESMTP parameters behind ">", without spaces around; a view into the input
};

/// What follows "MAIL FROM:" or "RCPT TO:" (RFC 5321 section 4.1.2), without the line's CRLF. Spaces before "<" are
/// tolerated, a missing bracket is not. A source route is checked and dropped (appendix C). The error is
/// mail::Errc::BadPath.
Result<ParsedPath> parse_path(std::string_view text, PathRules rules = {});

inline constexpr std::size_t kMaxParameters = 32;  ///< all extensions in use define about 15

struct Parameter {
  std::string keyword;  ///< upper case
  std::string value;    ///< empty: given without "="; the grammar knows no empty value
  bool operator==(const Parameter&) const = default;
};

/// esmtp-param list (RFC 5321 section 4.1.1.11; UTF-8 in values, RFC 6533 section 3): keywords are unique. The error is
/// mail::Errc::BadParameter.
Result<std::vector<Parameter>> parse_parameters(std::string_view text);

/// RFC 3461 section 4: printable ASCII but "+" and "=" stands for itself, any other octet is "+" and two hexadecimal
/// digits.
std::string encode_xtext(std::string_view text);

/// Digits of either case are understood, and octets above 127 stand for themselves as SMTPUTF8 allows in ORCPT (RFC
/// 6533 section 3). The error is mail::Errc::BadXtext.
Result<std::string> decode_xtext(std::string_view text);

/// An ORCPT value ("type;address") for hosts without SMTPUTF8 too: characters beyond ASCII of an address of type utf-8
/// written as "\x{7528}" (utf-8-addr-xtext, RFC 6533 section 3), of another type in xtext. ASCII stays as it is.
std::string ascii_orcpt(std::string_view orcpt);

}  // namespace danki::mail
