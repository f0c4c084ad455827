#pragma once

#include <system_error>

namespace danki::dkim {

enum class Errc {
  KeyUnreadable = 1,  ///< no such file, no permission, not a regular file
  KeyExposed,         ///< others than the owner may read or write the file
  KeyInvalid,         ///< no PEM private key, encrypted, or neither RSA nor Ed25519
  KeyTooShort,        ///< RSA below 1024 bits (RFC 8301 section 3.2)
  KeyTwice,           ///< two keys for the same domain and selector
  TooManyFields,      ///< the header section has more fields than mail::HeaderBlock keeps: a signature would not verify
  SignatureFailed,    ///< OpenSSL refused: its words are in the detail
};

std::error_code make_error_code(Errc e);

}  // namespace danki::dkim

template <>
struct std::is_error_code_enum<danki::dkim::Errc> : std::true_type {};
