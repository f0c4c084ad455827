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

/// For delivery. With `verify`: TLS 1.2 and up, certificates of the system's authorities, for the name given to
/// connect_tls. Without: opportunistic TLS (RFC 7435), any certificate and old versions too, as the alternative is no
/// TLS. Either way sessions are kept and resumed with the same peer, from the same source.
Result<TlsContext> client_tls_context(bool verify);

}  // namespace danki::net
