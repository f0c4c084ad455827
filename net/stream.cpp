#include "net/stream.hpp"

#include "net/errc.hpp"
#include "net/tls_session.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <span>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <netinet/in.h>
#include <sys/socket.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

namespace danki::net {
namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

/// Awaited operations answer with their error as a value, and without a coroutine frame of their own.
constexpr auto kAwait = asio::as_tuple(asio::deferred);

/// After so many operations in a row that never had to wait, the others on the thread get their turn.
constexpr unsigned kMaxImmediate = 32;

constexpr std::size_t kMaxTlsRecordBytes = 16384;  // RFC 8446 section 5.1
constexpr milliseconds kLongestLimit = std::chrono::hours(24 * 365);

Error system_error(int number) {
  if (number == ECONNRESET || number == EPIPE) return {std::errc::connection_reset, "closed by peer"};
  return {std::error_code(number, std::system_category())};
}

}  // namespace

struct Stream::State : std::enable_shared_from_this<Stream::State> {
  static constexpr auto kNever = steady_clock::time_point::max();

  tcp::socket socket;
  asio::steady_timer timer;
  steady_clock::time_point deadline = kNever;  ///< of the operation under way
  steady_clock::time_point timer_at = kNever;  ///< when the timer looks next
  bool timed_out = false;
  unsigned immediate = 0;  ///< operations since the last one that waited
  std::unique_ptr<TlsSession> tls;
  std::optional<TlsInfo> tls_info;
  std::string gathered;  ///< several small buffers as one TLS record
  tcp::endpoint remote, local;

  explicit State(tcp::socket s) : socket(std::move(s)), timer(socket.get_executor()) {}

  /// Endpoints are asked for once: events name them after the connection is gone.
  void connected() {
    boost::system::error_code ignored;
    remote = socket.remote_endpoint(ignored);
    local = socket.local_endpoint(ignored);
    socket.set_option(tcp::no_delay(true), ignored);
  }

  void close() {
    boost::system::error_code ignored;
    socket.close(ignored);
    timer.cancel();
    timer_at = kNever;
  }

  void arm(steady_clock::time_point at) {
    timer_at = at;
    timer.expires_at(at);  // ends an earlier wait with operation_aborted
    timer.async_wait([weak = weak_from_this()](boost::system::error_code aborted) {
      if (aborted) return;
      if (const auto state = weak.lock()) state->look_at_deadline();
    });
  }

  void look_at_deadline() {
    const auto now = steady_clock::now();
    if (timer_at > now) return;  // armed anew while this call was on its way
    timer_at = kNever;
    if (deadline == kNever) return;
    if (deadline > now) return arm(deadline);
    timed_out = true;
    close();
  }

  /// Sets the deadline for as long as an operation runs.
  class Limit {
   public:
    Limit(State& state, milliseconds limit) : state_(state) {
      state.deadline = steady_clock::now() + std::clamp(limit, milliseconds(0), kLongestLimit);
      if (state.deadline < state.timer_at) state.arm(state.deadline);
    }
    ~Limit() { state_.deadline = kNever; }
    Limit(const Limit&) = delete;
    Limit& operator=(const Limit&) = delete;

   private:
    State& state_;
  };

  Error closed_error() const {
    if (timed_out) return {std::errc::timed_out, "time limit"};
    return {std::errc::operation_canceled, "closed"};
  }

  Error failure(boost::system::error_code ec) const {
    if (ec == asio::error::operation_aborted || !socket.is_open()) return closed_error();
    if (ec == asio::error::eof) return {std::errc::connection_reset, "closed by peer"};
    return system_error(ec.value());
  }

  bool owes_a_turn() { return ++immediate >= kMaxImmediate; }

  using Self = std::shared_ptr<State>;
  using Buffers = std::array<asio::const_buffer, 3>;
  static asio::awaitable<Result<std::size_t>> read_plain(Self self, asio::mutable_buffer into, milliseconds limit);
  static asio::awaitable<Result<void>> write_plain(Self self, Buffers data, milliseconds limit);
  static asio::awaitable<Result<std::size_t>> read_tls(Self self, asio::mutable_buffer into, milliseconds limit);
  static asio::awaitable<Result<void>> write_tls(Self self, Buffers data, milliseconds limit);
  static asio::awaitable<Result<TlsInfo>> handshake(Self self, milliseconds limit);
  static asio::awaitable<Result<TlsInfo>> refuse_handshake(Error error);
};

asio::awaitable<Result<std::size_t>> Stream::State::read_plain(Self self, asio::mutable_buffer into,
                                                               milliseconds limit) {
  if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  const Limit running(*self, limit);
  self->immediate = 0;  // a read passes through the executor even when octets are there
  auto [ec, octets] = co_await self->socket.async_read_some(into, kAwait);
  if (ec) co_return std::unexpected(self->failure(ec));
  co_return octets;
}

asio::awaitable<Result<void>> Stream::State::write_plain(Self self, Buffers data, milliseconds limit) {
  if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  if (self->owes_a_turn()) {
    self->immediate = 0;
    co_await asio::post(self->socket.get_executor(), kAwait);
    if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  }
  std::array<iovec, 3> parts{};
  for (std::size_t i = 0; i < data.size(); ++i) parts[i] = {const_cast<void*>(data[i].data()), data[i].size()};
  std::span<iovec> left(parts);
  // Nearly always the kernel takes all of it at once, and no deadline is needed.
  std::optional<Limit> running;
  while (true) {
    while (!left.empty() && left.front().iov_len == 0) left = left.subspan(1);
    if (left.empty()) co_return Result<void>();
    msghdr message{};
    message.msg_iov = left.data();
    message.msg_iovlen = left.size();
    const ssize_t sent = ::sendmsg(self->socket.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      auto octets = static_cast<std::size_t>(sent);
      for (iovec& part : left) {
        const std::size_t taken = std::min(octets, part.iov_len);
        part.iov_base = static_cast<char*>(part.iov_base) + taken;
        part.iov_len -= taken;
        octets -= taken;
      }
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) co_return std::unexpected(system_error(errno));
    if (!running) running.emplace(*self, limit);
    self->immediate = 0;
    auto [ec] = co_await self->socket.async_wait(tcp::socket::wait_write, kAwait);
    if (ec || !self->socket.is_open()) co_return std::unexpected(self->failure(ec));
  }
}

asio::awaitable<Result<std::size_t>> Stream::State::read_tls(Self self, asio::mutable_buffer into, milliseconds limit) {
  if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  if (self->owes_a_turn()) {
    self->immediate = 0;
    co_await asio::post(self->socket.get_executor(), kAwait);
    if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  }
  std::optional<Limit> running;
  while (true) {
    const TlsSession::Step step = self->tls->read(into.data(), into.size());
    if (step.need == TlsSession::Need::Nothing) co_return step.octets;
    if (step.need == TlsSession::Need::Failed) co_return std::unexpected(self->tls->error());
    if (!running) running.emplace(*self, limit);
    self->immediate = 0;
    const auto what = step.need == TlsSession::Need::Readable ? tcp::socket::wait_read : tcp::socket::wait_write;
    auto [ec] = co_await self->socket.async_wait(what, kAwait);
    if (ec || !self->socket.is_open()) co_return std::unexpected(self->failure(ec));
  }
}

asio::awaitable<Result<void>> Stream::State::write_tls(Self self, Buffers data, milliseconds limit) {
  if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  if (self->owes_a_turn()) {
    self->immediate = 0;
    co_await asio::post(self->socket.get_executor(), kAwait);
    if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  }
  if (asio::buffer_size(data) <= kMaxTlsRecordBytes && data[0].size() < asio::buffer_size(data)) {
    // One record, one packet: a command, its content's end and the next command must not be three of each.
    self->gathered.clear();
    for (const asio::const_buffer& part : data) {
      self->gathered.append(static_cast<const char*>(part.data()), part.size());
    }
    data = {asio::buffer(self->gathered), {}, {}};
  }
  std::optional<Limit> running;
  for (asio::const_buffer part : data) {
    while (part.size() > 0) {
      const TlsSession::Step step = self->tls->write(part.data(), part.size());
      if (step.need == TlsSession::Need::Nothing) {
        part += step.octets;
        continue;
      }
      if (step.need == TlsSession::Need::Failed) co_return std::unexpected(self->tls->error());
      if (!running) running.emplace(*self, limit);
      self->immediate = 0;
      const auto what = step.need == TlsSession::Need::Readable ? tcp::socket::wait_read : tcp::socket::wait_write;
      auto [ec] = co_await self->socket.async_wait(what, kAwait);
      if (ec || !self->socket.is_open()) co_return std::unexpected(self->failure(ec));
    }
  }
  co_return Result<void>();
}

asio::awaitable<Result<TlsInfo>> Stream::State::handshake(Self self, milliseconds limit) {
  if (!self->socket.is_open()) co_return std::unexpected(self->closed_error());
  const Limit running(*self, limit);
  while (true) {
    const TlsSession::Step step = self->tls->handshake();
    if (step.need == TlsSession::Need::Nothing) {
      self->tls_info = self->tls->info();
      co_return *self->tls_info;
    }
    if (step.need == TlsSession::Need::Failed) co_return std::unexpected(self->tls->error());
    const auto what = step.need == TlsSession::Need::Readable ? tcp::socket::wait_read : tcp::socket::wait_write;
    auto [ec] = co_await self->socket.async_wait(what, kAwait);
    if (ec || !self->socket.is_open()) co_return std::unexpected(self->failure(ec));
  }
}

asio::awaitable<Result<TlsInfo>> Stream::State::refuse_handshake(Error error) {
  co_return std::unexpected(std::move(error));
}

Stream::Stream(tcp::socket socket) : state_(std::make_shared<State>(std::move(socket))) {
  state_->connected();
}

Stream::~Stream() {
  if (state_) state_->close();
}

Stream::Stream(Stream&&) noexcept = default;

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this == &other) return *this;
  if (state_) state_->close();
  state_ = std::move(other.state_);
  return *this;
}

asio::awaitable<Result<std::size_t>> Stream::read_some(asio::mutable_buffer into, milliseconds limit) {
  assert(into.size() > 0);
  return state_->tls ? State::read_tls(state_, into, limit) : State::read_plain(state_, into, limit);
}

asio::awaitable<Result<void>> Stream::write(asio::const_buffer data, milliseconds limit) {
  return write(State::Buffers{data, asio::const_buffer(), asio::const_buffer()}, limit);
}

asio::awaitable<Result<void>> Stream::write(std::array<asio::const_buffer, 3> data, milliseconds limit) {
  return state_->tls ? State::write_tls(state_, data, limit) : State::write_plain(state_, data, limit);
}

asio::awaitable<Result<TlsInfo>> Stream::accept_tls(SSL_CTX* context, milliseconds limit) {
  assert(!state_->tls);
  state_->tls = TlsSession::server(context, state_->socket.native_handle());
  if (!state_->tls) return State::refuse_handshake({Errc::TlsFailed, "out of memory"});
  return State::handshake(state_, limit);
}

asio::awaitable<Result<TlsInfo>> Stream::connect_tls(SSL_CTX* context, std::string server_name, milliseconds limit) {
  assert(!state_->tls);
  // Sessions are resumed from the same source only: a ticket would tell the peer that two of our addresses are one
  // sender.
  const std::string whom = server_name + ' ' + state_->remote.address().to_string() + ' ' +
                           std::to_string(state_->remote.port()) + ' ' + state_->local.address().to_string();
  state_->tls = TlsSession::client(context, state_->socket.native_handle(), server_name, whom);
  if (!state_->tls) return State::refuse_handshake({Errc::TlsFailed, "cannot start a session for " + server_name});
  return State::handshake(state_, limit);
}

bool Stream::is_tls() const {
  return state_->tls_info.has_value();
}

const std::optional<TlsInfo>& Stream::tls_info() const {
  return state_->tls_info;
}

tcp::endpoint Stream::remote() const {
  return state_->remote;
}

tcp::endpoint Stream::local() const {
  return state_->local;
}

void Stream::close() {
  state_->close();
}

void Stream::interrupt() {
  boost::system::error_code ignored;
  state_->socket.cancel(ignored);
}

void Stream::close_gracefully() {
  if (!state_->socket.is_open()) return;
  if (state_->tls) state_->tls->send_close_notify();
  boost::system::error_code ignored;
  state_->socket.shutdown(tcp::socket::shutdown_send, ignored);
  // Closing with unread octets makes the kernel send a reset, which may destroy our last reply on its way. Take what
  // has already come, within reason.
  std::array<char, 4096> unread;
  for (int i = 0; i < 16; ++i) {
    if (::recv(state_->socket.native_handle(), unread.data(), unread.size(), MSG_DONTWAIT) <= 0) break;
  }
  state_->close();
}

bool Stream::is_open() const {
  return state_->socket.is_open();
}

namespace {

/// The source's address must be there; the port is chosen at connect, when the kernel also knows the other end, so that
/// one source may use the same port towards many hosts.
Result<void> bind_source(tcp::socket& socket, const asio::ip::address& source) {
  const int on = 1;
  ::setsockopt(socket.native_handle(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  boost::system::error_code ec;
  socket.bind(tcp::endpoint(source, 0), ec);
  if (ec) return std::unexpected(Error{Errc::BindFailed, source.to_string() + ": " + ec.message()});
  return {};
}

}  // namespace

asio::awaitable<Result<Stream>> connect(asio::any_io_executor executor, tcp::endpoint remote,
                                        std::optional<asio::ip::address> local_address, milliseconds limit) {
  tcp::socket socket(executor);
  boost::system::error_code ec;
  socket.open(remote.protocol(), ec);
  if (ec) co_return std::unexpected(system_error(ec.value()));
  if (local_address && !local_address->is_unspecified()) {
    if (local_address->is_v6() != remote.address().is_v6()) {
      co_return std::unexpected(Error{std::errc::address_family_not_supported,
                                      local_address->to_string() + " to " + remote.address().to_string()});
    }
    if (auto bound = bind_source(socket, *local_address); !bound) co_return std::unexpected(bound.error());
  }
  Stream stream(std::move(socket));
  Stream::State& state = *stream.state_;
  const Stream::State::Limit running(state, limit);
  auto [failed] = co_await state.socket.async_connect(remote, kAwait);
  if (failed || !state.socket.is_open()) co_return std::unexpected(state.failure(failed));
  state.connected();
  co_return std::move(stream);
}

}  // namespace danki::net
