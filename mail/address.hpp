#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace danki::mail {

inline constexpr std::size_t kMaxLocalBytes = 64;     ///< RFC 5321 section 4.5.3.1.1
inline constexpr std::size_t kMaxDomainBytes = 253;   ///< RFC 5321 section 4.5.3.1.2: 255, which on the DNS wire is 253
inline constexpr std::size_t kMaxAddressBytes = 254;  ///< RFC 5321 section 4.5.3.1.3: 256 with the angle brackets

/// A mailbox of the envelope, RFC 5321 section 4.1.2 (with RFC 6531 UTF-8). `local` is kept as written, quotes
/// included. `domain` is lower case, without trailing dot, an A-label name or an address literal: "[192.0.2.1]",
/// "[IPv6:2001:db8::1]" in its shortest form. Both empty: the null reverse-path. Only the domain empty: <Postmaster>
/// (path.hpp).
struct Address {
  std::string local;
  std::string domain;

  bool is_null() const { return local.empty() && domain.empty(); }
  /// "local@domain"; "" for the null reverse-path; "local" without a domain.
  std::string to_string() const;
  /// True when the local part holds octets above 127 (needs SMTPUTF8; the domain is already A-labels).
  bool needs_smtputf8() const;
  bool operator==(const Address&) const = default;
};

/// Parses "local@domain" (no angle brackets, no spaces around). Lengths as above. Non-ASCII UTF-8 is accepted here;
/// U-label domains become A-labels (IDNA 2008, non-transitional). A local part like "a..b" of some old mobile addresses
/// must come quoted, as the grammar says. The error (mail::Errc::BadAddress) says in its detail what is wrong.
Result<Address> parse_address(std::string_view text);

/// A domain as above: letters, digits, hyphens, dots (underscore tolerated), labels of 1..63 octets, or an address
/// literal. One trailing dot is dropped. The error is mail::Errc::BadDomain.
Result<std::string> normalise_domain(std::string_view text);

/// True if `domain` equals `pattern`, or `pattern` begins with "." and `domain` is a sub-domain of the rest, or
/// `pattern` begins with "*." likewise, or `pattern` is "*". Label-wise and case-insensitive, trailing dots ignored.
bool domain_matches(std::string_view domain, std::string_view pattern);

}  // namespace danki::mail
