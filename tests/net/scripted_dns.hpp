#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace danki::net::test {

/// What a question said, as far as a script cares.
struct AskedQuestion {
  unsigned id = 0;
  bool wants_ad = false;
  std::string name;  ///< as sent
  unsigned type = 0;
};

/// A DNS server over UDP on a free loopback port that answers what the script says: any number of datagrams, also none.
/// The script runs on the server's thread.
class ScriptedDns {
 public:
  using Script = std::function<std::vector<std::string>(const AskedQuestion&)>;

  explicit ScriptedDns(Script script) : script_(std::move(script)) {
    socket_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    stop_ = ::eventfd(0, EFD_CLOEXEC);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (socket_ < 0 || stop_ < 0 || ::bind(socket_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      throw std::runtime_error("cannot start the scripted DNS server");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }

  ~ScriptedDns() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto ignored = ::write(stop_, &one, sizeof one);
    thread_.join();
    ::close(socket_);
    ::close(stop_);
  }
  ScriptedDns(const ScriptedDns&) = delete;
  ScriptedDns& operator=(const ScriptedDns&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int questions() const { return questions_; }

 private:
  void serve() {
    while (true) {
      pollfd ready[2] = {{socket_, POLLIN, 0}, {stop_, POLLIN, 0}};
      if (::poll(ready, 2, -1) < 0 || (ready[1].revents & POLLIN) != 0) return;
      std::string octets(4096, '\0');
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const auto got =
          ::recvfrom(socket_, octets.data(), octets.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (got < 12) continue;
      octets.resize(static_cast<std::size_t>(got));
      ++questions_;
      for (const std::string& reply : script_(read(octets))) {
        ::sendto(socket_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
      }
    }
  }

  static AskedQuestion read(const std::string& octets) {
    const auto at = [&](std::size_t i) { return i < octets.size() ? static_cast<unsigned char>(octets[i]) : 0u; };
    AskedQuestion question{.id = at(0) << 8 | at(1), .wants_ad = (at(3) & 0x20) != 0};
    std::size_t i = 12;
    while (i < octets.size() && at(i) != 0) {
      if (!question.name.empty()) question.name += '.';
      question.name += octets.substr(i + 1, at(i));
      i += at(i) + 1;
    }
    question.type = at(i + 1) << 8 | at(i + 2);
    return question;
  }

  Script script_;
  int socket_ = -1, stop_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> questions_ = 0;
  std::thread thread_;
};

}  // namespace danki::net::test
