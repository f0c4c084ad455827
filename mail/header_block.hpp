#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace danki::mail {

/// One field of a header section: views into the message it was parsed from.
struct HeaderField {
  std::string_view name;   ///< as written
  std::string_view value;  ///< after the colon, folding and the last CRLF kept out of it only at the end
  std::string_view raw;    ///< the whole field with its CRLF
};

/// The header section of a message (RFC 5322 section 2.2), as views: the message must outlive it. Never fails: a line that
/// is no field ends the section (the body starts there), as receivers treat it.
class HeaderBlock {
 public:
  static HeaderBlock parse(std::string_view message);

  const std::vector<HeaderField>& fields() const { return fields_; }
  /// Case-insensitive.
  std::size_t count(std::string_view name) const;
  const HeaderField* first(std::string_view name) const;
  /// Octets of the header section without the empty line.
  std::size_t size() const { return size_; }
  /// Where the body starts (after the empty line); the message's size if there is none.
  std::size_t body_offset() const { return body_offset_; }

 private:
  std::vector<HeaderField> fields_;
  std::size_t size_ = 0;
  std::size_t body_offset_ = 0;
};

/// The addr-specs of a From, Sender or Reply-To value (RFC 5322 section 3.4, obsolete forms too): mailbox-list and groups, comments,
/// quoted strings and folding understood, encoded words left alone. Domains normalised as in address.hpp.
Result<std::vector<std::string>> parse_mailbox_list(std::string_view value);

/// Case-insensitive ASCII comparison.
bool iequals(std::string_view a, std::string_view b);

}  // namespace danki::mail
