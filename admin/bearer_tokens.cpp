#include "admin/bearer_tokens.hpp"

#include "mail/ascii.hpp"

#include <fstream>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace danki::admin {

BearerTokens::Digest BearerTokens::digest_of(std::string_view token) {
  Digest digest{};
  unsigned length = 0;
  EVP_Digest(token.data(), token.size(), digest.data(), &length, EVP_sha256(), nullptr);
  return digest;
}

Result<BearerTokens> BearerTokens::load(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) return std::unexpected(Error{std::error_code(errno, std::generic_category()), file.string()});
  BearerTokens tokens;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    const std::string_view token = mail::trim_wsp(line);
    if (token.empty() || token.starts_with('#')) continue;
    if (token.size() < kMinTokenBytes) {
      return std::unexpected(Error{std::error_code(), fmt::format("{}:{}: a token of at least {} characters is needed",
                                                                  file.string(), number, kMinTokenBytes)});
    }
    tokens.digests_.push_back(digest_of(token));
  }
  if (tokens.digests_.empty()) return std::unexpected(Error{std::error_code(), file.string() + ": no token in it"});
  return tokens;
}

bool BearerTokens::allow(std::string_view authorization) const {
  constexpr std::string_view kScheme = "Bearer ";
  if (!mail::istarts_with(authorization, kScheme)) return false;
  const Digest given = digest_of(mail::trim_wsp(authorization.substr(kScheme.size())));
  int matches = 0;
  for (const Digest& digest : digests_) matches |= CRYPTO_memcmp(given.data(), digest.data(), digest.size()) == 0;
  return matches != 0;
}

}  // namespace danki::admin
