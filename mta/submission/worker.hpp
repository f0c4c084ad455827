#pragma once

#include "base/task_scope.hpp"
#include "mta/submission/admission.hpp"
#include "mta/submission/authenticator.hpp"
#include "mta/submission/domain_checker.hpp"
#include "mta/submission/inbox.hpp"
#include "mta/submission/server.hpp"
#include "mta/submission/surroundings.hpp"
#include "mta/submission/tenant_rates.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

namespace danki::submission {

class Session;

inline constexpr std::size_t kReadBufferBytes = 16 * 1024;
using ReadBuffer = std::array<char, kReadBufferBytes>;

/// What the workers share.
struct SharedState {
  SharedState(queue::Spool& spool_, events::EventLog& events_, net::Resolver& resolver_, Ports& ports_,
              const Clock& clock_, const std::shared_ptr<const Options>& options);
  /// Unique over restarts: calendar time in the upper bits.
  std::string next_session_id();

  queue::Spool& spool;
  events::EventLog& events;
  net::Resolver& resolver;
  Ports& ports;
  const Clock& clock;
  MemoryBudget memory;
  Admission admission;
  TenantRates rates;
  std::atomic<std::uint64_t> connections{0}, messages{0}, recipients{0}, refused{0};
  std::atomic<std::uint64_t> last_session;
  Authenticator authenticator;
  LineEncoder encoder;
};

/// The listeners and sessions of one I/O thread. Everything but the constructor is called on that thread.
class Worker final : public Surroundings {
 public:
  Worker(SharedState& shared, boost::asio::io_context& context, std::shared_ptr<const Options> options);
  ~Worker() override;

  void start();
  void set_options(std::shared_ptr<const Options> options);
  /// `id` names the listener on all workers.
  void listen(std::uint64_t id, std::shared_ptr<const ListenerOptions> options,
              boost::asio::ip::tcp::acceptor acceptor);
  /// Connections to come obey these.
  void set_listener_options(std::uint64_t id, std::shared_ptr<const ListenerOptions> options);
  void close_listener(std::uint64_t id);
  /// Ends all sessions: those that wait for the spool may finish until `grace` has passed.
  boost::asio::awaitable<void> stop(std::chrono::milliseconds grace);

  // For sessions.
  SharedState& shared() { return shared_; }
  boost::asio::io_context& context() { return context_; }
  DomainChecker& domains() { return domains_; }
  const std::shared_ptr<Inbox>& inbox() const { return inbox_; }
  bool is_stopping() const { return stopping_; }
  std::unique_ptr<ReadBuffer> take_buffer();
  void give_buffer(std::unique_ptr<ReadBuffer> buffer);
  using SessionList = std::list<Session*>;
  SessionList::iterator enter(Session* session);
  void leave(SessionList::iterator entry);

  // Surroundings.
  const std::shared_ptr<const Options>& options() const override { return options_; }
  TimePoint now() const override { return shared_.clock.now(); }
  MemoryBudget& memory() override { return shared_.memory; }
  queue::Refusal spool_refusal() const override { return shared_.spool.refusal(); }
  std::optional<Duration> take_recipient(const TenantOptions& tenant) override;
  void give_back_recipients(const TenantOptions& tenant, std::size_t count) override;
  std::optional<DomainVerdict> known_domain(const std::string& domain) override;
  std::string refuse_recipient(const std::string& tenant, const mail::Address& recipient) override;
  std::string refuse_from_domain(const std::string& tenant, const std::string& from_domain) override;
  void refused() override { shared_.refused.fetch_add(1, std::memory_order_relaxed); }

 private:
  struct Listener {
    std::shared_ptr<const ListenerOptions> options;  // shared with its sessions
    boost::asio::ip::tcp::acceptor acceptor;
  };
  boost::asio::awaitable<void> accept(std::shared_ptr<Listener> listener);
  void note_own_addresses();
  boost::asio::awaitable<void> hang_up_on_the_slow();
  boost::asio::awaitable<void> abandon_after(std::chrono::milliseconds grace);

  SharedState& shared_;
  boost::asio::io_context& context_;
  std::shared_ptr<const Options> options_;                        // shared with transactions that began under it
  std::shared_ptr<Inbox> inbox_;                                  // shared with the threads that answer
  std::map<std::uint64_t, std::shared_ptr<Listener>> listeners_;  // shared with their accepting coroutines
  SessionList sessions_;
  std::vector<std::unique_ptr<ReadBuffer>> buffers_;
  bool stopping_ = false;
  DomainChecker domains_;
  TaskScope housekeeping_;
  TaskScope tasks_;  ///< sessions and acceptors
};

}  // namespace danki::submission
