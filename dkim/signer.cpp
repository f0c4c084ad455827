#include "dkim/signer.hpp"

#include "dkim/canonical.hpp"
#include "dkim/errc.hpp"
#include "dkim/key_ring.hpp"
#include "dkim/signature_field.hpp"
#include "mail/header_block.hpp"

#include <array>
#include <optional>
#include <stdexcept>

#include <openssl/rsa.h>

namespace danki::dkim {
namespace {

using Digest = std::array<unsigned char, 32>;  // SHA-256

std::string to_base64(const unsigned char* bytes, std::size_t size) {
  std::string text((size + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock writes a final NUL
  text.resize(static_cast<std::size_t>(
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes, static_cast<int>(size))));
  return text;
}

/// A private copy of one key with what OpenSSL needs to sign, prepared once.
class PreparedKey {
 public:
  static Result<PreparedKey> prepare(const PrivateKey& source) {
    PreparedKey prepared;
    prepared.type_ = source.type;
    prepared.key_.reset(EVP_PKEY_dup(source.key.get()));
    if (!prepared.key_) return failure();
    prepared.signature_.resize(static_cast<std::size_t>(EVP_PKEY_get_size(prepared.key_.get())));
    if (source.type == KeyType::Ed25519) {
      prepared.digest_context_.reset(EVP_MD_CTX_new());
      return prepared;
    }
    prepared.context_.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, prepared.key_.get(), nullptr));
    EVP_PKEY_CTX* context = prepared.context_.get();
    if (!context || EVP_PKEY_sign_init(context) <= 0 || EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_signature_md(context, openssl::sha256()) <= 0) {
      return failure();
    }
    return prepared;
  }

  /// The signature of a SHA-256 hash, in base64.
  Result<std::string> sign(const Digest& digest) {
    std::size_t size = signature_.size();
    bool done = false;
    if (type_ == KeyType::Rsa) {
      done = EVP_PKEY_sign(context_.get(), signature_.data(), &size, digest.data(), digest.size()) > 0;
    } else {
      // RFC 8463 section 3: PureEdDSA over the hash, which is therefore a message here.
      done = EVP_DigestSignInit(digest_context_.get(), nullptr, nullptr, nullptr, key_.get()) > 0 &&
             EVP_DigestSign(digest_context_.get(), signature_.data(), &size, digest.data(), digest.size()) > 0;
    }
    if (!done) return failure();
    return to_base64(signature_.data(), size);
  }

 private:
  static std::unexpected<Error> failure() {
    return std::unexpected(Error(Errc::SignatureFailed, openssl::last_error()));
  }

  KeyType type_ = KeyType::Rsa;
  openssl::Key key_;
  openssl::KeyContext context_;            ///< RSA
  openssl::DigestContext digest_context_;  ///< Ed25519
  std::vector<unsigned char> signature_;
};

}  // namespace

struct Signer::Impl {
  explicit Impl(std::shared_ptr<const KeyRing> keys) : ring(std::move(keys)), prepared(ring->impl().entries.size()) {
    if (!body_hash || !headers_hash || !field_hash || !openssl::sha256()) {
      throw std::runtime_error("OpenSSL offers no SHA-256: " + openssl::last_error());
    }
  }

  Result<Signature> sign(const std::vector<std::size_t>& key_indices, std::string_view message, TimePoint now);
  std::string hash_body(std::string_view body);
  Digest hash_field(std::string_view unsigned_field);
  Result<PreparedKey*> key(std::size_t index);

  std::shared_ptr<const KeyRing> ring;  ///< shared with other signers; a new configuration brings another ring
  std::vector<std::optional<PreparedKey>> prepared;  ///< filled at a key's first use: a ring may hold thousands
  openssl::DigestContext body_hash{EVP_MD_CTX_new()};
  openssl::DigestContext headers_hash{EVP_MD_CTX_new()};
  openssl::DigestContext field_hash{EVP_MD_CTX_new()};
  RelaxedBody relaxed_body{
      [this](std::string_view piece) { EVP_DigestUpdate(body_hash.get(), piece.data(), piece.size()); }};
  std::string relaxed_field;
};

std::string Signer::Impl::hash_body(std::string_view body) {
  EVP_DigestInit_ex2(body_hash.get(), openssl::sha256(), nullptr);
  relaxed_body.append(body);
  relaxed_body.finish();
  Digest digest;
  EVP_DigestFinal_ex(body_hash.get(), digest.data(), nullptr);
  return to_base64(digest.data(), digest.size());
}

/// The hash of the covered fields and then this one, without its last CRLF. RFC 6376 section 3.7.
Digest Signer::Impl::hash_field(std::string_view unsigned_field) {
  const std::size_t colon = unsigned_field.find(':');
  relaxed_field.clear();
  append_relaxed_header(unsigned_field.substr(0, colon), unsigned_field.substr(colon + 1), relaxed_field);
  relaxed_field.resize(relaxed_field.size() - 2);
  EVP_MD_CTX_copy_ex(field_hash.get(), headers_hash.get());
  EVP_DigestUpdate(field_hash.get(), relaxed_field.data(), relaxed_field.size());
  Digest digest;
  EVP_DigestFinal_ex(field_hash.get(), digest.data(), nullptr);
  return digest;
}

Result<PreparedKey*> Signer::Impl::key(std::size_t index) {
  std::optional<PreparedKey>& slot = prepared[index];
  if (!slot) {
    auto key = PreparedKey::prepare(ring->impl().entries[index].private_key);
    if (!key) return std::unexpected(key.error());
    slot.emplace(std::move(*key));
  }
  return &*slot;
}

Result<Signature> Signer::Impl::sign(const std::vector<std::size_t>& key_indices, std::string_view message,
                                     TimePoint now) {
  const mail::HeaderBlock block = mail::HeaderBlock::parse(message);
  if (block.truncated()) return std::unexpected(Error(Errc::TooManyFields));
  const SignedHeaders headers = collect_signed_headers(block);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  const std::string end = signature_field_end(seconds, headers.names, hash_body(message.substr(block.body_offset())));
  EVP_DigestInit_ex2(headers_hash.get(), openssl::sha256(), nullptr);
  EVP_DigestUpdate(headers_hash.get(), headers.relaxed.data(), headers.relaxed.size());

  Signature signature;
  for (const std::size_t index : key_indices) {
    const KeyRing::Impl::Entry& entry = ring->impl().entries[index];
    std::string field = entry.field_begin + end;
    auto prepared_key = key(index);
    if (!prepared_key) return std::unexpected(prepared_key.error());
    auto value = (*prepared_key)->sign(hash_field(field));
    if (!value) return std::unexpected(value.error());
    append_signature_value(*value, field);
    signature.header_lines += field;
    if (!signature.selectors.empty()) signature.selectors += ' ';
    signature.selectors += entry.domain + '/' + entry.selector;
  }
  return signature;
}

Signer::Signer(std::shared_ptr<const KeyRing> keys) : impl_(std::make_unique<Impl>(std::move(keys))) {}
Signer::~Signer() = default;
Signer::Signer(Signer&&) noexcept = default;
Signer& Signer::operator=(Signer&&) noexcept = default;

Result<Signature> Signer::sign(std::string_view from_domain, std::string_view message, TimePoint now) {
  const auto& by_domain = impl_->ring->impl().by_domain;
  const auto found = by_domain.find(from_domain);
  if (found == by_domain.end()) return Signature{};
  return impl_->sign(found->second, message, now);
}

}  // namespace danki::dkim
