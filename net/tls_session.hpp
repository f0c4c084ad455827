#pragma once

#include "base/result.hpp"
#include "net/stream.hpp"

#include <memory>
#include <string>

typedef struct ssl_st SSL;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;

namespace danki::net {

/// One side of a TLS connection over a non-blocking socket, without waiting: each call does what it can now and says
/// what it needs. Knows no Asio; Stream waits for it. The descriptor stays the caller's.
class TlsSession {
 public:
  enum class Need { Nothing, Readable, Writable, Failed };
  struct Step {
    Need need = Need::Nothing;
    std::size_t octets = 0;  ///< moved, when nothing is needed
  };

  /// `context` is kept alive by the session. Null when OpenSSL is out of memory.
  static std::unique_ptr<TlsSession> server(SSL_CTX* context, int descriptor);
  /// `server_name`: for SNI and, if the context verifies, what the certificate must carry. `session_key` names whom an
  /// earlier session may be resumed with; empty: none.
  static std::unique_ptr<TlsSession> client(SSL_CTX* context, int descriptor, const std::string& server_name,
                                            const std::string& session_key);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  Step handshake();
  Step read(void* into, std::size_t size);
  /// May take less than all. After Readable or Writable the next call must offer the same octets.
  Step write(const void* data, std::size_t size);
  /// Sends close_notify if the socket takes it at once; does not wait for the peer's.
  void send_close_notify();

  /// After Failed: the peer's close and system errors under their own codes, everything else Errc::TlsFailed.
  Error error() const;
  TlsInfo info() const;

 private:
  TlsSession(SSL_CTX* context, int descriptor);
  Step step(int outcome, std::size_t octets);

  static const BIO_METHOD* method();
  static int bio_write(BIO* bio, const char* data, std::size_t size, std::size_t* written);
  static int bio_read(BIO* bio, char* into, std::size_t size, std::size_t* read);
  static long bio_control(BIO* bio, int command, long number, void* pointer);

  int descriptor_;
  SSL* ssl_ = nullptr;
  bool broken_ = false;       ///< after a fatal error OpenSSL must not be asked to shut down
  bool end_of_file_ = false;  ///< the peer closed the connection, with close_notify or without
  int system_error_ = 0;
  std::string tls_error_;
};

}  // namespace danki::net
