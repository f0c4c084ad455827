#include "tests/support/channel.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

#include <openssl/err.h>
#include <poll.h>

namespace danki::support {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::chrono::seconds kSendTimeout{300};

[[noreturn]] void throw_ssl(const std::string& what) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  throw std::runtime_error(what + ": " + text.data());
}

}  // namespace

TlsContext server_tls_context(const std::string& certificate_path, const std::string& key_path) {
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  if (!context) throw_ssl("TLS");
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_path.c_str()) != 1) throw_ssl(certificate_path);
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_path.c_str(), SSL_FILETYPE_PEM) != 1) throw_ssl(key_path);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}

Channel::Channel(Descriptor fd, int stop_fd) : fd_(std::move(fd)), stop_fd_(stop_fd) {}

bool Channel::fill(std::chrono::milliseconds timeout) {
  auto deadline = std::chrono::steady_clock::now() + timeout;
  auto kept = buffer_.size();
  buffer_.resize(kept + kReadBytes);
  ssize_t got = -1;
  while (fd_) {
    short needs = POLLIN;
    if (ssl_) {
      ERR_clear_error();  // SSL_get_error reads the thread's queue
      got = SSL_read(ssl_.get(), buffer_.data() + kept, kReadBytes);
      if (got > 0) break;
      int error = SSL_get_error(ssl_.get(), static_cast<int>(got));
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) break;
      if (error == SSL_ERROR_WANT_WRITE) needs = POLLOUT;
    } else {
      got = recv(fd_.get(), buffer_.data() + kept, kReadBytes, 0);
      if (got >= 0 || (errno != EAGAIN && errno != EINTR)) break;
    }
    if (!ready(needs, deadline)) {
      got = -1;
      break;
    }
  }
  buffer_.resize(kept + static_cast<std::size_t>(std::max<ssize_t>(0, got)));
  return got > 0;
}

bool Channel::send(std::string_view bytes) {
  auto deadline = std::chrono::steady_clock::now() + kSendTimeout;
  while (!bytes.empty()) {
    if (!fd_) return false;
    ssize_t sent = 0;
    short needs = POLLOUT;
    if (ssl_) {
      ERR_clear_error();
      sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
      int error = sent > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), static_cast<int>(sent));
      if (sent <= 0 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return false;
      if (error == SSL_ERROR_WANT_READ) needs = POLLIN;
    } else {
      sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    }
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (!ready(needs, deadline)) {
      return false;
    }
  }
  return true;
}

bool Channel::accept_tls(SSL_CTX* context) {
  ssl_.reset(SSL_new(context));
  SSL_set_fd(ssl_.get(), fd_.get());
  auto deadline = std::chrono::steady_clock::now() + kSendTimeout;
  while (true) {
    ERR_clear_error();
    int done = SSL_accept(ssl_.get());
    if (done == 1) return true;
    int error = SSL_get_error(ssl_.get(), done);
    short needs = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    if ((error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) || !ready(needs, deadline)) {
      ssl_.reset();
      close();
      return false;
    }
  }
}

const char* Channel::tls_server_name() const {
  const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? "" : name;
}

bool Channel::wait(std::optional<std::chrono::steady_clock::duration> duration) {
  std::optional<std::chrono::steady_clock::time_point> deadline;
  if (duration) deadline = std::chrono::steady_clock::now() + *duration;
  // Data that arrives meanwhile stays in the kernel; only an end of the connection wakes us.
  if (ready(POLLRDHUP, deadline)) return false;
  return deadline && std::chrono::steady_clock::now() >= *deadline;
}

void Channel::close_with_reset() {
  linger no_wait{.l_onoff = 1, .l_linger = 0};
  if (fd_) setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &no_wait, sizeof no_wait);
  fd_.reset();
}

void Channel::close() {
  if (ssl_) SSL_shutdown(ssl_.get());
  fd_.reset();
}

bool Channel::ready(short events, std::optional<std::chrono::steady_clock::time_point> deadline) {
  while (true) {
    int timeout = -1;
    if (deadline) {
      auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) return false;
      timeout = static_cast<int>(std::min<long>(left.count(), 3'600'000));
    }
    std::array<pollfd, 2> watched{{{fd_.get(), events, 0}, {stop_fd_, POLLIN, 0}}};
    int count = poll(watched.data(), watched.size(), timeout);
    if (count < 0 && errno != EINTR) return false;
    if (count <= 0) continue;
    if (watched[1].revents != 0) return false;
    return true;
  }
}

}  // namespace danki::support
