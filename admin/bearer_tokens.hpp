#pragma once

#include "base/result.hpp"

#include <array>
#include <filesystem>
#include <string_view>
#include <vector>

namespace danki::admin {

inline constexpr std::size_t kMinTokenBytes = 16;  ///< shorter ones could be guessed

/// The tokens that open the TCP listener. Only their hashes are kept.
class BearerTokens {
 public:
  /// One token a line, several while they rotate; empty lines and lines that begin with "#" are skipped. No token at
  /// all, one that is too short, or a file that others than its owner may read or write is an error.
  static Result<BearerTokens> load(const std::filesystem::path& file);

  /// `authorization` is the header's value: "Bearer TOKEN" (RFC 6750 section 2.1). Takes as long for a wrong token as
  /// for a right one.
  bool allow(std::string_view authorization) const;

 private:
  using Digest = std::array<unsigned char, 32>;  // SHA-256
  static Digest digest_of(std::string_view token);
  std::vector<Digest> digests_;
};

}  // namespace danki::admin
