#include "dkim/openssl.hpp"

#include <array>

#include <openssl/err.h>

namespace danki::dkim::openssl {

const EVP_MD* sha256() {
  static const std::unique_ptr<EVP_MD, Deleter<EVP_MD_free>> digest(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  return digest.get();
}

std::string last_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

}  // namespace danki::dkim::openssl
