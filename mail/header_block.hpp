#pragma once

#include "base/result.hpp"
#include "mail/ascii.hpp"
#include "mail/mailbox_list.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace danki::mail {

/// One field of a header section: views into the message it was parsed from.
struct HeaderField {
  std::string_view name;   ///< as written
  std::string_view value;  ///< after the colon to the end without the last CRLF; folding and spaces are still in it
  std::string_view raw;    ///< the whole field with its CRLF
};

inline constexpr std::size_t kMaxHeaderFields = 2'000;  ///< real mail has up to about 150; bounds the memory for views

/// The header section of a message (RFC 5322 section 2.2), as views: the message must outlive it. Never fails: a line
/// that is no field ends the section (the body starts there), as receivers treat it. Lines may end in a bare LF.
class HeaderBlock {
 public:
  static HeaderBlock parse(std::string_view message);

  const std::vector<HeaderField>& fields() const { return fields_; }
  /// Case-insensitive.
  std::size_t count(std::string_view name) const;
  const HeaderField* first(std::string_view name) const;
  /// True when there are more fields than kMaxHeaderFields: those behind them are in no list and no count. Whoever
  /// decides by a header must refuse such a message.
  bool truncated() const { return truncated_; }
  /// Octets of the header section without the empty line.
  std::size_t size() const { return size_; }
  /// Where the body starts (after the empty line); the message's size if there is none.
  std::size_t body_offset() const { return body_offset_; }

 private:
  std::vector<HeaderField> fields_;
  std::size_t size_ = 0;
  std::size_t body_offset_ = 0;
  bool truncated_ = false;
};

/// `message` without the fields of these names (case-insensitive); a name that ends in "*" stands for all that begin
/// with the rest: "X-Danki-*". The body and all other octets stay as they are.
std::string remove_fields(std::string_view message, std::span<const std::string_view> names);

/// A field's value on one line: line ends before a space or tab taken out (RFC 5322 section 2.2.3), other line ends and
/// the spaces at both ends too.
std::string unfold(std::string_view value);

}  // namespace danki::mail
