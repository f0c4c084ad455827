#pragma once

#include <string>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

/// Resuming TLS sessions as a client: OpenSSL hands out the tickets and leaves it to us to keep them and to know whom
/// they are for. Each context has a bounded store; contexts, and so their rules of verification, never share one.
namespace danki::net {

/// Gives `context` its store. False when OpenSSL is out of memory.
bool enable_resumption(SSL_CTX* context);

/// Before the handshake: offers the session kept under `key` if there is one, and keeps what this one yields under the
/// same key. Does nothing for a context without a store.
void offer_resumption(SSL* ssl, const std::string& key);

}  // namespace danki::net
