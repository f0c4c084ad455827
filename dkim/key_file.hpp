#pragma once

#include "base/result.hpp"
#include "dkim/openssl.hpp"

#include <cstddef>
#include <filesystem>

namespace danki::dkim {

enum class KeyType { Rsa, Ed25519 };

struct PrivateKey {
  openssl::Key key;
  KeyType type = KeyType::Rsa;
  int bits = 0;
};

inline constexpr std::size_t kMaxKeyFileBytes = 64 * 1024;  ///< RSA-16384 in PEM needs 13 KiB
inline constexpr int kMinRsaBits = 1024;          ///< RFC 8301 section 3.2: verifiers must refuse shorter ones
inline constexpr int kRecommendedRsaBits = 2048;  ///< the same section: signers should use at least these

/// Reads a PEM private key. The error's detail names the file and what to do.
Result<PrivateKey> read_private_key(const std::filesystem::path& file);

}  // namespace danki::dkim
