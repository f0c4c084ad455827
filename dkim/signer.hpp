#pragma once

#include "base/result.hpp"
#include "base/time.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// DKIM signatures (RFC 6376, 8463) made with OpenSSL EVP: relaxed/relaxed, SHA-256, From over-signed.
namespace danki::dkim {

struct KeyOptions {
  std::string domain;    ///< d=, A-labels, lower case
  std::string selector;  ///< s=
  std::filesystem::path
      key_file;  ///< PEM, RSA of at least 1024 bits or Ed25519; refused if others than the owner may read it
};

/// The private keys of one configuration, read and checked once; immutable, shared by signers.
class KeyRing {
 public:
  /// The error names the file and what is wrong with it.
  static Result<std::shared_ptr<const KeyRing>> load(std::vector<KeyOptions> keys);
  ~KeyRing();

  /// True if a message with this From domain (A-labels, lower case) would be signed: a key for exactly that domain.
  bool has_key(std::string_view from_domain) const;
  /// True if `selectors` ("d/s d/s", as Signature says) names only keys of this ring.
  bool knows(std::string_view selectors) const;
  /// One line for each warning an operator should see (RSA below 2048 bits).
  const std::vector<std::string>& warnings() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  KeyRing();
  std::unique_ptr<Impl> impl_;
};

struct Signature {
  std::string header_lines;  ///< one DKIM-Signature field per key, folded, each ending in CRLF
  std::string selectors;     ///< "d/s d/s"
};

/// Signs with its own copies of the keys: one per thread (a shared RSA key contends inside OpenSSL).
class Signer {
 public:
  explicit Signer(std::shared_ptr<const KeyRing> keys);
  ~Signer();
  Signer(Signer&&) noexcept;
  Signer& operator=(Signer&&) noexcept;

  /// `message` is the content as it will be sent, CRLF line ends, before dot-stuffing; the new fields go before it.
  /// Empty if no key fits.
  Result<Signature> sign(std::string_view from_domain, std::string_view message, TimePoint now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace danki::dkim
