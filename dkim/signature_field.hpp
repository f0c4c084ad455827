#pragma once

#include "dkim/key_file.hpp"
#include "mail/header_block.hpp"

#include <cstdint>
#include <string>
#include <string_view>

/// The text of the DKIM-Signature field (RFC 6376 section 3.5), folded, and which fields it covers.
namespace danki::dkim {

/// "DKIM-Signature: v=1; ... s=s1;\r\n\tt=": what never changes for a key.
std::string signature_field_begin(KeyType type, std::string_view domain, std::string_view selector);

/// The rest of the field behind t=, up to an empty b=: the same for every key that signs a message.
std::string signature_field_end(std::int64_t unix_seconds, std::string_view signed_names,
                                std::string_view body_hash_base64);

/// Appends `base64` as the value of b=, folded, with the field's last CRLF.
void append_signature_value(std::string_view base64, std::string& field);

struct SignedHeaders {
  std::string names;    ///< the value of h=, folded
  std::string relaxed;  ///< the fields it names, in its order, in relaxed form
};

/// The fields of `block` that a signature covers: each occurrence of those on our list, the last one of a name first
/// (RFC 6376 section 5.4.2), and From once more than it occurs, so that none can be added.
SignedHeaders collect_signed_headers(const mail::HeaderBlock& block);

}  // namespace danki::dkim
