#include "net/tls_session.hpp"

#include "net/errc.hpp"
#include "net/tls_error.hpp"
#include "net/tls_resumption.hpp"

#include <cerrno>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

namespace danki::net {
namespace {

bool is_address(const std::string& name) {
  unsigned char octets[16];
  return inet_pton(AF_INET, name.c_str(), octets) == 1 || inet_pton(AF_INET6, name.c_str(), octets) == 1;
}

}  // namespace

TlsSession::TlsSession(SSL_CTX* context, int descriptor) : descriptor_(descriptor), ssl_(SSL_new(context)) {
  if (ssl_ == nullptr) return;
  // Our own BIO: OpenSSL's for sockets uses write(), which raises SIGPIPE when the peer is gone.
  BIO* bio = method() != nullptr ? BIO_new(method()) : nullptr;
  if (bio == nullptr) {
    SSL_free(ssl_);
    ssl_ = nullptr;
    return;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
}

TlsSession::~TlsSession() {
  // Else OpenSSL marks the session as one not to be resumed, for want of a close_notify that few SMTP peers send.
  if (ssl_ != nullptr && !broken_) SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
}

std::unique_ptr<TlsSession> TlsSession::server(SSL_CTX* context, int descriptor) {
  std::unique_ptr<TlsSession> session(new TlsSession(context, descriptor));
  if (session->ssl_ == nullptr) return nullptr;
  SSL_set_accept_state(session->ssl_);
  return session;
}

std::unique_ptr<TlsSession> TlsSession::client(SSL_CTX* context, int descriptor, const std::string& server_name,
                                               const std::string& session_key) {
  std::unique_ptr<TlsSession> session(new TlsSession(context, descriptor));
  SSL* ssl = session->ssl_;
  if (ssl == nullptr) return nullptr;
  SSL_set_connect_state(ssl);
  std::string name = server_name;
  if (name.ends_with('.')) name.pop_back();  // RFC 6066 section 3: without a trailing dot
  const bool verifies = (SSL_CTX_get_verify_mode(context) & SSL_VERIFY_PEER) != 0;
  bool ok = true;
  if (is_address(name)) {
    if (verifies) ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
  } else if (!name.empty()) {
    ok = SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
    if (ok && verifies) {
      SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      ok = SSL_set1_host(ssl, name.c_str()) == 1;
    }
  }
  if (!ok) {
    ERR_clear_error();
    return nullptr;
  }
  if (!session_key.empty()) offer_resumption(ssl, session_key);
  return session;
}

TlsSession::Step TlsSession::handshake() {
  ERR_clear_error();
  return step(SSL_do_handshake(ssl_), 0);
}

TlsSession::Step TlsSession::read(void* into, std::size_t size) {
  ERR_clear_error();
  std::size_t octets = 0;
  const int outcome = SSL_read_ex(ssl_, into, size, &octets);
  return step(outcome, octets);
}

TlsSession::Step TlsSession::write(const void* data, std::size_t size) {
  ERR_clear_error();
  std::size_t octets = 0;
  const int outcome = SSL_write_ex(ssl_, data, size, &octets);
  return step(outcome, octets);
}

TlsSession::Step TlsSession::step(int outcome, std::size_t octets) {
  if (outcome > 0) return {Need::Nothing, octets};
  switch (SSL_get_error(ssl_, outcome)) {
    case SSL_ERROR_WANT_READ:
      return {Need::Readable};
    case SSL_ERROR_WANT_WRITE:
      return {Need::Writable};
    case SSL_ERROR_ZERO_RETURN:
      end_of_file_ = true;
      return {Need::Failed};
    default:
      break;
  }
  broken_ = true;
  tls_error_ = take_openssl_error();
  // A refused certificate is reported by OpenSSL as "certificate verify failed" only; say why.
  const long verify = SSL_get_verify_result(ssl_);
  const bool verifies = (SSL_get_verify_mode(ssl_) & SSL_VERIFY_PEER) != 0;
  if (verifies && verify != X509_V_OK && SSL_is_init_finished(ssl_) == 0) {
    tls_error_ += std::string(": ") + X509_verify_cert_error_string(verify);
  }
  return {Need::Failed};
}

void TlsSession::send_close_notify() {
  if (broken_ || SSL_is_init_finished(ssl_) == 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

Error TlsSession::error() const {
  if (system_error_ == ECONNRESET || system_error_ == EPIPE || (system_error_ == 0 && end_of_file_)) {
    return {std::errc::connection_reset, "closed by peer"};
  }
  if (system_error_ != 0) return {std::error_code(system_error_, std::system_category())};
  return {Errc::TlsFailed, tls_error_};
}

TlsInfo TlsSession::info() const {
  TlsInfo info;
  info.version = SSL_get_version(ssl_);
  info.cipher = SSL_get_cipher_name(ssl_);
  info.peer_verified = (SSL_get_verify_mode(ssl_) & SSL_VERIFY_PEER) != 0 &&
                       SSL_get0_peer_certificate(ssl_) != nullptr && SSL_get_verify_result(ssl_) == X509_V_OK;
  info.resumed = SSL_session_reused(ssl_) == 1;
  return info;
}

const BIO_METHOD* TlsSession::method() {
  static BIO_METHOD* const instance = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "danki socket");
    if (made == nullptr) return made;
    BIO_meth_set_write_ex(made, &TlsSession::bio_write);
    BIO_meth_set_read_ex(made, &TlsSession::bio_read);
    BIO_meth_set_ctrl(made, &TlsSession::bio_control);
    return made;
  }();
  return instance;
}

int TlsSession::bio_write(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
  auto* self = static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do {
    n = ::send(self->descriptor_, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) {
    *written = static_cast<std::size_t>(n);
    return 1;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    BIO_set_retry_write(bio);
  } else {
    self->system_error_ = errno;
  }
  return 0;
}

int TlsSession::bio_read(BIO* bio, char* into, std::size_t size, std::size_t* read) {
  auto* self = static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do {
    n = ::recv(self->descriptor_, into, size, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    *read = static_cast<std::size_t>(n);
    return 1;
  }
  if (n == 0) {
    self->end_of_file_ = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    BIO_set_retry_read(bio);
  } else {
    self->system_error_ = errno;
  }
  return 0;
}

long TlsSession::bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return static_cast<TlsSession*>(BIO_get_data(bio))->end_of_file_ ? 1 : 0;
  return 0;
}

}  // namespace danki::net
