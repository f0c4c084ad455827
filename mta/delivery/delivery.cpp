#include "mta/delivery/delivery.hpp"

#include "base/log.hpp"
#include "base/mailbox.hpp"
#include "base/task_scope.hpp"
#include "mail/address.hpp"
#include "mta/delivery/can_bind.hpp"
#include "mta/delivery/content_room.hpp"
#include "mta/delivery/disk_work.hpp"
#include "mta/delivery/egress_connection.hpp"
#include "mta/delivery/first_scan.hpp"
#include "mta/delivery/lane_retry.hpp"
#include "mta/delivery/resolution.hpp"
#include "net/tls.hpp"

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <unordered_map>

#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/resource.h>

namespace danki::delivery {

namespace asio = boost::asio;

namespace {

constexpr unsigned kDiskThreads = 2;
constexpr std::size_t kMaxReads = 100000;  // that wait for the disk; the scheduler holds fewer messages in memory
// Contents that are read again for sending: what 256 connections need for messages of 256 KiB, and what 7 need for
// those of 25 MiB. Two budgets, because a few large messages on slow connections would keep all other mail waiting.
constexpr std::uint64_t kSmallContent = 256u << 10;
constexpr std::uint64_t kSmallContents = 64u << 20;
constexpr std::uint64_t kLargeContents = 192u << 20;
constexpr std::chrono::milliseconds kGraceCheck{20};

using Task = std::move_only_function<void(Scheduler&)>;
using IoTask = std::move_only_function<void()>;

}  // namespace

Scheduler::Limits scheduler_limits(const queue::Spool& spool) {
  Scheduler::Limits limits;
  limits.max_unrecorded = spool.max_unrecorded();
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) limits.connections = most_connections(files.rlim_cur);
  return limits;
}

struct Delivery::Impl final : SchedulerPorts, EgressConnection::Owner {
  /// The connections of one I/O thread, and the way to it.
  struct Io {
    explicit Io(asio::io_context& c) : context(c), scope(std::make_unique<TaskScope>(c.get_executor())) {}
    asio::io_context& context;
    Mailbox<IoTask> mailbox;
    std::unordered_map<ConnectionId, std::unique_ptr<EgressConnection>> connections;
    std::unique_ptr<TaskScope> scope;  // last: its tasks refer to the connections
  };

  Impl(IoThreads& threads, queue::Spool& spool_, events::EventLog& events_, net::Resolver& resolver_,
       delivery::Ports& ports_, const Clock& clock_, std::shared_ptr<const Options> options_,
       std::shared_ptr<const dkim::KeyRing> keys)
      : spool(spool_),
        events(events_),
        resolver(resolver_),
        ports(ports_),
        clock(clock_),
        options(options_),
        random(random_seed()),
        scheduler(*this, clock_, random, options_, scheduler_limits(spool_)),
        disk("delivery-disk", kDiskThreads, kMaxReads),
        prepare_stage(static_cast<unsigned>(threads.size()), spool_, events_, clock_,
                      prepare_options(*options_, std::move(keys)), [this](std::vector<Prepare::Finished> finished) {
                        tell([finished = std::move(finished)](Scheduler& s) mutable {
                          for (Prepare::Finished& one : finished) s.on_prepared(one.item, std::move(one.error));
                        });
                      }) {
    for (std::size_t i = 0; i < threads.size(); ++i) io.push_back(std::make_unique<Io>(threads.context(i)));
    for (TlsPolicy policy : {TlsPolicy::Opportunistic, TlsPolicy::Require}) {
      auto made = net::client_tls_context(policy == TlsPolicy::Require);
      if (!made) {
        log::error("TLS for delivery is not available", {{"error", made.error().message()}});
        continue;
      }
      (policy == TlsPolicy::Require ? verifying_tls : opportunistic_tls) = *made;
    }
  }

  static PrepareOptions prepare_options(const Options& options, std::shared_ptr<const dkim::KeyRing> keys) {
    return {.keys = std::move(keys), .send_unsigned = options.send_unsigned, .sign_max_age = options.sign_max_age};
  }

  // --- towards the scheduler's thread ---

  void tell(Task task) {
    if (mailbox.push(std::move(task))) {
      // The lock makes the push visible to a thread that is about to wait.
      std::lock_guard lock(wake_mutex);
      wake.notify_one();
    }
  }

  void run() {
    name_this_thread("scheduler");
    std::vector<Task> batch;
    for (;;) {
      {
        std::unique_lock lock(wake_mutex);
        auto pending = [this] { return ended || mailbox.size() > 0; };
        auto next = scheduler.next_wake();
        if (!next) {
          wake.wait(lock, pending);
        } else if (TimePoint now = clock.now(); *next > now) {
          wake.wait_for(lock, std::min<Duration>(*next - now, std::chrono::seconds(1)), pending);
        }
        if (ended && mailbox.size() == 0) return;
      }
      mailbox.take_all(batch);
      for (Task& task : batch) task(scheduler);
      batch.clear();
      scheduler.run();
    }
  }

  // --- SchedulerPorts: on the scheduler's thread ---

  Io& io_of(ConnectionId id) { return *io[id % io.size()]; }

  void on_io(Io& target, IoTask task) {
    if (!target.mailbox.push(std::move(task))) return;
    asio::post(target.context, [&target] {
      std::vector<IoTask> batch;
      target.mailbox.take_all(batch);
      for (IoTask& next : batch) next();
    });
  }

  void open(ConnectionPlan plan) override {
    plan.session.tls_context = opportunistic_tls.get();
    plan.session.verifying_context = verifying_tls.get();
    Io& target = io_of(plan.id);
    on_io(target, [this, &target, plan = std::move(plan)]() mutable {
      ConnectionId id = plan.id;
      auto connection = std::make_unique<EgressConnection>(target.context.get_executor(), std::move(plan), *this);
      EgressConnection& started = *connection;
      target.connections.emplace(id, std::move(connection));
      if (!target.scope->spawn("egress connection", live(target, id, started))) {
        target.connections.erase(id);
        connect_failed(id,
                       SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "shutting down"});
      }
    });
  }

  asio::awaitable<void> live(Io& target, ConnectionId id, EgressConnection& connection) {
    co_await connection.run();
    target.connections.erase(id);
  }

  /// On the connection's thread. Gone: its on_closed is on the way and returns what it did not begin.
  void on_connection(ConnectionId id, std::move_only_function<void(EgressConnection&)> act) {
    Io& target = io_of(id);
    on_io(target, [&target, id, act = std::move(act)]() mutable {
      auto found = target.connections.find(id);
      if (found != target.connections.end()) act(*found->second);
    });
  }

  void assign(ConnectionId id, std::vector<WorkItem> items) override {
    on_connection(id, [items = std::move(items)](EgressConnection& c) mutable { c.assign(std::move(items)); });
  }
  void close(ConnectionId id) override {
    on_connection(id, [](EgressConnection& c) { c.close_when_done(); });
  }
  void close_soon(ConnectionId id) override {
    on_connection(id, [](EgressConnection& c) { c.finish_current(); });
  }

  static Error too_much_waits() { return {std::errc::resource_unavailable_try_again, "too much waits for the disk"}; }

  void read_lane(ReadRequest request) override {
    const LaneId lane = request.lane;
    const bool taken = disk.may([this, request = std::move(request)] {
      auto page = spool.read_lane(request.key, request.from, request.until, request.limit);
      if (!page) {
        tell([lane = request.lane, error = page.error()](Scheduler& s) { s.on_read_failed(lane, error); });
      } else {
        tell([lane = request.lane, page = std::move(*page)](Scheduler& s) { s.on_page(lane, page); });
      }
    });
    if (!taken) tell([lane](Scheduler& s) { s.on_read_failed(lane, too_much_waits()); });
  }

  void load(std::vector<std::pair<ItemId, queue::MessageId>> items) override {
    const bool taken = disk.may([this, items] {
      for (const auto& [item, id] : items) {
        auto message = spool.load(id);
        tell([item, message = std::move(message)](Scheduler& s) mutable { s.on_loaded(item, std::move(message)); });
      }
    });
    if (taken) return;
    tell([items = std::move(items)](Scheduler& s) {
      for (const auto& [item, id] : items) s.on_loaded(item, std::unexpected(too_much_waits()));
    });
  }

  void prepare(ItemId item, queue::MessagePtr message) override { prepare_stage.submit(item, std::move(message)); }

  bool is_prepared(const queue::Message& message) override { return prepare_stage.is_prepared(message); }

  void resolve(std::string domain) override {
    std::shared_ptr<const Options> now = options;  // the scheduler's thread is the one that swaps it
    std::uint64_t seed = random.next();
    Io& target = *io.front();
    on_io(target, [this, &target, domain = std::move(domain), now, seed]() mutable {
      target.scope->spawn("resolve", resolve_and_tell(std::move(domain), std::move(now), seed));
    });
  }

  asio::awaitable<void> resolve_and_tell(std::string domain, std::shared_ptr<const Options> now, std::uint64_t seed) {
    TargetQuery query = query_for(domain, *now, seed);
    MxTargets found = co_await resolve_targets(resolver, query);
    route_warnings.note(query, found, clock.steady());
    Resolution resolution = to_resolution(std::move(found));
    tell([domain = std::move(domain), resolution = std::move(resolution)](Scheduler& s) {
      s.on_resolved(domain, resolution);
    });
  }

  void record(std::vector<FinishedAttempt> attempts) override {
    bool reports_due =
        std::any_of(attempts.begin(), attempts.end(), [](const FinishedAttempt& a) { return !a.judged.dsn.empty(); });
    if (!reports_due) {
      record_now(std::move(attempts));
      return;
    }
    // A report is composed where the disk may be read, and stored in the same batch as the outcome it tells of.
    std::vector<FinishedAttempt> plain, with_report;
    for (FinishedAttempt& attempt : attempts)
      (attempt.judged.dsn.empty() ? plain : with_report).push_back(std::move(attempt));
    if (!plain.empty()) record_now(std::move(plain));
    disk.must([this, with_report = std::make_shared<std::vector<FinishedAttempt>>(std::move(with_report))] {
      for (FinishedAttempt& attempt : *with_report) compose_report(attempt);
      record_now(std::move(*with_report));
    });
  }

  void compose_report(FinishedAttempt& attempt) {
    const queue::Message& message = *attempt.judged.outcome.message;
    std::shared_ptr<const std::string> content = message.content();
    std::string read;
    if (!content) {
      auto stored = spool.read_content(message.id);
      if (stored) {
        read = std::move(*stored);
      } else {
        // The report then goes without the original's header section: better than no report.
        log::error("reading a message for its report failed",
                   {{"id", message.id.to_string()}, {"error", stored.error().message()}});
      }
    }
    attempt.judged.outcome.report =
        ports.compose_dsn(message, content ? *content : read, std::move(attempt.judged.dsn));
    attempt.judged.dsn.clear();
  }

  void record_now(std::vector<FinishedAttempt> attempts) {
    std::vector<events::Event> records;
    for (FinishedAttempt& attempt : attempts) {
      for (events::Event& event : attempt.judged.events) records.push_back(std::move(event));
      attempt.judged.events.clear();
    }
    auto outcomes = std::make_shared<std::vector<queue::Outcome>>();
    auto applied = std::make_shared<std::vector<AppliedAttempt>>();
    for (FinishedAttempt& attempt : attempts) {
      applied->push_back({attempt.item, attempt.judged.outcome.remaining});
      outcomes->push_back(std::move(attempt.judged.outcome));
    }
    // First the log, then the spool: a crash in between repeats an attempt, it never hides one.
    events.append(std::move(records), [this, outcomes, applied] {
      spool.record(std::move(*outcomes),
                   [this, applied] { tell([applied](Scheduler& s) { s.on_applied(*applied); }); });
    });
  }

  void reschedule(std::vector<queue::DueEntry> entries, TimePoint due) override {
    auto old = std::make_shared<std::vector<queue::DueEntry>>(entries);
    spool.reschedule(std::move(entries), due,
                     [this, old, due] { tell([old, due](Scheduler& s) { s.on_rescheduled(*old, due); }); });
  }

  void discard(queue::DueEntry entry) override { spool.discard({std::move(entry)}); }

  void event(events::Event record) override { events.append(std::move(record)); }

  bool recording_fails() const override { return spool.write_fails(); }
  bool can_bind(const asio::ip::address& address) override { return delivery::can_bind(address); }

  // --- EgressConnection::Owner: on an I/O thread ---

  void connected(ConnectionId id) override {
    tell([id](Scheduler& s) { s.on_connected(id); });
  }
  void connect_failed(ConnectionId id, SessionFailure failure) override {
    tell([id, failure = std::move(failure)](Scheduler& s) { s.on_connect_failed(id, failure); });
  }
  void report(AttemptReport report) override {
    tell([report = std::move(report)](Scheduler& s) mutable { s.on_report(std::move(report)); });
  }
  void ending(ConnectionId id) override {
    tell([id](Scheduler& s) { s.on_ending(id); });
  }
  void closed(ConnectionId id) override {
    tell([id](Scheduler& s) { s.on_closed(id); });
  }

  asio::awaitable<Result<std::shared_ptr<const std::string>>> read_content(queue::MessagePtr message) override {
    const std::uint64_t octets = message->envelope.size;
    ContentBudget& budget = octets <= kSmallContent ? small_contents : large_contents;
    ContentBudget::Room room = co_await room_for(budget, octets);
    if (stopping) co_return std::unexpected(Error{std::errc::operation_canceled, "delivery ends"});
    auto read = [this, id = message->id] { return spool.read_content(id); };
    Result<std::string> content = co_await from_disk<std::string>(read);
    if (!content) co_return std::unexpected(content.error());
    struct Held {
      std::string content;
      ContentBudget::Room room;
    };
    auto held = std::make_shared<const Held>(std::move(*content), std::move(room));
    co_return std::shared_ptr<const std::string>(held, &held->content);
  }

  // --- coroutines on an I/O thread ---

  /// What `read` gives, read by a thread of the disk's.
  template <class T>
  asio::awaitable<Result<T>> from_disk(std::function<Result<T>()> read) {
    auto executor = co_await asio::this_coro::executor;
    auto initiate = [this, read = std::move(read), executor](auto handler) {
      auto shared = std::make_shared<decltype(handler)>(std::move(handler));
      disk.must([read, executor, shared] {
        Result<T> answer = read();
        asio::post(executor, [shared, answer = std::move(answer)]() mutable { (*shared)(std::move(answer)); });
      });
    };
    co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<T>)>(initiate,
                                                                                            asio::use_awaitable);
  }

  asio::awaitable<void> load_lanes(queue::MessageId last) {
    ScanLanes scan = [this, last] { return from_disk<Lanes>([this, last] { return spool.scan_lanes(last); }); };
    Lanes lanes = co_await first_scan(std::move(scan));
    tell([lanes = std::move(lanes), last](Scheduler& s) { s.on_scanned(lanes, last); });
  }

  void retry(EntrySelector selector, std::function<void(std::uint64_t)> done) {
    LaneRetry::World world{spool, disk, clock, stopping, [this](LaneRetry::Task task) { tell(std::move(task)); }};
    std::make_shared<LaneRetry>(std::move(world), std::move(selector), std::move(done))->start();
  }

  queue::Spool& spool;
  events::EventLog& events;
  net::Resolver& resolver;
  delivery::Ports& ports;
  const Clock& clock;
  std::shared_ptr<const Options> options;  // on the scheduler's thread
  RouteWarnings route_warnings;            // on the first I/O thread
  SeededRandom random;
  net::TlsContext opportunistic_tls, verifying_tls;
  ContentBudget small_contents{kSmallContents}, large_contents{kLargeContents};
  Mailbox<Task> mailbox;
  std::mutex wake_mutex;
  std::condition_variable wake;
  bool ended = false;
  std::atomic<bool> stopping{false};  // for workers: the scheduler may not answer any more
  Scheduler scheduler;
  std::vector<std::unique_ptr<Io>> io;
  DiskWork disk;
  Prepare prepare_stage;
  std::thread thread;
};

Delivery::Delivery(IoThreads& threads, queue::Spool& spool, events::EventLog& events, net::Resolver& resolver,
                   Ports& ports, const Clock& clock, std::shared_ptr<const Options> options,
                   std::shared_ptr<const dkim::KeyRing> keys)
    : impl_(std::make_unique<Impl>(threads, spool, events, resolver, ports, clock, std::move(options),
                                   std::move(keys))) {}

Delivery::~Delivery() {
  if (impl_->thread.joinable()) stop(std::chrono::milliseconds(0));
}

void Delivery::start() {
  Impl& impl = *impl_;
  impl.thread = std::thread([&impl] { impl.run(); });
  // The ids of this scan end where the first message accepted after it begins.
  queue::MessageId last = impl.spool.last_id();
  Impl::Io& first = *impl.io.front();
  impl.on_io(first, [&impl, &first, last] { first.scope->spawn("read lanes", impl.load_lanes(last)); });
}

void Delivery::accepted(std::vector<queue::Accepted> batch) {
  impl_->tell([batch = std::move(batch)](Scheduler& s) mutable { s.on_accepted(std::move(batch)); });
}

void Delivery::reload(std::shared_ptr<const Options> options, std::shared_ptr<const dkim::KeyRing> keys) {
  impl_->prepare_stage.set_options(Impl::prepare_options(*options, std::move(keys)));
  impl_->tell([this, options = std::move(options)](Scheduler& s) {
    impl_->options = options;
    s.set_options(options);
  });
}

void Delivery::stop(std::chrono::milliseconds grace) {
  Impl& impl = *impl_;
  if (!impl.thread.joinable()) return;
  impl.stopping = true;
  std::promise<void> stopped;
  impl.tell([&stopped](Scheduler& s) {
    s.stop();
    stopped.set_value();
  });
  stopped.get_future().wait();
  impl.prepare_stage.stop();

  auto deadline = std::chrono::steady_clock::now() + grace;
  for (bool last = false; !last;) {
    last = std::chrono::steady_clock::now() >= deadline;
    std::size_t open = 0;
    for (auto& io : impl.io) {
      std::promise<std::size_t> left;
      impl.on_io(*io, [&io, &left, last] {
        std::size_t waiting = 0;
        for (auto& [id, connection] : io->connections) {
          if (!last && connection->awaiting_final_reply()) {
            connection->finish_current();
            ++waiting;
          } else {
            connection->abort();
          }
        }
        left.set_value(waiting);
      });
      open += left.get_future().get();
    }
    if (open == 0) break;
    // Not on `wake`: a notification meant for the scheduler would end here.
    std::this_thread::sleep_for(kGraceCheck);
  }
  // Connections that only need a turn of their thread to end.
  for (auto& io : impl.io) {
    std::promise<void> joined;
    impl.on_io(*io, [&io, &joined] {
      io->scope->request_stop();
      auto wait = [](TaskScope& scope, std::promise<void>& done) -> asio::awaitable<void> {
        co_await scope.join();
        done.set_value();
      };
      asio::co_spawn(io->context, wait(*io->scope, joined), [](std::exception_ptr) {});
    });
    joined.get_future().wait();
  }
  impl.disk.drain();  // what it still has to tell the scheduler
  {
    std::lock_guard lock(impl.wake_mutex);
    impl.ended = true;
  }
  impl.wake.notify_all();
  impl.thread.join();
  impl.disk.stop();  // what waits for it may be outcomes on their way to the log
  impl.events.flush();
}

void Delivery::view(std::function<void(DeliveryView)> done) {
  impl_->tell([done = std::move(done)](Scheduler& s) { done({s.counts(), s.sources()}); });
}

void Delivery::sites(std::function<void(std::vector<SiteSummary>)> done) {
  impl_->tell([done = std::move(done)](Scheduler& s) { done(s.sites()); });
}

void Delivery::retry(EntrySelector selector, std::function<void(std::uint64_t)> done) {
  impl_->retry(std::move(selector), std::move(done));
}

void Delivery::site_of(std::string domain, std::function<void(std::string)> done) {
  impl_->tell([domain = std::move(domain), done = std::move(done)](Scheduler& s) { done(s.site_of(domain)); });
}

}  // namespace danki::delivery
