#pragma once

#include <algorithm>
#include <atomic>
#include <csignal>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace danki::fakes {

/// How a scripted server fails at one of its replies.
enum class Break {
  None,
  Close,     ///< instead of the reply
  Stall,     ///< says nothing until the client goes
  Trickle,   ///< an octet now and then, never a whole reply
  Garbage,   ///< what is no SMTP, then waits for the client to go
  HalfLine,  ///< half of the reply, then closes
};

struct ServerScript {
  std::vector<std::string> ehlo{"mx.test", "PIPELINING", "8BITMIME", "SIZE 50000000"};
  /// Replies by stage ("banner", "ehlo", "helo", "starttls", "rset", "mail", "rcpt", "data", "dot", "quit"), used in
  /// turn; then the normal one. Without CRLF.
  std::map<std::string, std::deque<std::string>> replies;
  std::map<std::string, std::string> to_recipient;  ///< reply to RCPT by address, always
  Break how = Break::None;
  std::size_t break_at = 0;      ///< which reply of the connection, the banner is 0
  int breaking_connections = 1;  ///< the first so many connections break
  SSL_CTX* tls = nullptr;        ///< offers STARTTLS
  bool break_handshake = false;
  std::size_t refuse_content_after = 0;  ///< octets of content after which `refusal` is said and the connection closed
  std::string refusal;
  std::string unasked_after_dot;  ///< said behind the reply to the final dot
};

/// An SMTP server on a loopback port of its own that keeps to a script. Each connection has a thread; the destructor
/// ends them. What it saw may be asked at any time.
class ScriptedServer {
 public:
  struct Message {
    std::string reverse_path;
    std::vector<std::string> recipients;
    std::string content;        ///< stuffing removed
    bool acknowledged = false;  ///< with a whole 250
  };

  explicit ScriptedServer(ServerScript script = {}) : script_(std::move(script)) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener_, 64) != 0) {
      throw std::system_error(errno, std::system_category(), "scripted server");
    }
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~ScriptedServer() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    ::close(listener_);
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::uint16_t port() const { return port_; }
  /// Taken with a positive reply, whether it reached the client or not.
  std::vector<Message> messages() const { return locked(messages_); }
  std::size_t message_count() const {
    std::lock_guard lock(mutex_);
    return messages_.size();
  }
  Message last_message() const {
    std::lock_guard lock(mutex_);
    return messages_.back();
  }
  /// Command lines of all connections, without CRLF.
  std::vector<std::string> commands() const { return locked(commands_); }
  std::size_t connections() const { return connections_; }

 private:
  struct Gone {};

  struct Wire {
    int fd;
    SSL* ssl = nullptr;
    std::string buffer;
    std::size_t replies = 0;
    bool breaks = false;

    ~Wire() {
      if (ssl != nullptr) SSL_free(ssl);
    }
    void read_more() {
      char octets[16384];
      const auto count = ssl != nullptr ? static_cast<ssize_t>(SSL_read(ssl, octets, sizeof octets))
                                        : ::recv(fd, octets, sizeof octets, 0);
      if (count <= 0) throw Gone{};
      buffer.append(octets, static_cast<std::size_t>(count));
    }
    std::string line() {
      while (true) {
        if (const std::size_t end = buffer.find("\r\n"); end != std::string::npos) {
          std::string text = buffer.substr(0, end);
          buffer.erase(0, end + 2);
          return text;
        }
        read_more();
      }
    }
    void say(std::string_view text) {
      while (!text.empty()) {
        const auto count = ssl != nullptr
                               ? static_cast<ssize_t>(SSL_write(ssl, text.data(), static_cast<int>(text.size())))
                               : ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (count <= 0) throw Gone{};
        text.remove_prefix(static_cast<std::size_t>(count));
      }
    }
    [[noreturn]] void wait_until_gone() {
      while (true) read_more();
    }
    [[noreturn]] void trickle() {
      while (true) {
        say("2");
        pollfd gone{.fd = fd, .events = POLLIN | POLLRDHUP, .revents = 0};
        ::poll(&gone, 1, 5);  // the pace; ends early when the client goes
        if ((gone.revents & (POLLHUP | POLLRDHUP)) != 0) throw Gone{};
      }
    }
  };

  template <class T>
  T locked(const T& what) const {
    std::lock_guard lock(mutex_);
    return what;
  }

  void accept_all() {
    while (!stopping_) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // each reply is a packet, as a test may want it
      const std::size_t number = connections_++;
      std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd, number] { serve(fd, number); });
    }
  }

  void serve(int fd, std::size_t number) {
    try {
      Wire wire{.fd = fd, .breaks = number < static_cast<std::size_t>(script_.breaking_connections)};
      talk(wire);
    } catch (const Gone&) {
    }
    std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  std::string scripted(const std::string& stage, std::string normal) {
    std::lock_guard lock(mutex_);
    auto& waiting = script_.replies[stage];
    if (waiting.empty()) return normal;
    std::string reply = waiting.front();
    waiting.pop_front();
    return reply;
  }

  bool breaks_now(const Wire& wire) const {
    return wire.breaks && script_.how != Break::None && wire.replies == script_.break_at;
  }

  void answer(Wire& wire, const std::string& reply) {
    const bool breaks = breaks_now(wire);
    ++wire.replies;
    if (!breaks) return wire.say(reply + "\r\n");
    switch (script_.how) {
      case Break::Stall:
        wire.wait_until_gone();
      case Break::Trickle:
        wire.trickle();
      case Break::Garbage:
        wire.say("\x01\x02 this is no SMTP\r\n");
        wire.wait_until_gone();
      case Break::HalfLine:
        wire.say(std::string_view(reply).substr(0, reply.size() / 2));
        throw Gone{};
      default:
        throw Gone{};
    }
  }

  std::string ehlo_reply(bool under_tls) const {
    std::vector<std::string> lines = script_.ehlo;
    if (script_.tls != nullptr && !under_tls) lines.push_back("STARTTLS");
    std::string reply;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i > 0) reply += "\r\n";
      reply += (i + 1 < lines.size() ? "250-" : "250 ") + lines[i];
    }
    return reply;
  }

  static std::string path_of(std::string_view command) {
    const std::size_t begin = command.find('<') + 1;
    return std::string(command.substr(begin, command.find('>') - begin));
  }

  void talk(Wire& wire) {
    Message message;
    bool has_mail = false;
    answer(wire, scripted("banner", "220 mx.test ESMTP"));
    while (true) {
      const std::string line = wire.line();
      {
        std::lock_guard lock(mutex_);
        commands_.push_back(line);
      }
      if (line.starts_with("EHLO ")) {
        answer(wire, scripted("ehlo", ehlo_reply(wire.ssl != nullptr)));
      } else if (line.starts_with("HELO ")) {
        answer(wire, scripted("helo", "250 mx.test"));
      } else if (line == "STARTTLS") {
        start_tls(wire);
      } else if (line == "RSET") {
        message = {};
        has_mail = false;
        answer(wire, scripted("rset", "250 2.0.0 forgotten"));
      } else if (line.starts_with("MAIL FROM:")) {
        const std::string reply = has_mail ? "503 5.5.1 nested MAIL" : scripted("mail", "250 2.1.0 ok");
        if (reply.starts_with('2')) {
          has_mail = true;
          message.reverse_path = path_of(line);
        }
        answer(wire, reply);
      } else if (line.starts_with("RCPT TO:")) {
        take_recipient(wire, message, path_of(line), has_mail);
      } else if (line == "DATA") {
        const bool empty = message.recipients.empty();
        const std::string reply = scripted("data", empty ? "554 5.5.1 no valid recipients" : "354 go ahead");
        answer(wire, reply);
        if (!reply.starts_with('3')) continue;
        take_content(wire, message);
        message = {};
        has_mail = false;
      } else if (line == "QUIT") {
        answer(wire, scripted("quit", "221 2.0.0 bye"));
        return;
      } else {
        answer(wire, "500 5.5.2 what?");
      }
    }
  }

  void start_tls(Wire& wire) {
    const std::string reply = scripted("starttls", "220 2.0.0 go ahead");
    answer(wire, reply);
    if (!reply.starts_with('2')) return;
    if (script_.break_handshake) {
      wire.read_more();
      wire.say("this is no TLS record at all, whatever was said before\r\n");
      throw Gone{};
    }
    wire.buffer.clear();
    wire.ssl = SSL_new(script_.tls);
    SSL_set_fd(wire.ssl, wire.fd);
    if (SSL_accept(wire.ssl) != 1) throw Gone{};
  }

  void take_recipient(Wire& wire, Message& message, std::string address, bool has_mail) {
    std::string reply = has_mail ? scripted("rcpt", "250 2.1.5 ok") : "503 5.5.1 MAIL first";
    if (const auto own = script_.to_recipient.find(address); has_mail && own != script_.to_recipient.end()) {
      reply = own->second;
    }
    if (reply.starts_with('2')) message.recipients.push_back(std::move(address));
    answer(wire, reply);
  }

  void take_content(Wire& wire, Message& message) {
    while (true) {
      const std::size_t seen = message.content.size() + wire.buffer.size();
      if (script_.refuse_content_after > 0 && seen > script_.refuse_content_after) {
        wire.say(script_.refusal + "\r\n");
        throw Gone{};
      }
      if (wire.buffer.find("\r\n") == std::string::npos) {
        wire.read_more();
        continue;
      }
      std::string line = wire.line();
      if (line == ".") break;
      if (line.starts_with('.')) line.erase(0, 1);
      message.content += line + "\r\n";
    }
    std::string reply = scripted("dot", "250 2.0.0 taken");
    if (reply.starts_with('2') && !message.recipients.empty()) {
      message.acknowledged = !breaks_now(wire);
      std::lock_guard lock(mutex_);
      messages_.push_back(message);
    }
    if (!script_.unasked_after_dot.empty()) reply += "\r\n" + script_.unasked_after_dot;
    answer(wire, reply);
  }

  ServerScript script_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> connections_{0};
  mutable std::mutex mutex_;
  std::vector<int> open_;
  std::vector<Message> messages_;
  std::vector<std::string> commands_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace danki::fakes
