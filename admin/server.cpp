#include "admin/server.hpp"

#include "admin/api.hpp"
#include "admin/bearer_tokens.hpp"
#include "admin/http_session.hpp"
#include "admin/listener.hpp"
#include "base/log.hpp"
#include "base/task_scope.hpp"
#include "base/worker_pool.hpp"

#include <algorithm>
#include <future>
#include <list>
#include <optional>
#include <thread>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace danki::admin {
namespace asio = boost::asio;

namespace {

using Local = asio::local::stream_protocol;
using asio::ip::tcp;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr unsigned kWorkers = 2;
constexpr std::size_t kMaxQueuedWork = 64;
constexpr std::chrono::milliseconds kAcceptPause{100};  // when descriptors run out: others may give some back

/// The connections of one listener.
struct Door {
  std::string name;                                  ///< for the log
  const BearerTokens* tokens;                        ///< null: the file's mode guards it
  std::list<std::shared_ptr<HttpSession>> sessions;  // shared with the coroutine that runs each
};

std::pair<dev_t, ino_t> identity_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

}  // namespace

struct Server::Impl {
  Impl(Ports& ports, queue::Spool& spool, const Clock& clock, AdminOptions options_, HttpLimits limits_)
      : options(std::move(options_)),
        limits(limits_),
        workers("admin-work", kWorkers, kMaxQueuedWork),
        api(ports, spool, clock, workers) {}

  Result<void> open();
  Result<void> open_unix();
  Result<void> open_tcp();
  void run();
  void stop();
  template <class Acceptor>
  asio::awaitable<void> accept(Acceptor& acceptor, Door& door);
  bool make_room(Door& door);
  asio::awaitable<void> serve(Door& door, std::list<std::shared_ptr<HttpSession>>::iterator place);
  asio::awaitable<void> shut_down();

  const AdminOptions options;
  const HttpLimits limits;
  std::shared_ptr<asio::io_context> context = std::make_shared<asio::io_context>(1);  // shared with late answers
  WorkerPool workers;
  Api api;
  std::optional<BearerTokens> tokens;
  std::optional<Local::acceptor> unix_acceptor;
  std::optional<tcp::acceptor> tcp_acceptor;
  std::pair<dev_t, ino_t> socket_identity{};
  Door unix_door{"unix", nullptr, {}}, tcp_door{"tcp", nullptr, {}};
  asio::executor_work_guard<asio::io_context::executor_type> work{context->get_executor()};
  std::thread thread;
  TaskScope tasks{context->get_executor()};
};

Result<void> Server::Impl::open() {
  if (auto opened = open_tcp(); !opened) return opened;
  return open_unix();
}

Result<void> Server::Impl::open_unix() {
  if (options.socket.empty()) return {};
  auto acceptor = listen_unix(*context, options.socket.string(), options.socket_mode);
  if (!acceptor) return std::unexpected(acceptor.error());
  unix_acceptor.emplace(std::move(*acceptor));
  socket_identity = identity_of(options.socket.string());
  return {};
}

Result<void> Server::Impl::open_tcp() {
  if (options.listen.empty()) return {};
  if (options.token_file.empty()) {
    return std::unexpected(Error{std::errc::invalid_argument, "admin.listen needs admin.token_file"});
  }
  auto loaded = BearerTokens::load(options.token_file);
  if (!loaded) return std::unexpected(loaded.error());
  tokens = std::move(*loaded);
  tcp_door.tokens = &*tokens;
  auto acceptor = listen_tcp(*context, options.listen);
  if (!acceptor) return std::unexpected(acceptor.error());
  tcp_acceptor.emplace(std::move(*acceptor));
  boost::system::error_code ignored;
  if (!tcp_acceptor->local_endpoint(ignored).address().is_loopback()) {
    log::warn("admin tokens cross the network in the clear", {{"listen", options.listen}});
  }
  return {};
}

void Server::Impl::run() {
  if (unix_acceptor) tasks.spawn("admin accept unix", accept(*unix_acceptor, unix_door));
  if (tcp_acceptor) tasks.spawn("admin accept tcp", accept(*tcp_acceptor, tcp_door));
  thread = std::thread([this] {
    name_this_thread("admin");
    context->run();
  });
}

template <class Acceptor>
asio::awaitable<void> Server::Impl::accept(Acceptor& acceptor, Door& door) {
  asio::steady_timer pause(*context);
  for (;;) {
    auto [failure, socket] = co_await acceptor.async_accept(kNoThrow);
    if (failure) {
      if (failure == asio::error::operation_aborted) co_return;
      log::warn("admin accept failed", {{"listener", door.name}, {"error", failure.message()}});
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kNoThrow);
      continue;
    }
    if (!make_room(door)) continue;  // closes the socket
    asio::generic::stream_protocol::socket generic(std::move(socket));
    door.sessions.push_back(std::make_shared<HttpSession>(std::move(generic), api, door.tokens, context, limits));
    if (!tasks.spawn("admin session", serve(door, std::prev(door.sessions.end())))) co_return;
  }
}

/// Connections that say nothing must not keep an operator out: the one that has been there longest without a whole
/// request goes.
bool Server::Impl::make_room(Door& door) {
  if (door.sessions.size() < kMaxConnections) return true;
  const auto idle =
      std::find_if(door.sessions.begin(), door.sessions.end(), [](const auto& s) { return s->is_waiting(); });
  if (idle == door.sessions.end()) return false;
  (*idle)->close();
  return true;
}

asio::awaitable<void> Server::Impl::serve(Door& door, std::list<std::shared_ptr<HttpSession>>::iterator place) {
  const std::shared_ptr<HttpSession> session = *place;
  try {
    co_await session->run();
  } catch (...) {
    door.sessions.erase(place);
    throw;
  }
  door.sessions.erase(place);
}

asio::awaitable<void> Server::Impl::shut_down() {
  tasks.request_stop();
  boost::system::error_code ignored;
  if (unix_acceptor) unix_acceptor->close(ignored);
  if (tcp_acceptor) tcp_acceptor->close(ignored);
  for (Door* door : {&unix_door, &tcp_door}) {
    for (const auto& session : door->sessions) session->close();
  }
  co_await tasks.join();
}

void Server::Impl::stop() {
  if (!thread.joinable()) return;
  asio::co_spawn(*context, shut_down(), asio::use_future).wait();
  context->stop();
  thread.join();
  workers.stop();
  if (unix_acceptor && identity_of(options.socket.string()) == socket_identity) ::unlink(options.socket.c_str());
}

Server::Server(Ports& ports, queue::Spool& spool, const Clock& clock, AdminOptions options, HttpLimits limits)
    : impl_(std::make_unique<Impl>(ports, spool, clock, std::move(options), limits)) {}

Server::~Server() {
  stop();
}

Result<void> Server::start() {
  if (auto opened = impl_->open(); !opened) return opened;
  impl_->run();
  return {};
}

void Server::stop() {
  impl_->stop();
}

std::uint16_t Server::tcp_port() const {
  boost::system::error_code ignored;
  return impl_->tcp_acceptor ? impl_->tcp_acceptor->local_endpoint(ignored).port() : 0;
}

}  // namespace danki::admin
