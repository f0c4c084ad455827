#pragma once

#include "tests/support/sockets.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

namespace danki::support {

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, SslFree>;

/// Throws std::runtime_error with OpenSSL's words.
TlsContext server_tls_context(const std::string& certificate_path, const std::string& key_path);

/// A connection with blocking calls, plain or TLS, that a stop event ends at once: `stop_fd` becomes readable.
class Channel {
 public:
  Channel(Descriptor fd, int stop_fd);

  /// Adds what arrives next to buffer(). False: closed, failed, silent for `timeout`, or stopping.
  bool fill(std::chrono::milliseconds timeout);
  std::string& buffer() { return buffer_; }
  bool send(std::string_view bytes);
  bool accept_tls(SSL_CTX* context);
  bool is_tls() const { return ssl_ != nullptr; }
  const char* tls_version() const { return SSL_get_version(ssl_.get()); }
  const char* tls_cipher() const { return SSL_get_cipher_name(ssl_.get()); }
  const char* tls_server_name() const;  ///< "" without SNI
  /// Stays silent; empty: until the client leaves. False: the client left, or stopping.
  bool wait(std::optional<std::chrono::steady_clock::duration> duration);
  void close_with_reset();  ///< the client sees RST instead of an orderly end
  void close();

 private:
  bool ready(short events, std::optional<std::chrono::steady_clock::time_point> deadline);

  Descriptor fd_;
  int stop_fd_;
  std::unique_ptr<SSL, SslFree> ssl_;
  std::string buffer_;
};

}  // namespace danki::support
