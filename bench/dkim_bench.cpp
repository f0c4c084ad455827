// What a DKIM signature costs beside the bare RSA operation: both are timed in turns on one core, so that a neighbour's
// load or a change of clock falls on both. Prints medians in microseconds and their ratio.
#include "dkim/openssl.hpp"
#include "dkim/signer.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

namespace {

namespace dkim = danki::dkim;
namespace openssl = danki::dkim::openssl;
using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "dkim-bench: %s\n", why.c_str());
  std::exit(1);
}

/// Writes a fresh key where KeyRing can read it, in a folder that goes with this object.
class KeyFile {
 public:
  KeyFile() {
    std::string folder = std::filesystem::temp_directory_path() / "dkim-bench-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) fail("no temporary folder");
    folder_ = folder;
    key.reset(EVP_RSA_gen(2048));
    const openssl::Bio bio(BIO_new_file(path().c_str(), "w"));
    if (!bio || PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
      fail("cannot write the key");
    }
    std::filesystem::permissions(path(), std::filesystem::perms::owner_read);
  }
  KeyFile(const KeyFile&) = delete;
  KeyFile& operator=(const KeyFile&) = delete;
  ~KeyFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::filesystem::path path() const { return folder_ / "key.pem"; }

  openssl::Key key;

 private:
  std::filesystem::path folder_;
};

std::string message_of(std::size_t bytes) {
  std::string message =
      "From: Example Shop <news@example.com>\r\nTo: reader@receiver.test\r\nSubject: Your order has been sent\r\n"
      "Date: Mon, 23 Nov 2026 05:49:39 +0000\r\nMessage-ID: <1234567890.abcdef@example.com>\r\nMIME-Version: 1.0\r\n"
      "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
      "List-Unsubscribe: <https://example.com/u/1234567890>\r\nList-Unsubscribe-Post: "
      "List-Unsubscribe=One-Click\r\n\r\n";
  while (message.size() < bytes) {
    message += "The quick brown fox jumps over the lazy dog and sends the parcel off today.\r\n";
  }
  return message;
}

double microseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

double median(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void compare(const KeyFile& file, std::size_t bytes, int rounds) {
  auto ring = dkim::KeyRing::load({{.domain = "example.com", .selector = "s1", .key_file = file.path()}});
  if (!ring) fail(ring.error().message());
  dkim::Signer signer(*ring);
  const std::string message = message_of(bytes);

  const openssl::KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, file.key.get(), nullptr));
  EVP_PKEY_sign_init(context.get());
  EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING);
  EVP_PKEY_CTX_set_signature_md(context.get(), openssl::sha256());
  std::array<unsigned char, 32> digest{};
  std::array<unsigned char, 256> signature{};

  std::vector<double> bare, full;
  for (int round = 0; round < rounds; ++round) {
    auto begin = Clock::now();
    std::size_t size = signature.size();
    digest[0] = static_cast<unsigned char>(round);
    if (EVP_PKEY_sign(context.get(), signature.data(), &size, digest.data(), digest.size()) <= 0) fail("RSA");
    bare.push_back(microseconds_since(begin));
    begin = Clock::now();
    const auto made = signer.sign("example.com", message, danki::from_millis(1'795'413'000'000LL + round * 1000));
    full.push_back(microseconds_since(begin));
    if (!made) fail(made.error().message());
  }
  const double bare_us = median(bare), full_us = median(full);
  std::printf("%8zu bytes: bare RSA-2048 %.1f us, DKIM signature %.1f us, ratio %.3f\n", bytes, bare_us, full_us,
              full_us / bare_us);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 4000;
  const KeyFile file;
  for (const std::size_t bytes : {4u * 1024, 100u * 1024, 1024u * 1024}) {
    compare(file, bytes, bytes > 512 * 1024 ? std::max(1, rounds / 10) : rounds);
  }
}
