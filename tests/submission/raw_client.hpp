#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace danki::submission::test {

/// A blocking SMTP client that sends what a test says, good or bad. Plain or TLS. Every wait ends after ten seconds.
class RawClient {
 public:
  struct Unconnected {};
  /// Only the socket: connect_to() is next.
  explicit RawClient(Unconnected) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  explicit RawClient(std::uint16_t port, const std::string& from = "127.0.0.1", const std::string& to = "127.0.0.1")
      : RawClient(Unconnected{}) {
    connect_to(port, from, to);
  }
  void connect_to(std::uint16_t port, const std::string& from = "127.0.0.1", const std::string& to = "127.0.0.1") {
    const sockaddr_in source = address(from, 0), target = address(to, port);
    if (fd_ < 0 || ::bind(fd_, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0 ||
        ::connect(fd_, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
      throw std::runtime_error("cannot connect");
    }
  }
  RawClient(RawClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), tls_(std::move(other.tls_)), received_(std::move(other.received_)) {}
  ~RawClient() {
    tls_.reset();
    if (fd_ >= 0) ::close(fd_);
  }

  /// False if the server has gone.
  bool send(std::string_view octets) {
    while (!octets.empty()) {
      const auto sent = tls_ ? SSL_write(tls_.get(), octets.data(), static_cast<int>(octets.size()))
                             : ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      octets.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  /// One reply with all its lines, the last CRLF cut; "" if the connection ended first.
  std::string reply() {
    std::size_t line = 0;
    while (true) {
      const std::size_t end = received_.find("\r\n", line);
      if (end == std::string::npos) {
        if (!receive()) return "";
        continue;
      }
      const bool is_last = end - line < 4 || received_[line + 3] != '-';
      line = end + 2;
      if (!is_last) continue;
      std::string text = received_.substr(0, end);
      received_.erase(0, line);
      return text;
    }
  }
  std::string command(std::string_view line) {
    send(std::string(line) + "\r\n");
    return reply();
  }
  /// Code and enhanced status of the reply.
  std::string code(std::string_view line) { return command(line).substr(0, 9); }
  /// True when the server closes and says nothing more.
  bool is_closed() { return received_.empty() && !receive(); }
  bool has_input(std::chrono::milliseconds wait) {
    pollfd waiting{fd_, POLLIN, 0};
    return !received_.empty() || ::poll(&waiting, 1, static_cast<int>(wait.count())) > 0;
  }
  void finish_sending() { ::shutdown(fd_, SHUT_WR); }

  bool start_tls() {
    static SSL_CTX* const context = SSL_CTX_new(TLS_client_method());  // lives as long as the program
    tls_.reset(SSL_new(context));
    SSL_set_fd(tls_.get(), fd_);
    return SSL_connect(tls_.get()) == 1;
  }
  bool ehlo_and_auth() {
    return reply().starts_with("220") && command("EHLO client.example").starts_with("250") &&
           command("AUTH PLAIN AHNpZ251cABzZWNyZXQ=").starts_with("235");
  }

 private:
  static sockaddr_in address(const std::string& text, std::uint16_t port) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(port);
    ::inet_pton(AF_INET, text.c_str(), &result.sin_addr);
    return result;
  }
  bool receive() {
    char buffer[4096];
    if (!tls_ || SSL_pending(tls_.get()) == 0) {
      pollfd waiting{fd_, POLLIN, 0};
      if (::poll(&waiting, 1, 10'000) <= 0) return false;
    }
    const auto got = tls_ ? SSL_read(tls_.get(), buffer, sizeof buffer) : ::recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    received_.append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  struct FreeSsl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  int fd_ = -1;
  std::unique_ptr<SSL, FreeSsl> tls_;
  std::string received_;
};

}  // namespace danki::submission::test
