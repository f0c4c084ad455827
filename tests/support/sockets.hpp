#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace danki::support {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

/// An IPv4 or IPv6 address with a port, as sockets take it.
struct Endpoint {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  int port() const;
  void set_port(int port);
  std::string host() const;       ///< "127.0.0.2" or "::1"
  std::string to_string() const;  ///< "127.0.0.2:25" or "[::1]:25"
};

/// "127.0.0.2:2525", "[::1]:2525" or an address alone, which takes `default_port`.
/// Throws std::invalid_argument with a text for people.
Endpoint parse_endpoint(std::string_view text, int default_port);

/// As parse_endpoint, and "127.0.0.2-127.0.0.51:2525" names each IPv4 address of the range, ends included.
std::vector<Endpoint> parse_endpoints(std::string_view text, int default_port);

Endpoint local_endpoint(int fd);
Endpoint peer_endpoint(int fd);

/// A listening, non-blocking socket. Throws std::system_error.
Descriptor listen_on(const Endpoint& endpoint);

/// A listening, non-blocking unix socket at `path`; a leftover socket file is replaced. Throws std::system_error.
Descriptor listen_on_unix(const std::string& path);

}  // namespace danki::support
