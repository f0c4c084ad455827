#pragma once

#include "base/result.hpp"

#include <memory>
#include <string>

typedef struct ssl_ctx_st SSL_CTX;

namespace danki::net {

/// An OpenSSL context, shared by the sessions that use it; a reload makes a new one and old sessions keep theirs.
using TlsContext = std::shared_ptr<SSL_CTX>;

/// For listeners: TLS 1.2 and up, the certificate chain and key checked against each other. The error names the file.
Result<TlsContext> server_tls_context(const std::string& certificate_file, const std::string& private_key_file);

/// For delivery. `verify` false is opportunistic TLS (RFC 7435): any certificate will do. `min_tls12` false allows 1.0
/// peers under opportunistic. Client session cache enabled.
Result<TlsContext> client_tls_context(bool verify);

}  // namespace danki::net
