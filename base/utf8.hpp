#pragma once

#include <cstddef>
#include <string_view>

namespace danki {

/// Octets of the well-formed UTF-8 sequence that `text` begins with (RFC 3629: shortest form, no surrogates, at most
/// U+10FFFF), 1 to 4; 0 if it begins with none or is empty.
std::size_t utf8_sequence_length(std::string_view text);

bool is_utf8(std::string_view text);
bool is_ascii(std::string_view text);

/// The longest prefix of `text` of at most `max_bytes` octets that does not cut a UTF-8 sequence in two.
std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes);

}  // namespace danki
