#include "admin/bearer_tokens.hpp"

#include "mail/ascii.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <sstream>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>

namespace danki::admin {
namespace {

constexpr std::size_t kMaxFileBytes = 64 * 1024;
constexpr mode_t kOthersMayReadOrWrite = S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH;

/// Who reads a token may do all that the API does. The permissions are asked of the open file, so that no other file
/// can take its place in between.
Result<std::string> read_owner_only(const std::filesystem::path& file) {
  const auto failed = [&] {
    return std::unexpected(Error{std::error_code(errno, std::generic_category()), file.string()});
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(std::fopen(file.c_str(), "re"), &std::fclose);
  if (!opened) return failed();
  struct stat status {};
  if (::fstat(::fileno(opened.get()), &status) != 0) return failed();
  if (!S_ISREG(status.st_mode)) return std::unexpected(Error{std::error_code(), file.string() + ": no regular file"});
  if ((status.st_mode & kOthersMayReadOrWrite) != 0) {
    return std::unexpected(
        Error{std::error_code(), fmt::format("{}: others may read or write it (mode {:04o}), run: chmod 600 {}",
                                             file.string(), status.st_mode & 07777, file.string())});
  }
  std::string text(kMaxFileBytes, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), opened.get()));
  if (std::ferror(opened.get()) != 0) return failed();
  if (text.size() == kMaxFileBytes) {
    return std::unexpected(
        Error{std::error_code(), fmt::format("{}: larger than {} bytes", file.string(), kMaxFileBytes)});
  }
  return text;
}

}  // namespace

BearerTokens::Digest BearerTokens::digest_of(std::string_view token) {
  Digest digest{};
  unsigned length = 0;
  EVP_Digest(token.data(), token.size(), digest.data(), &length, EVP_sha256(), nullptr);
  return digest;
}

Result<BearerTokens> BearerTokens::load(const std::filesystem::path& file) {
  auto text = read_owner_only(file);
  if (!text) return std::unexpected(text.error());
  std::istringstream in(std::move(*text));
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
