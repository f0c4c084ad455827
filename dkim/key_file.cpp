#include "dkim/key_file.hpp"

#include "dkim/errc.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

namespace danki::dkim {
namespace {

constexpr mode_t kOthersMayReadOrWrite = S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH;

/// Holds key material: wiped when it goes.
struct SecretBytes {
  std::array<char, kMaxKeyFileBytes> bytes;
  std::size_t size = 0;

  SecretBytes() = default;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

struct FileDescriptor {
  int number;

  explicit FileDescriptor(int n) : number(n) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (number >= 0) ::close(number);
  }
};

Error unreadable(const std::filesystem::path& file, std::string_view why) {
  return {Errc::KeyUnreadable, fmt::format("{} ({})", file.native(), why)};
}

/// The permissions are asked of the open file, so that no other file can take its place in between.
Result<void> read_owner_only(const std::filesystem::path& file, SecretBytes& secret) {
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.number < 0) return std::unexpected(unreadable(file, std::strerror(errno)));
  struct stat status {};
  if (::fstat(descriptor.number, &status) != 0) return std::unexpected(unreadable(file, std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) return std::unexpected(unreadable(file, "not a regular file"));
  if ((status.st_mode & kOthersMayReadOrWrite) != 0) {
    return std::unexpected(Error(Errc::KeyExposed, fmt::format("{} has mode {:04o}, run: chmod 600 {}", file.native(),
                                                               status.st_mode & 07777, file.native())));
  }
  while (secret.size < secret.bytes.size()) {
    const ssize_t got = ::read(descriptor.number, secret.bytes.data() + secret.size, secret.bytes.size() - secret.size);
    if (got < 0) return std::unexpected(unreadable(file, std::strerror(errno)));
    if (got == 0) return {};
    secret.size += static_cast<std::size_t>(got);
  }
  return std::unexpected(unreadable(file, fmt::format("larger than {} bytes", kMaxKeyFileBytes)));
}

/// OpenSSL would ask the terminal for a passphrase: a daemon has none.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

Result<PrivateKey> read_private_key(const std::filesystem::path& file) {
  SecretBytes secret;
  if (auto read = read_owner_only(file, secret); !read) return std::unexpected(read.error());

  const openssl::Bio bio(BIO_new_mem_buf(secret.bytes.data(), static_cast<int>(secret.size)));
  PrivateKey key;
  key.key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key.key) {
    return std::unexpected(Error(Errc::KeyInvalid, fmt::format("{} ({})", file.native(), openssl::last_error())));
  }
  key.bits = EVP_PKEY_get_bits(key.key.get());
  switch (EVP_PKEY_get_base_id(key.key.get())) {
    case EVP_PKEY_RSA:
      key.type = KeyType::Rsa;
      break;
    case EVP_PKEY_ED25519:
      key.type = KeyType::Ed25519;
      return key;
    default:
      return std::unexpected(Error(Errc::KeyInvalid, fmt::format("{} (a key of another kind)", file.native())));
  }
  if (key.bits < kMinRsaBits) {
    return std::unexpected(Error(Errc::KeyTooShort, fmt::format("{} has {} bits", file.native(), key.bits)));
  }
  return key;
}

}  // namespace danki::dkim
