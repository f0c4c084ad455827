#include "bench/sink_server.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <system_error>

#include <fmt/core.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace danki::bench {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::size_t kMaxControlLine = 4096;

/// The next word of `text`, which loses it.
std::string_view take_word(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  auto word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  while (text.starts_with(' ')) text.remove_prefix(1);
  return word;
}

std::string counters_json(const SinkCounters& counters) {
  return fmt::format(R"("connections":{},"messages":{},"recipients":{},"bytes":{},"refused":{})", counters.connections,
                     counters.messages, counters.recipients, counters.bytes, counters.refused);
}

}  // namespace

struct SinkServer::Watched {
  enum class Kind { Signals, ControlListener, Listener, Connection, Control };
  Watched(Kind kind_, support::Descriptor fd_) : kind(kind_), fd(std::move(fd_)) {}
  virtual ~Watched() = default;

  Kind kind;
  support::Descriptor fd;
};

struct SinkServer::Listener : Watched {
  explicit Listener(support::Descriptor fd_) : Watched(Kind::Listener, std::move(fd_)) {}
  std::string name;
  SinkCounters counters;
};

struct SinkServer::Connection : Watched {
  Connection(support::Descriptor fd_, SinkSession session_)
      : Watched(Kind::Connection, std::move(fd_)), session(std::move(session_)) {}
  SinkSession session;
  std::string out;         ///< answers not sent yet
  bool held_back = false;  ///< `out` waits for its due time; nothing is read meanwhile
  bool wants_write = false;
};

struct SinkServer::Control : Watched {
  explicit Control(support::Descriptor fd_) : Watched(Kind::Control, std::move(fd_)) {}
  std::string line;
};

struct SinkServer::DueReply {
  SteadyTime at;
  int fd;
  Connection* connection;  ///< compared with the open one of that descriptor before use: it may be gone
  bool operator<(const DueReply& other) const { return at > other.at; }  // earliest on top
};

SinkServer::SinkServer(SinkLedger& ledger, int delay_ms)
    : ledger_(ledger), delay_ms_(delay_ms), epoll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(kReadBytes) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&wanted, signal);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  support::Descriptor fd(signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC));
  signals_ = std::make_unique<Watched>(Watched::Kind::Signals, std::move(fd));
  watch(*signals_, EPOLLIN);
}

SinkServer::~SinkServer() {
  if (!control_path_.empty()) unlink(control_path_.c_str());
}

support::Endpoint SinkServer::listen(const support::Endpoint& endpoint) {
  auto listener = std::make_unique<Listener>(support::listen_on(endpoint));
  auto where = support::local_endpoint(listener->fd.get());
  listener->name = where.to_string();
  watch(*listener, EPOLLIN);
  listeners_.push_back(std::move(listener));
  return where;
}

void SinkServer::listen_for_control(const std::string& path) {
  control_listener_ = std::make_unique<Watched>(Watched::Kind::ControlListener, support::listen_on_unix(path));
  control_path_ = path;
  watch(*control_listener_, EPOLLIN);
}

void SinkServer::set_alternate_replies(std::array<std::string, kSinkStages> replies) {
  alternate_ = std::move(replies);
}

void SinkServer::run() {
  std::array<epoll_event, 256> events;
  while (running_) {
    int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), milliseconds_to_next_due());
    if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "epoll_wait");
    for (int i = 0; i < count; ++i) {
      auto& watched = *static_cast<Watched*>(events[i].data.ptr);
      if (!watched.fd) continue;  // closed by an earlier event of this batch
      switch (watched.kind) {
        case Watched::Kind::Signals:
          on_signal();
          break;
        case Watched::Kind::ControlListener:
          accept_control();
          break;
        case Watched::Kind::Listener:
          accept_all(static_cast<Listener&>(watched));
          break;
        case Watched::Kind::Connection:
          on_connection(static_cast<Connection&>(watched), events[i].events);
          break;
        case Watched::Kind::Control:
          on_control(static_cast<Control&>(watched));
          break;
      }
    }
    send_due();
    closed_.clear();
  }
  ledger_.flush();
}

std::string SinkServer::stats_json() const {
  std::string json =
      fmt::format(R"({{{},"open":{},"with_header":{},"first_message_at":{:.6f},"last_message_at":{:.6f})",
                  counters_json(ledger_.totals), open_.size(), ledger_.with_header, ledger_.first_message_at,
                  ledger_.last_message_at);
  json += R"(,"listeners":{)";
  std::string_view comma;
  for (const auto& listener : listeners_) {
    json += fmt::format(R"({}"{}":{{{}}})", comma, listener->name, counters_json(listener->counters));
    comma = ",";
  }
  json += R"(},"clients":{)";
  comma = "";
  for (const auto& [address, counters] : clients_) {
    json += fmt::format(R"({}"{}":{{{}}})", comma, address, counters_json(counters));
    comma = ",";
  }
  return json + "}}";
}

void SinkServer::accept_all(Listener& listener) {
  while (true) {
    support::Descriptor fd(accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;  // EAGAIN, or a client that is gone already
    int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SinkCounters& client = clients_[support::peer_endpoint(fd.get()).host()];
    auto connection = std::make_unique<Connection>(std::move(fd), SinkSession(ledger_, listener.counters, client));
    Connection& accepted = *connection;
    watch(accepted, EPOLLIN);
    open_[accepted.fd.get()] = std::move(connection);
    accepted.session.greet(accepted.out);
    answer(accepted);
  }
}

void SinkServer::on_connection(Connection& connection, unsigned events) {
  if (events & EPOLLOUT) send_pending(connection);
  if (connection.fd && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_from(connection);
}

void SinkServer::read_from(Connection& connection) {
  auto got = recv(connection.fd.get(), buffer_.data(), buffer_.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return close(connection);
  connection.session.receive({buffer_.data(), static_cast<std::size_t>(got)}, connection.out);
  if (!connection.out.empty()) answer(connection);
}

void SinkServer::answer(Connection& connection) {
  if (delay_ms_ <= 0) return send_pending(connection);
  if (connection.held_back) return;
  connection.held_back = true;
  epoll_event nothing{.events = 0, .data = {.ptr = static_cast<Watched*>(&connection)}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &nothing);
  due_.push(
      {std::chrono::steady_clock::now() + std::chrono::milliseconds(delay_ms_), connection.fd.get(), &connection});
}

void SinkServer::send_pending(Connection& connection) {
  auto sent = send(connection.fd.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return close(connection);
  if (sent > 0) connection.out.erase(0, static_cast<std::size_t>(sent));
  if (connection.out.empty() && connection.session.is_over()) return close(connection);
  // While answers wait nothing is read: a client that does not listen cannot fill our memory.
  if (bool wants_write = !connection.out.empty(); wants_write != connection.wants_write) {
    connection.wants_write = wants_write;
    epoll_event event{.events = wants_write ? EPOLLOUT : EPOLLIN, .data = {.ptr = static_cast<Watched*>(&connection)}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
  }
}

void SinkServer::send_due() {
  auto now = std::chrono::steady_clock::now();
  while (!due_.empty() && due_.top().at <= now) {
    DueReply due = due_.top();
    due_.pop();
    auto found = open_.find(due.fd);
    if (found == open_.end() || found->second.get() != due.connection) continue;
    due.connection->held_back = false;
    due.connection->wants_write = true;  // makes send_pending set the events anew
    send_pending(*due.connection);
  }
}

int SinkServer::milliseconds_to_next_due() const {
  if (due_.empty()) return -1;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(due_.top().at - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<long>(0, left.count()));
}

void SinkServer::accept_control() {
  support::Descriptor fd(accept4(control_listener_->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) return;
  auto control = std::make_unique<Control>(std::move(fd));
  watch(*control, EPOLLIN);
  int number = control->fd.get();
  open_[number] = std::move(control);
}

void SinkServer::on_control(Control& control) {
  auto got = recv(control.fd.get(), buffer_.data(), buffer_.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return close(control);
  control.line.append(buffer_.data(), static_cast<std::size_t>(got));
  for (auto end = control.line.find('\n'); end != std::string::npos; end = control.line.find('\n')) {
    std::string answer = obey(control.line.substr(0, end)) + "\n";
    control.line.erase(0, end + 1);
    // Answers are far smaller than a socket buffer; a controller that does not read them is dropped.
    if (send(control.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(answer.size())) {
      return close(control);
    }
  }
  if (control.line.size() > kMaxControlLine) close(control);
}

std::string SinkServer::obey(const std::string& line) {
  std::string_view rest = line;
  auto verb = take_word(rest);
  if (verb == "stats") {
    ledger_.flush();
    return stats_json();
  }
  if (verb == "totals") return "{" + counters_json(ledger_.totals) + "}";
  if (verb == "quit") {
    running_ = false;
    return "ok";
  }
  if (verb == "reset") {
    ledger_.reset();
    for (auto& listener : listeners_) listener->counters = {};
    for (auto& client : clients_) client.second = {};
    return "ok";
  }
  if (verb == "delay") {
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), delay_ms_);
    return error == std::errc{} ? "ok" : "error: delay MILLISECONDS";
  }
  if (verb == "reply") {
    auto where = take_word(rest);
    if (where == "normal") {
      ledger_.replies().fill("");
      return "ok";
    }
    auto stage = parse_sink_stage(where);
    if (!stage || rest.size() < 3) return "error: reply connect|ehlo|mail|rcpt|data|dot CODE TEXT, or reply normal";
    ledger_.replies()[static_cast<std::size_t>(*stage)] = rest;
    return "ok";
  }
  return "error: stats, totals, reply STAGE CODE TEXT, reply normal, delay MILLISECONDS, reset or quit";
}

void SinkServer::on_signal() {
  signalfd_siginfo info;
  while (read(signals_->fd.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGUSR1) {
      running_ = false;
      continue;
    }
    alternate_on_ = !alternate_on_;
    if (alternate_on_) {
      ledger_.replies() = alternate_;
    } else {
      ledger_.replies().fill("");
    }
  }
}

void SinkServer::watch(Watched& watched, unsigned events) {
  epoll_event event{.events = events, .data = {.ptr = &watched}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, watched.fd.get(), &event) != 0) {
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }
}

void SinkServer::close(Watched& watched) {
  auto found = open_.find(watched.fd.get());
  closed_.push_back(std::move(found->second));
  open_.erase(found);
  watched.fd.reset();
}

}  // namespace danki::bench
