#include "mta/submission/worker.hpp"

#include "base/log.hpp"
#include "mta/submission/networks.hpp"
#include "mta/submission/session.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>

namespace danki::submission {
namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::deferred);
constexpr std::size_t kMaxIdleBuffers = 64;  // a megabyte a thread
constexpr milliseconds kAcceptPause{100};    // out of file descriptors: until others close
constexpr milliseconds kLongestSweep{1000}, kShortestSweep{10};

}  // namespace

SharedState::SharedState(queue::Spool& spool_, events::EventLog& events_, net::Resolver& resolver_, Ports& ports_,
                         const Clock& clock_, const std::shared_ptr<const Options>& options)
    : spool(spool_),
      events(events_),
      resolver(resolver_),
      ports(ports_),
      clock(clock_),
      memory(options->limits.memory_bytes),
      last_session(static_cast<std::uint64_t>(to_millis(clock_.now())) << 16),
      authenticator(clock_, options),
      encoder(memory) {}

std::string SharedState::next_session_id() {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::uint64_t number = last_session.fetch_add(1, std::memory_order_relaxed) + 1;
  std::string id(15, '0');  // 60 bits: milliseconds until the year 2527
  for (auto digit = id.rbegin(); digit != id.rend(); ++digit, number >>= 4) *digit = kDigits[number & 0xF];
  return id;
}

Worker::Worker(SharedState& shared, asio::io_context& context, std::shared_ptr<const Options> options)
    : shared_(shared),
      context_(context),
      options_(std::move(options)),
      inbox_(std::make_shared<Inbox>(context)),
      domains_(context.get_executor(), shared.resolver, shared.clock),
      housekeeping_(context.get_executor()),
      tasks_(context.get_executor()) {}

Worker::~Worker() {
  inbox_->close();
}

void Worker::start() {
  housekeeping_.spawn("smtp idle", hang_up_on_the_slow());
}

void Worker::set_options(std::shared_ptr<const Options> options) {
  options_ = std::move(options);
  domains_.forget();  // routes may have changed
}

void Worker::listen(std::uint64_t id, std::shared_ptr<const ListenerOptions> options, tcp::acceptor acceptor) {
  if (stopping_) return;
  auto listener = std::make_shared<Listener>(std::move(options), std::move(acceptor));
  listeners_[id] = listener;
  note_own_addresses();
  tasks_.spawn("smtp accept", accept(std::move(listener)));
}

void Worker::set_listener_options(std::uint64_t id, std::shared_ptr<const ListenerOptions> options) {
  if (const auto entry = listeners_.find(id); entry != listeners_.end()) entry->second->options = std::move(options);
}

void Worker::close_listener(std::uint64_t id) {
  const auto entry = listeners_.find(id);
  if (entry == listeners_.end()) return;
  boost::system::error_code ignored;
  entry->second->acceptor.close(ignored);
  listeners_.erase(entry);
  note_own_addresses();
}

/// Every worker has an acceptor of every listener.
void Worker::note_own_addresses() {
  std::vector<tcp::endpoint> listening;
  for (const auto& [id, listener] : listeners_) {
    boost::system::error_code ignored;
    listening.push_back(listener->acceptor.local_endpoint(ignored));
  }
  domains_.set_own(OwnAddresses(listening));
}

asio::awaitable<void> Worker::accept(std::shared_ptr<Listener> listener) {
  bool is_exhausted = false;  // said once, not ten times a second
  while (listener->acceptor.is_open()) {
    auto [ec, socket] = co_await listener->acceptor.async_accept(kAwait);
    if (!listener->acceptor.is_open()) break;
    if (ec == asio::error::connection_aborted) continue;  // the client has gone again
    if (ec) {  // EMFILE, ENFILE, ENOBUFS, ENOMEM: it lasts, and asking again at once would take a processor
      if (!std::exchange(is_exhausted, true)) log::warn("cannot accept connections", {{"error", ec.message()}});
      asio::steady_timer pause(context_, kAcceptPause);
      co_await pause.async_wait(kAwait);
      continue;
    }
    is_exhausted = false;
    shared_.connections.fetch_add(1, std::memory_order_relaxed);
    tasks_.spawn("smtp session", Session::serve(*this, listener->options, std::move(socket)));
  }
}

asio::awaitable<void> Worker::hang_up_on_the_slow() {
  asio::steady_timer timer(context_);
  while (!stopping_) {
    timer.expires_after(std::clamp(options_->limits.idle / 8, kShortestSweep, kLongestSweep));
    co_await timer.async_wait(kAwait);
    const SteadyPoint now = shared_.clock.steady();
    for (Session* session : sessions_) session->look_at_deadline(now);
  }
}

asio::awaitable<void> Worker::stop(milliseconds grace) {
  stopping_ = true;
  for (const auto& [id, listener] : listeners_) {
    boost::system::error_code ignored;
    listener->acceptor.close(ignored);
  }
  listeners_.clear();
  for (Session* session : sessions_) session->stop();
  housekeeping_.spawn("smtp grace", abandon_after(grace));
  co_await tasks_.join();
  housekeeping_.request_stop();
  domains_.request_stop();
  co_await housekeeping_.join();
  co_await domains_.join();
  inbox_->close();
}

asio::awaitable<void> Worker::abandon_after(milliseconds grace) {
  asio::steady_timer timer(context_, grace);
  co_await timer.async_wait(kAwait);
  for (Session* session : sessions_) session->abandon();
}

std::unique_ptr<ReadBuffer> Worker::take_buffer() {
  if (buffers_.empty()) return std::make_unique_for_overwrite<ReadBuffer>();
  auto buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void Worker::give_buffer(std::unique_ptr<ReadBuffer> buffer) {
  if (buffers_.size() < kMaxIdleBuffers) buffers_.push_back(std::move(buffer));
}

Worker::SessionList::iterator Worker::enter(Session* session) {
  return sessions_.insert(sessions_.end(), session);
}

void Worker::leave(SessionList::iterator entry) {
  sessions_.erase(entry);
}

std::optional<Duration> Worker::take_recipient(const TenantOptions& tenant) {
  return shared_.rates.take(tenant, shared_.clock.steady());
}

void Worker::give_back_recipients(const TenantOptions& tenant, std::size_t count) {
  shared_.rates.give_back(tenant, count);
}

std::optional<DomainVerdict> Worker::known_domain(const std::string& domain) {
  if (const auto verdict = domains_.known(domain)) return verdict;
  const bool is_routed = std::any_of(options_->routed_domains.begin(), options_->routed_domains.end(),
                                     [&](const std::string& pattern) { return mail::domain_matches(domain, pattern); });
  if (is_routed) {
    domains_.accept(domain);
    return DomainVerdict::Accepts;
  }
  if (!domain.starts_with('[')) return std::nullopt;
  const auto address = parse_address_literal(domain);  // needs no name server
  return address && domains_.is_own(*address) ? DomainVerdict::Loop : DomainVerdict::Accepts;
}

std::string Worker::refuse_recipient(const std::string& tenant, const mail::Address& recipient) {
  return shared_.ports.refuse_recipient(tenant, recipient);
}

std::string Worker::refuse_from_domain(const std::string& tenant, const std::string& from_domain) {
  return shared_.ports.refuse_from_domain(tenant, from_domain);
}

}  // namespace danki::submission
