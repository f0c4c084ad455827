#pragma once

#include "dkim/openssl.hpp"
#include "dkim/signer.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

namespace danki::dkim::test {

inline std::string base64(const unsigned char* bytes, std::size_t size) {
  std::string text((size + 2) / 3 * 4 + 1, '\0');
  text.resize(static_cast<std::size_t>(
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes, static_cast<int>(size))));
  return text;
}

inline std::vector<unsigned char> from_base64(std::string_view text) {
  std::vector<unsigned char> bytes(text.size());
  const int size =
      EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  bytes.resize(static_cast<std::size_t>(size) - (text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0));
  return bytes;
}

inline openssl::Key rsa_key(unsigned bits) {
  return openssl::Key(EVP_RSA_gen(bits));
}
inline openssl::Key ed25519_key() {
  return openssl::Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
}
/// RFC 8463 appendix A.1 (the first test of RFC 8032 section 7.1).
inline openssl::Key rfc8463_ed25519_key() {
  const auto seed = from_base64("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
  return openssl::Key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
}

/// The p= value: raw octets for Ed25519 (RFC 8463 section 4), SubjectPublicKeyInfo for RSA (RFC 6376 section 3.6.1).
inline std::string public_value(const openssl::Key& key) {
  if (EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_ED25519) {
    unsigned char raw[32];
    std::size_t size = sizeof raw;
    EVP_PKEY_get_raw_public_key(key.get(), raw, &size);
    return base64(raw, size);
  }
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  std::string text = base64(der, static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return text;
}

/// A folder of key files and the TXT records that belong to them.
class KeyFolder {
 public:
  KeyFolder() {
    std::string name = std::filesystem::temp_directory_path() / "danki-dkim-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  KeyFolder(const KeyFolder&) = delete;
  KeyFolder& operator=(const KeyFolder&) = delete;
  ~KeyFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, const openssl::Key& key) const {
    const auto file = path_ / name;
    const openssl::Bio bio(BIO_new_file(file.c_str(), "w"));
    PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    owner_only(file);
    return file;
  }
  std::filesystem::path write_text(const std::string& name, std::string_view text) const {
    const auto file = path_ / name;
    std::ofstream(file, std::ios::binary) << text;
    owner_only(file);
    return file;
  }
  /// Writes the key, publishes its record and gives the options that name it.
  KeyOptions add(const std::string& domain, const std::string& selector, const openssl::Key& key) {
    const bool is_rsa = EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_RSA;
    records[selector + "._domainkey." + domain] =
        std::string("v=DKIM1; k=") + (is_rsa ? "rsa" : "ed25519") + "; p=" + public_value(key);
    return {.domain = domain, .selector = selector, .key_file = write(domain + "." + selector + ".pem", key)};
  }

  std::map<std::string, std::string> records;  ///< DNS name to TXT

 private:
  static void owner_only(const std::filesystem::path& file) {
    using std::filesystem::perms;
    std::filesystem::permissions(file, perms::owner_read | perms::owner_write);
  }
  std::filesystem::path path_;
};

inline Signer make_signer(std::vector<KeyOptions> keys) {
  auto ring = KeyRing::load(std::move(keys));
  if (!ring) throw std::runtime_error(ring.error().message());
  return Signer(*ring);
}

}  // namespace danki::dkim::test
