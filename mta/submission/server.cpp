#include "mta/submission/server.hpp"

#include "base/log.hpp"
#include "mta/submission/worker.hpp"

#include <algorithm>
#include <future>
#include <mutex>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <fmt/format.h>
#include <sys/socket.h>

namespace danki::submission {
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr int kBacklog = 4096;  // a launch opens thousands of connections at once; the kernel's limit cuts it

using Acceptors = std::vector<tcp::acceptor>;  ///< one for each worker, bound to the same address

std::string to_text(const tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                    : fmt::format("{}:{}", address, endpoint.port());
}

constexpr int kBindTries = 20;
constexpr std::chrono::milliseconds kBindPause{50};

boost::system::error_code bind_to(tcp::acceptor& acceptor, const tcp::endpoint& endpoint, bool shares_port) {
  boost::system::error_code ec;
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  // "[::]" means IPv6 only, so that it can stand beside "0.0.0.0".
  if (!ec && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true), ec);
  const int on = 1;
  if (!ec && shares_port && ::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    ec = {errno, boost::system::system_category()};
  }
  if (!ec) acceptor.bind(endpoint, ec);
  return ec;
}

/// Whether one client could reach both.
bool overlap(const tcp::endpoint& a, const tcp::endpoint& b) {
  if (a.port() != b.port() || a.protocol() != b.protocol()) return false;
  return a.address() == b.address() || a.address().is_unspecified() || b.address().is_unspecified();
}

/// `beside_ours`: a listener of ours that is about to close stands on part of the address.
Result<Acceptors> bind_everywhere(IoThreads& threads, tcp::endpoint endpoint, bool beside_ours) {
  const auto failed = [&](const boost::system::error_code& ec) {
    return std::unexpected(
        Error{std::error_code(ec.value(), std::system_category()), "cannot listen on " + to_text(endpoint)});
  };
  if (endpoint.port() != 0 && !beside_ours) {
    // SO_REUSEPORT would silently share the port with another process of ours: ask once without it. Beside our own
    // listener that would always be refused; there such a process could not have started itself.
    // A predecessor that has just ended may hold it for a moment: seen once, in tests/crash/stop_test.py.
    boost::system::error_code ec = asio::error::address_in_use;
    for (int tries = 0; tries < kBindTries && ec == asio::error::address_in_use; ++tries) {
      if (tries > 0) std::this_thread::sleep_for(kBindPause);
      tcp::acceptor probe(threads.context(0));
      ec = bind_to(probe, endpoint, false);  // not listening: a client that reached it would hold the port
    }
    if (ec) return failed(ec);
  }
  Acceptors acceptors;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    tcp::acceptor& acceptor = acceptors.emplace_back(threads.context(i));
    auto ec = bind_to(acceptor, endpoint, true);
    if (!ec) acceptor.listen(kBacklog, ec);
    if (ec) return failed(ec);
    endpoint.port(acceptor.local_endpoint().port());
  }
  return acceptors;
}

}  // namespace

struct Server::Impl {
  struct Bound {
    std::uint64_t id;
    tcp::endpoint configured;  ///< port 0: the system chose
    tcp::endpoint actual;
  };

  Impl(IoThreads& threads_, queue::Spool& spool, events::EventLog& events, net::Resolver& resolver, Ports& ports,
       const Clock& clock, std::shared_ptr<const Options> options_)
      : threads(threads_), options(std::move(options_)), shared(spool, events, resolver, ports, clock, options) {
    for (std::size_t i = 0; i < threads.size(); ++i) {
      workers.push_back(std::make_unique<Worker>(shared, threads.context(i), options));
    }
  }

  template <class Work>
  void on_each_worker(Work work) {
    for (std::size_t i = 0; i < workers.size(); ++i) {
      asio::post(threads.context(i), [work, worker = workers[i].get()] { work(*worker); });
    }
  }

  Result<void> apply(std::shared_ptr<const Options> next);
  void show_addresses();
  void listen(std::uint64_t id, std::shared_ptr<const ListenerOptions> listener, Acceptors acceptors);

  IoThreads& threads;
  std::mutex mutex;                        ///< over what follows; held while binding, which may take seconds
  std::shared_ptr<const Options> options;  // shared with workers and transactions
  std::vector<Bound> bound;                ///< in the order of the configuration
  std::uint64_t last_id = 0;
  bool started = false, stopped = false;

  mutable std::mutex addresses_mutex;    ///< never held while anything is waited for
  std::vector<tcp::endpoint> addresses;  ///< of `bound`, for those who only look

  SharedState shared;
  std::vector<std::unique_ptr<Worker>> workers;
};

/// Binds what is new, then tells the workers; nothing has changed if a bind fails.
Result<void> Server::Impl::apply(std::shared_ptr<const Options> next) {
  std::vector<Bound> kept(next->listeners.size());  // id 0: to be bound
  std::vector<Bound> left = bound;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const auto known = std::find_if(left.begin(), left.end(),
                                    [&](const Bound& b) { return b.configured == next->listeners[i].address; });
    if (known == left.end()) continue;
    kept[i] = *known;
    left.erase(known);
  }

  std::vector<Bound> next_bound = kept;
  std::vector<std::optional<Acceptors>> fresh(kept.size());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (kept[i].id != 0) continue;
    const tcp::endpoint& address = next->listeners[i].address;
    const auto in_its_way = [&](const Bound& b) { return b.id != 0 && overlap(b.actual, address); };
    // From 127.0.0.1 to 0.0.0.0 and back: both listen for a moment, so that no client finds nobody and a refused
    // configuration has closed nothing.
    const bool beside_ours = std::any_of(left.begin(), left.end(), in_its_way) &&
                             std::none_of(next_bound.begin(), next_bound.end(), in_its_way);
    auto acceptors = bind_everywhere(threads, address, beside_ours);
    if (!acceptors) return std::unexpected(acceptors.error());
    next_bound[i] = {++last_id, address, acceptors->front().local_endpoint()};
    fresh[i] = std::move(*acceptors);
  }

  options = next;
  bound = next_bound;
  show_addresses();
  shared.memory.set_limit(next->limits.memory_bytes);
  shared.authenticator.set_options(next);
  on_each_worker([next](Worker& worker) { worker.set_options(next); });
  for (const Bound& gone : left) {
    on_each_worker([id = gone.id](Worker& worker) { worker.close_listener(id); });
  }
  for (std::size_t i = 0; i < next_bound.size(); ++i) {
    const std::uint64_t id = next_bound[i].id;
    const std::shared_ptr<const ListenerOptions> listener(next, &next->listeners[i]);
    if (fresh[i]) {
      log::info("listening", {{"address", to_text(next_bound[i].actual)}});
      listen(id, listener, std::move(*fresh[i]));
    } else {
      on_each_worker([id, listener](Worker& worker) { worker.set_listener_options(id, listener); });
    }
  }
  return {};
}

void Server::Impl::show_addresses() {
  std::vector<tcp::endpoint> actual;
  for (const Bound& b : bound) actual.push_back(b.actual);
  std::lock_guard lock(addresses_mutex);
  addresses = std::move(actual);
}

void Server::Impl::listen(std::uint64_t id, std::shared_ptr<const ListenerOptions> listener, Acceptors acceptors) {
  for (std::size_t i = 0; i < workers.size(); ++i) {
    asio::post(threads.context(i),
               [id, listener, worker = workers[i].get(), acceptor = std::move(acceptors[i])]() mutable {
                 worker->listen(id, std::move(listener), std::move(acceptor));
               });
  }
}

Server::Server(IoThreads& threads, queue::Spool& spool, events::EventLog& events, net::Resolver& resolver, Ports& ports,
               const Clock& clock, std::shared_ptr<const Options> options)
    : impl_(std::make_unique<Impl>(threads, spool, events, resolver, ports, clock, std::move(options))) {}

Server::~Server() {
  stop(std::chrono::milliseconds(0));
}

Result<void> Server::start() {
  std::lock_guard lock(impl_->mutex);
  auto applied = impl_->apply(impl_->options);
  if (!applied) return applied;
  impl_->started = true;
  impl_->on_each_worker([](Worker& worker) { worker.start(); });
  return {};
}

Result<void> Server::reload(std::shared_ptr<const Options> options) {
  std::lock_guard lock(impl_->mutex);
  if (impl_->stopped) return {};
  return impl_->apply(std::move(options));
}

void Server::stop(std::chrono::milliseconds grace) {
  {
    std::lock_guard lock(impl_->mutex);
    if (!impl_->started || std::exchange(impl_->stopped, true)) return;
  }
  std::vector<std::future<void>> ends;
  for (std::size_t i = 0; i < impl_->workers.size(); ++i) {
    ends.push_back(asio::co_spawn(impl_->threads.context(i), impl_->workers[i]->stop(grace), asio::use_future));
  }
  for (std::future<void>& end : ends) end.get();
  impl_->shared.authenticator.stop();
  impl_->shared.encoder.stop();
}

Stats Server::stats() const {
  const SharedState& shared = impl_->shared;
  return {.sessions = shared.admission.sessions(),
          .connections = shared.connections.load(std::memory_order_relaxed),
          .messages = shared.messages.load(std::memory_order_relaxed),
          .recipients = shared.recipients.load(std::memory_order_relaxed),
          .refused = shared.refused.load(std::memory_order_relaxed),
          .auth_failures = shared.authenticator.failures()};
}

std::vector<tcp::endpoint> Server::addresses() const {
  std::lock_guard lock(impl_->addresses_mutex);
  return impl_->addresses;
}

}  // namespace danki::submission
