#pragma once

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace danki::admin {

struct RawAnswer {
  int status = 0;  ///< 0: the connection ended without one
  std::string head, body;
};

/// A client that sends what it likes. Waits at most half a minute for anything.
class RawConnection {
 public:
  explicit RawConnection(const std::string& unix_path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, unix_path.c_str(), sizeof address.sun_path - 1);
    connect_to(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  explicit RawConnection(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect_to(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  RawConnection(RawConnection&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), received_(std::move(other.received_)) {}
  RawConnection& operator=(RawConnection&&) = delete;
  ~RawConnection() {
    if (fd_ >= 0) ::close(fd_);
  }

  /// False when the server has closed meanwhile.
  bool send(std::string_view data) {
    while (!data.empty()) {
      const ssize_t sent = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      data.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// The next answer with a Content-Length.
  RawAnswer read_answer() {
    RawAnswer answer;
    std::size_t head_end = std::string::npos;
    while ((head_end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more()) return answer;
    }
    answer.head = received_.substr(0, head_end + 2);
    received_.erase(0, head_end + 4);
    answer.status = std::stoi(answer.head.substr(9, 3));
    const std::size_t field = answer.head.find("Content-Length: ");
    const std::size_t length = field == std::string::npos ? 0 : std::stoul(answer.head.substr(field + 16));
    while (received_.size() < length) {
      if (!read_more()) break;
    }
    answer.body = received_.substr(0, length);
    received_.erase(0, std::min(length, received_.size()));
    return answer;
  }

  /// True when the server closes the connection, whatever it says before.
  bool wait_for_close() {
    while (read_more()) received_.clear();
    return is_closed_;
  }
  bool closes_within(std::chrono::milliseconds limit) {
    while (read_more(limit)) received_.clear();
    return is_closed_;
  }

 private:
  void connect_to(const sockaddr* address, socklen_t length) {
    if (::connect(fd_, address, length) != 0) throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  }

  bool read_more(std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(limit.count())) != 1) return false;
    char buffer[16 * 1024];
    const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
    is_closed_ = got <= 0;
    if (got > 0) received_.append(buffer, static_cast<std::size_t>(got));
    return got > 0;
  }

  int fd_;
  std::string received_;
  bool is_closed_ = false;
};

}  // namespace danki::admin
