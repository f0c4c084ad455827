#pragma once

#include <memory>
#include <string>

#include <openssl/bio.h>
#include <openssl/evp.h>

/// OpenSSL's objects as owners, for the .cpp files of this room.
namespace danki::dkim::openssl {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;

/// SHA-256, fetched once for the process: EVP_sha256() would be looked up anew at each use.
const EVP_MD* sha256();

/// What OpenSSL said last on this thread; empties its error queue.
std::string last_error();

}  // namespace danki::dkim::openssl
