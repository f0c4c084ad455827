#include "tests/support/sockets.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include <arpa/inet.h>
#include <fmt/core.h>
#include <sys/un.h>
#include <unistd.h>

namespace danki::support {
namespace {

constexpr int kBacklog = 1024;

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

int parse_port(std::string_view text) {
  int port = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port < 0 || port > 65535) {
    throw std::invalid_argument(fmt::format("\"{}\" is not a port", text));
  }
  return port;
}

Endpoint make_endpoint(const std::string& host, int port) {
  Endpoint endpoint;
  auto& v4 = reinterpret_cast<sockaddr_in&>(endpoint.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(endpoint.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<uint16_t>(port));
    endpoint.length = sizeof v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<uint16_t>(port));
    endpoint.length = sizeof v6;
  } else {
    throw std::invalid_argument(fmt::format("\"{}\" is not an address", host));
  }
  return endpoint;
}

uint32_t v4_number(const Endpoint& endpoint) {
  return ntohl(reinterpret_cast<const sockaddr_in&>(endpoint.storage).sin_addr.s_addr);
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Descriptor::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

int Endpoint::port() const {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return 0;
}

void Endpoint::set_port(int port) {
  auto number = htons(static_cast<uint16_t>(port));
  if (family() == AF_INET) reinterpret_cast<sockaddr_in&>(storage).sin_port = number;
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6&>(storage).sin6_port = number;
}

std::string Endpoint::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage).sin_addr, text, sizeof text);
  } else if (family() == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr, text, sizeof text);
  }
  return text;
}

std::string Endpoint::to_string() const {
  return family() == AF_INET6 ? fmt::format("[{}]:{}", host(), port()) : fmt::format("{}:{}", host(), port());
}

Endpoint parse_endpoint(std::string_view text, int default_port) {
  if (text.starts_with('[')) {
    auto bracket = text.find(']');
    if (bracket == std::string_view::npos) throw std::invalid_argument(fmt::format("\"{}\" lacks a ]", text));
    auto rest = text.substr(bracket + 1);
    if (!rest.empty() && rest[0] != ':') throw std::invalid_argument(fmt::format("\"{}\" is not an address", text));
    return make_endpoint(std::string(text.substr(1, bracket - 1)),
                         rest.empty() ? default_port : parse_port(rest.substr(1)));
  }
  auto colon = text.find(':');
  bool is_bare_v6 = colon != std::string_view::npos && text.find(':', colon + 1) != std::string_view::npos;
  if (colon == std::string_view::npos || is_bare_v6) return make_endpoint(std::string(text), default_port);
  return make_endpoint(std::string(text.substr(0, colon)), parse_port(text.substr(colon + 1)));
}

std::vector<Endpoint> parse_endpoints(std::string_view text, int default_port) {
  auto dash = text.find('-');
  if (dash == std::string_view::npos) return {parse_endpoint(text, default_port)};
  Endpoint last = parse_endpoint(text.substr(dash + 1), default_port);
  Endpoint first = parse_endpoint(text.substr(0, dash), last.port());
  if (first.family() != AF_INET || last.family() != AF_INET || v4_number(first) > v4_number(last) ||
      v4_number(last) - v4_number(first) > 4096) {
    throw std::invalid_argument(fmt::format("\"{}\" is not a range of at most 4096 IPv4 addresses", text));
  }
  std::vector<Endpoint> endpoints;
  for (uint32_t number = v4_number(first); number <= v4_number(last); ++number) {
    Endpoint endpoint = last;
    reinterpret_cast<sockaddr_in&>(endpoint.storage).sin_addr.s_addr = htonl(number);
    endpoints.push_back(endpoint);
  }
  return endpoints;
}

Endpoint local_endpoint(int fd) {
  Endpoint endpoint;
  endpoint.length = sizeof endpoint.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&endpoint.storage), &endpoint.length) != 0) endpoint = {};
  return endpoint;
}

Endpoint peer_endpoint(int fd) {
  Endpoint endpoint;
  endpoint.length = sizeof endpoint.storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&endpoint.storage), &endpoint.length) != 0) endpoint = {};
  return endpoint;
}

Descriptor listen_on(const Endpoint& endpoint) {
  Descriptor listener(socket(endpoint.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) throw_errno("socket");
  int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener.get(), endpoint.address(), endpoint.length) != 0) throw_errno("bind " + endpoint.to_string());
  if (listen(listener.get(), kBacklog) != 0) throw_errno("listen " + endpoint.to_string());
  return listener;
}

Descriptor listen_on_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::invalid_argument("socket path too long: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) throw_errno("socket");
  unlink(path.c_str());
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw_errno("bind " + path);
  if (listen(listener.get(), kBacklog) != 0) throw_errno("listen " + path);
  return listener;
}

}  // namespace danki::support
