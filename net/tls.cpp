#include "net/tls.hpp"

#include "net/errc.hpp"
#include "net/tls_error.hpp"
#include "net/tls_resumption.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace danki::net {
namespace {

Error openssl_error(const std::string& what) {
  const std::string reason = take_openssl_error();
  return {Errc::TlsFailed, reason.empty() ? what : what + ": " + reason};
}

/// A key behind a passphrase would make OpenSSL ask for it on the terminal and block; without one the load fails
/// instead.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

Result<TlsContext> new_context(const SSL_METHOD* method) {
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(method), SSL_CTX_free);
  if (!context) return std::unexpected(openssl_error("TLS context"));
  SSL_CTX* raw = context.get();
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  // RELEASE_BUFFERS: a silent connection gives its 34 KiB back. The other two fit writes that wait and go on.
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_default_passwd_cb(raw, no_passphrase);
  return context;
}

}  // namespace

Result<TlsContext> server_tls_context(const std::string& certificate_file, const std::string& private_key_file) {
  auto context = new_context(TLS_server_method());
  if (!context) return context;
  SSL_CTX* raw = context->get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_CIPHER_SERVER_PREFERENCE);
  static constexpr unsigned char kSessionContext[] = "danki";
  SSL_CTX_set_session_id_context(raw, kSessionContext, sizeof(kSessionContext) - 1);
  if (SSL_CTX_use_certificate_chain_file(raw, certificate_file.c_str()) != 1) {
    return std::unexpected(openssl_error("certificate " + certificate_file));
  }
  if (SSL_CTX_use_PrivateKey_file(raw, private_key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return std::unexpected(openssl_error("private key " + private_key_file));
  }
  if (SSL_CTX_check_private_key(raw) != 1) {
    return std::unexpected(openssl_error("private key " + private_key_file + " is not that of " + certificate_file));
  }
  return context;
}

Result<TlsContext> client_tls_context(bool verify) {
  auto context = new_context(TLS_client_method());
  if (!context) return context;
  SSL_CTX* raw = context->get();
  if (verify) {
    SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
    if (SSL_CTX_set_default_verify_paths(raw) != 1) return std::unexpected(openssl_error("system certificates"));
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  } else {
    // Opportunistic (RFC 7435): the alternative to old TLS is no TLS, so everything OpenSSL can still do is allowed.
    SSL_CTX_set_min_proto_version(raw, TLS1_VERSION);
    if (SSL_CTX_set_cipher_list(raw, "DEFAULT:@SECLEVEL=0") != 1) return std::unexpected(openssl_error("cipher list"));
    SSL_CTX_set_verify(raw, SSL_VERIFY_NONE, nullptr);
  }
  if (!enable_resumption(raw)) return std::unexpected(openssl_error("TLS session store"));
  return context;
}

}  // namespace danki::net
