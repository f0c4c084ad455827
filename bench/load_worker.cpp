#include "bench/load_worker.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

#include <fmt/core.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace danki::bench {
namespace {

constexpr std::size_t kMaxReplyBytes = 64 * 1024;

std::string base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k <= bytes.size() ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

std::string auth_plain(const std::string& user_and_password) {
  auto colon = user_and_password.find(':');
  std::string initial(1, '\0');  // RFC 4616 section 2: authzid NUL authcid NUL passwd
  initial += user_and_password.substr(0, colon);
  initial += '\0';
  if (colon != std::string::npos) initial += user_and_password.substr(colon + 1);
  return "AUTH PLAIN " + base64(initial) + "\r\n";
}

float milliseconds_between(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<float, std::milli>(to - from).count();
}

}  // namespace

struct LoadWorker::Session {
  enum class State { Connecting, Greeting, Ehlo, Auth, Waiting, Mail, Rcpt, Data, Dot, Rset, Quit, Ended };

  support::Descriptor fd;
  State state = State::Connecting;
  std::string in;                ///< reply bytes whose line end has not come yet
  std::string out;               ///< commands not sent yet
  std::string content;           ///< own copy of the template
  std::size_t content_sent = 0;  ///< of `content` or of the lone dot
  std::size_t content_end = 0;   ///< 0: none is being sent
  bool wants_write = false;

  bool has_message = false;  ///< took a number that is not settled yet
  uint64_t number = 0;
  int tries = 0;               ///< of this message
  int failed_connections = 0;  ///< since the last accepted message
  int recipients_answered = 0;
  int recipients_accepted = 0;
  int refusal = 0;  ///< first refusing code of this transaction
  SteadyTime mail_at;
  SteadyTime dot_at;
};

void LoadResult::add(const LoadResult& other) {
  sent += other.sent;
  accepted += other.accepted;
  unknown += other.unknown;
  given_up += other.given_up;
  retries += other.retries;
  connections += other.connections;
  connections_lost += other.connections_lost;
  for (auto [code, count] : other.refused) refused[code] += count;
  dot_ms.insert(dot_ms.end(), other.dot_ms.begin(), other.dot_ms.end());
  transaction_ms.insert(transaction_ms.end(), other.transaction_ms.begin(), other.transaction_ms.end());
  last_accepted_at = std::max(last_accepted_at, other.last_accepted_at);
}

LoadWorker::LoadWorker(LoadRun& run, int sessions)
    : run_(run), options_(run.options), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  for (int i = 0; i < sessions; ++i) {
    sessions_.push_back(std::make_unique<Session>());
    sessions_.back()->content = run.message.wire();
  }
}

LoadWorker::~LoadWorker() = default;

LoadResult LoadWorker::run() {
  open_sessions_ = sessions_.size();
  for (auto& session : sessions_) connect(*session);
  std::array<epoll_event, 64> events;
  auto deadline = run_.started_at + std::chrono::duration<double>(options_.timeout_seconds);
  while (open_sessions_ > 0) {
    auto now = std::chrono::steady_clock::now();
    if (now >= deadline) break;
    auto wake_at = std::chrono::time_point_cast<SteadyTime::duration>(deadline);
    if (!waits_.empty()) wake_at = std::min(wake_at, waits_.top().until);
    auto milliseconds = std::max<long>(0, std::chrono::ceil<std::chrono::milliseconds>(wake_at - now).count());
    int count =
        epoll_wait(epoll_.get(), events.data(), events.size(), static_cast<int>(std::min(milliseconds, 60000L)));
    for (int i = 0; i < count; ++i) on_event(*static_cast<Session*>(events[i].data.ptr), events[i].events);
    wake_due();
  }
  for (auto& session : sessions_) {
    if (!session->has_message) continue;
    if (session->state == Session::State::Dot && session->content_end == 0) {
      ++result_.unknown;
    } else {
      ++result_.given_up;
    }
  }
  return std::move(result_);
}

void LoadWorker::connect(Session& session) {
  session.in.clear();
  session.out.clear();
  session.content_end = 0;
  session.wants_write = false;
  session.state = Session::State::Greeting;
  session.fd = support::Descriptor(socket(run_.server.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!session.fd) throw std::runtime_error("no socket: too many open files?");
  int on = 1;
  setsockopt(session.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ++result_.connections;
  if (::connect(session.fd.get(), run_.server.address(), run_.server.length) != 0 && errno != EINPROGRESS) {
    return lost(session);
  }
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &session}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, session.fd.get(), &event);
}

void LoadWorker::on_event(Session& session, unsigned events) {
  if (!session.fd) return;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_from(session);
  if (session.fd && (events & EPOLLOUT)) send_pending(session);
}

void LoadWorker::read_from(Session& session) {
  std::array<char, 4096> buffer;
  auto got = recv(session.fd.get(), buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return lost(session);
  session.in.append(buffer.data(), static_cast<std::size_t>(got));
  std::size_t start = 0;
  for (auto end = session.in.find('\n', start); end != std::string::npos; end = session.in.find('\n', start)) {
    std::string_view line(session.in.data() + start, end - start);
    start = end + 1;
    if (line.size() < 3) return lost(session);  // not SMTP
    if (line.size() > 3 && line[3] == '-') continue;
    on_reply(session, (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
    if (!session.fd || session.in.empty()) return;  // closed or connected anew by what the reply led to
  }
  session.in.erase(0, start);
  if (session.in.size() > kMaxReplyBytes) return lost(session);
}

void LoadWorker::on_reply(Session& session, int code) {
  using enum Session::State;
  if (code == 421 && session.state != Quit) {
    ++result_.refused[code];
    return lost(session);
  }
  bool ok = code / 100 == 2;
  switch (session.state) {
    case Greeting:
      if (!ok) {
        ++result_.refused[code];
        return lost(session);
      }
      session.state = Ehlo;
      return command(session, "EHLO " + options_.helo + "\r\n");
    case Ehlo:
      if (!ok) {
        ++result_.refused[code];
        return lost(session);
      }
      if (options_.auth.empty()) return next_message(session);
      session.state = Auth;
      return command(session, auth_plain(options_.auth));
    case Auth:
      if (!ok) throw std::runtime_error(fmt::format("AUTH PLAIN was answered {}", code));
      return next_message(session);
    case Mail:
      if (!ok && session.refusal == 0) session.refusal = code;
      session.state = Rcpt;
      if (options_.pipelining) return;
      return ok ? send_recipient(session) : refused(session, code);
    case Rcpt:
      ++session.recipients_answered;
      if (ok) ++session.recipients_accepted;
      if (!ok && session.refusal == 0) session.refusal = code;
      if (session.recipients_answered < options_.rcpts_per_message) {
        if (!options_.pipelining) send_recipient(session);
        return;
      }
      session.state = Data;
      if (options_.pipelining) return;
      return session.recipients_accepted > 0 ? command(session, "DATA\r\n") : refused(session, session.refusal);
    case Data:
      return on_data_reply(session, code);
    case Dot:
      return on_dot_reply(session, code);
    case Rset:
      return next_message(session);
    case Quit:
      session.fd.reset();
      session.in.clear();
      return has_ended(std::chrono::steady_clock::now()) && !session.has_message ? finish(session) : connect(session);
    case Connecting:
    case Waiting:
    case Ended:
      return lost(session);  // a reply nobody asked for
  }
}

void LoadWorker::next_message(Session& session) {
  auto now = std::chrono::steady_clock::now();
  if (!session.has_message) {
    bool ends = has_ended(now);
    if (!ends) {
      session.number = run_.next_number.fetch_add(1, std::memory_order_relaxed);
      ends = session.number >= static_cast<uint64_t>(options_.count);
    }
    if (ends) {
      session.state = Session::State::Quit;
      return command(session, "QUIT\r\n");
    }
    session.has_message = true;
    session.tries = 0;
    run_.message.stamp(session.content, session.number);
    if (options_.rate > 0) {
      auto due = run_.started_at + std::chrono::duration<double>(static_cast<double>(session.number) / options_.rate);
      if (due > now) return wait(session, std::chrono::time_point_cast<SteadyTime::duration>(due));
    }
  }
  start_transaction(session);
}

void LoadWorker::start_transaction(Session& session) {
  session.state = Session::State::Mail;
  session.recipients_answered = 0;
  session.recipients_accepted = 0;
  session.refusal = 0;
  ++session.tries;
  session.mail_at = std::chrono::steady_clock::now();
  std::string text = "MAIL FROM:<" + options_.from + ">\r\n";
  if (options_.pipelining) {
    for (int i = 0; i < options_.rcpts_per_message; ++i) text += recipient(session.number, i);
    text += "DATA\r\n";
  }
  command(session, text);
}

void LoadWorker::send_recipient(Session& session) {
  command(session, recipient(session.number, session.recipients_answered));
}

void LoadWorker::on_data_reply(Session& session, int code) {
  if (code != 354) return refused(session, session.refusal != 0 ? session.refusal : code);
  session.state = Session::State::Dot;
  session.content_end = session.content.size();
  // Pipelined DATA may be answered 354 although every RCPT was refused; then an empty message is sent (RFC 2920 3.1).
  session.content_sent = session.recipients_accepted > 0 ? 0 : session.content_end - 3;
  send_pending(session);
}

void LoadWorker::on_dot_reply(Session& session, int code) {
  if (code / 100 != 2) return refused(session, session.refusal != 0 ? session.refusal : code);
  auto now = std::chrono::steady_clock::now();
  if (run_.acked_fd >= 0) {
    std::string line = run_.message.sequence(session.number) + "\n";
    if (write(run_.acked_fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      throw std::runtime_error("the acked file cannot be written");
    }
  }
  ++result_.accepted;
  result_.last_accepted_at = now;
  if (options_.latency) {
    result_.dot_ms.push_back(milliseconds_between(session.dot_at, now));
    result_.transaction_ms.push_back(milliseconds_between(session.mail_at, now));
  }
  session.has_message = false;
  session.failed_connections = 0;
  if (!options_.connection_per_message) return next_message(session);
  session.state = Session::State::Quit;
  command(session, "QUIT\r\n");
}

void LoadWorker::refused(Session& session, int code) {
  ++result_.refused[code];
  if (code / 100 == 4 && session.tries <= options_.retry) {
    ++result_.retries;
    auto delay = std::chrono::milliseconds(options_.retry_delay_ms);
    return wait(session, std::chrono::steady_clock::now() + delay);
  }
  ++result_.given_up;
  session.has_message = false;
  session.state = Session::State::Rset;
  command(session, "RSET\r\n");
}

void LoadWorker::command(Session& session, std::string_view text) {
  session.out += text;
  send_pending(session);
}

void LoadWorker::send_pending(Session& session) {
  bool blocked = false;
  while (!blocked && !session.out.empty()) {
    auto sent = send(session.fd.get(), session.out.data(), session.out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return lost(session);
    blocked = sent < 0;
    if (sent > 0) session.out.erase(0, static_cast<std::size_t>(sent));
  }
  while (!blocked && session.content_end > 0) {
    auto left = session.content_end - session.content_sent;
    auto sent = send(session.fd.get(), session.content.data() + session.content_sent, left, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return lost(session);
    blocked = sent < 0;
    if (sent > 0) session.content_sent += static_cast<std::size_t>(sent);
    if (session.content_sent == session.content_end) {
      session.content_end = 0;
      session.dot_at = std::chrono::steady_clock::now();
      ++result_.sent;
    }
  }
  if (blocked == session.wants_write) return;
  session.wants_write = blocked;
  epoll_event event{.events = EPOLLIN | (blocked ? unsigned{EPOLLOUT} : 0u), .data = {.ptr = &session}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, session.fd.get(), &event);
}

void LoadWorker::lost(Session& session) {
  bool was_last = session.state == Session::State::Quit;
  // Once the end of data is out, the server may have taken the message although nobody told us: to send it again would
  // make a duplicate that is not the server's doing.
  bool may_be_taken = session.state == Session::State::Dot && session.content_end == 0;
  session.fd.reset();
  session.in.clear();
  if (was_last) return finish(session);
  ++result_.connections_lost;
  if (session.has_message && may_be_taken) {
    ++result_.unknown;
    session.has_message = false;
  }
  if (++session.failed_connections > options_.retry) return finish(session);
  ++result_.retries;
  wait(session, std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.retry_delay_ms));
}

void LoadWorker::wait(Session& session, SteadyTime until) {
  session.state = Session::State::Waiting;
  waits_.push({until, &session});
}

void LoadWorker::wake_due() {
  auto now = std::chrono::steady_clock::now();
  while (!waits_.empty() && waits_.top().until <= now) {
    Session& session = *waits_.top().session;
    waits_.pop();
    if (session.state != Session::State::Waiting) continue;
    if (!session.fd) {
      connect(session);
    } else if (session.tries > 0) {
      // A transaction that was refused is closed before the message is tried again.
      session.state = Session::State::Rset;
      command(session, "RSET\r\n");
    } else {
      start_transaction(session);
    }
  }
}

void LoadWorker::finish(Session& session) {
  if (session.state == Session::State::Ended) return;
  if (session.has_message) ++result_.given_up;
  session.has_message = false;
  session.state = Session::State::Ended;
  session.fd.reset();
  --open_sessions_;
}

std::string LoadWorker::recipient(uint64_t number, int index) const {
  auto per_message = static_cast<uint64_t>(options_.same_domain ? 1 : options_.rcpts_per_message);
  auto which = number * per_message + (options_.same_domain ? 0 : static_cast<uint64_t>(index));
  std::string text = "RCPT TO:<" + options_.local_part;
  if (options_.rcpts_per_message > 1) text += std::to_string(index);
  text += '@';
  text += run_.domains[which % run_.domains.size()];
  text += ">\r\n";
  return text;
}

bool LoadWorker::has_ended(SteadyTime now) const {
  if (run_.next_number.load(std::memory_order_relaxed) >= static_cast<uint64_t>(options_.count)) return true;
  return options_.seconds > 0 && now - run_.started_at >= std::chrono::duration<double>(options_.seconds);
}

}  // namespace danki::bench
