#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace danki::mail {

/// What a Content-Type field says (RFC 2045 section 5.1), as far as it decides how a body is read.
struct ContentType {
  std::string type = "text";      ///< lower case
  std::string subtype = "plain";  ///< lower case
  /// Empty if there is none, or if readers may disagree what it is: two of them, pieces of one (RFC 2231), octets
  /// around it that belong to no parameter.
  std::string boundary;

  bool is(std::string_view t, std::string_view s) const { return type == t && subtype == s; }
};

/// Empty if `value` does not begin with a type and a subtype.
std::optional<ContentType> parse_content_type(std::string_view value);

/// What a Content-Transfer-Encoding field says (RFC 2045 section 6).
enum class TransferEncoding { SevenBit, EightBit, Binary, QuotedPrintable, Base64, Unknown };
TransferEncoding parse_transfer_encoding(std::string_view value);

}  // namespace danki::mail
