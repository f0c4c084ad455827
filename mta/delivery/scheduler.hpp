#pragma once

#include "base/random.hpp"
#include "base/time.hpp"
#include "mta/delivery/options.hpp"
#include "mta/delivery/path_limits.hpp"
#include "mta/delivery/scheduler_ports.hpp"
#include "mta/delivery/site_table.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

/// Decides which message goes out on which path, and when (DESIGN section 5). Plain code on one strand: it is told what
/// happened, asks the world through SchedulerPorts, and takes time and chance from outside, so that a day of traffic
/// runs in a test in seconds.
namespace danki::delivery {

struct SourceView {
  std::string name, address, state, reason;
  std::uint64_t delivered = 0, deferred = 0, bounced = 0;
  std::size_t connections = 0;
};

struct SchedulerCounts {
  std::uint64_t delivered = 0, deferred = 0, bounced = 0, expired = 0;
  std::uint64_t entries = 0;  ///< due entries in the queue
  std::size_t in_memory = 0;
  std::size_t recording = 0;  ///< ended, not yet recorded
  std::size_t connections = 0;
};

struct SiteSummary {
  std::string site, provider;
  std::uint64_t transactional = 0, bulk = 0, ready = 0, in_flight = 0, connections = 0;
  TimePoint earliest_due{};
  std::string last_reply, state;
};

/// Which entries an operator's verb means; empty fields mean all.
struct EntrySelector {
  std::string id, site, domain, tenant, campaign;
  std::optional<mail::MailClass> klass;
  std::optional<std::chrono::seconds> older_than;  ///< accepted at least so long ago
};

/// How often the scheduler looks through what it holds: for what expired, and for what had better wait on disk.
constexpr std::chrono::seconds kSweepEvery{5};
/// How long a connection may take to be greeted before its mail looks for another: above most round trips and
/// greetings.
constexpr std::chrono::milliseconds kSlowConnect{500};

/// How many connections to have at once for so many open files: half of what spool, logs and listeners leave; the other
/// half is for sessions.
std::size_t most_connections(std::uint64_t open_files);

class Scheduler {
 public:
  struct Limits {
    LaneTable::Limits lanes;
    std::size_t lease_bulk = 8;  ///< messages a connection holds at once
    std::size_t lease_transactional = 1;
    std::size_t max_unrecorded = 1000;  ///< outcomes; then nothing new is taken
    std::size_t connections = 20000;    ///< at once, to all sites
  };

  Scheduler(SchedulerPorts& ports, const Clock& clock, Random& random, std::shared_ptr<const Options> options,
            Limits limits);
  ~Scheduler();

  void set_options(std::shared_ptr<const Options> options);
  void on_scanned(const std::vector<queue::LaneCount>& lanes, queue::MessageId last);
  void on_accepted(std::vector<queue::Accepted> batch);
  void on_page(LaneId lane, const queue::LanePage& page);
  void on_read_failed(LaneId lane, const Error& error);
  void on_loaded(ItemId item, Result<queue::MessagePtr> message);
  void on_prepared(ItemId item, std::string error);
  void on_resolved(const std::string& domain, const Resolution& resolution);
  void on_connected(ConnectionId connection);
  void on_connect_failed(ConnectionId connection, const SessionFailure& failure);
  void on_report(AttemptReport report);
  void on_ending(ConnectionId connection);
  void on_closed(ConnectionId connection);
  void on_applied(const std::vector<AppliedAttempt>& attempts);
  void on_rescheduled(const std::vector<queue::DueEntry>& old, TimePoint due);

  /// Does what is due: call after each batch of the above and at next_wake().
  void run();
  std::optional<TimePoint> next_wake() const;
  /// Nothing new is taken from now on; connections are told to end.
  void stop();

  /// Operator's retry: paths and sites in trouble may try at once. Returns the lanes whose records on disk the caller
  /// pages through, handing those that are due later to reschedule(). `only`: these lanes at most.
  std::vector<queue::LaneKey> retry(const EntrySelector& selector, const std::vector<queue::LaneKey>* only = nullptr);
  /// Makes records on disk due now; returns how many will be moved.
  std::size_t reschedule(std::vector<queue::DueEntry> entries);

  SchedulerCounts counts() const;
  std::vector<SourceView> sources() const;
  std::vector<SiteSummary> sites() const;
  std::string site_of(const std::string& domain) const;

 private:
  struct Source {
    std::string name;
    std::optional<boost::asio::ip::address> address, public_address;
    double weight = 1;
    std::string ehlo;
    std::string pulled;      // reason; empty: active
    SteadyPoint check_at{};  // when to try the address again
    std::uint64_t delivered = 0, deferred = 0, bounced = 0;
    std::size_t connections = 0;
  };
  struct Connection {
    ConnectionId id = 0;
    Path* path = nullptr;
    Source* source = nullptr;
    bool connected = false;
    bool promised = false;   // connecting, and some of what is ready is left for it
    bool ungreeted = false;  // connecting, and a reason not to open another
    bool closing = false;    // takes nothing more
    bool idle = false;
    bool making_way = false;  // ends for a site that is starved of connections, which counts on it
    bool outdated = false;    // its source has another address or name by now: what it meets says nothing of the path
    std::string source_ip;    // as receivers see it
    SteadyPoint connected_at{};
    std::set<ItemId> leased;
    std::uint32_t taken = 0;
    std::uint32_t max_messages = 0;
  };

  void load_sources();
  void add_accepted(const queue::DueEntry& entry, const queue::MessagePtr& message, TimePoint now);
  void refuse_domain(Domain& domain, RecipientResult::Kind kind, const mail::Reply& reply);
  void take_if_expired_or_ready(Item& item);
  void item_ready(Item& item, bool front);
  void resolve_if_needed(Domain& domain);
  void mark(Site& site);
  /// For people and for next_wake(): waits are kept in steady time, which a clock that is set does not move.
  TimePoint calendar(SteadyPoint at) const;

  // --- mail without an open path, and room for others: scheduler_room.cpp ---
  std::string group_of(const std::string& domain) const;
  /// When the first path of the pool may open: `now` or before if one may already, SteadyPoint::max() if none ever will
  /// as things are.
  SteadyPoint opens_at(const Site& site, const std::string& pool, SteadyPoint now) const;
  SteadyPoint opens_at(const Domain& domain, const std::string& pool, SteadyPoint now) const;
  bool waits_on_disk(Domain& domain, const std::string& pool, SteadyPoint now);
  bool is_configured(Site& site, const std::string& pool);
  bool reaches(const Site& site, const Source& source) const;
  bool is_out(const std::string& source) const;
  /// The active sources of the pool that are not out, and for each that is out the next standby that is not.
  template <class Visit>
  void for_each_in_use(const PoolOptions& pool, Visit visit) const {
    std::size_t out = 0;
    for (const std::string& name : pool.sources) {
      if (is_out(name)) {
        ++out;
      } else {
        visit(name);
      }
    }
    for (const std::string& name : pool.standby) {
      if (out == 0) return;
      if (is_out(name)) continue;
      --out;
      visit(name);
    }
  }
  void park(Item& item);
  void park_closed(SteadyPoint now, std::chrono::milliseconds at_least);
  void try_parked(LaneGroup& group, SteadyPoint now);
  void try_all_parked(SteadyPoint now);
  void ask_again(SteadyPoint now);
  void site_answers(const Site& site, SteadyPoint now);
  bool make_room(SteadyPoint now);
  void put_back_surplus(mail::MailClass klass);
  void dispatch(Site& site);
  void dispatch_pool(Site& site, const std::string& pool_name, PoolReady& ready);
  /// The connections that may take the mail of one pool.
  struct Serving {
    std::size_t connecting = 0;  // and waited for
    std::size_t ungreeted = 0;   // these, and those that are late
    std::size_t busy = 0;
  };
  Serving serving(const Site& site, const PoolOptions& pool) const;
  std::size_t leases_wanted(const PoolReady& ready, std::size_t bulk) const;
  Source* choose_source(Site& site, PoolReady& ready, const PoolOptions& pool, bool allow_open);
  bool eligible(Site& site, const PoolReady& ready, Source& source, bool allow_open);
  bool could_open(Site& site, const PoolReady& ready, const PoolOptions& pool);
  void end_connecting(Connection& connection);
  void end_greeting(Connection& connection);
  bool may_try_further(Site& site, const PoolReady& ready, std::size_t beyond_due);
  void note_answer(Site& site);
  void leave_idle(Connection& connection);
  void retire(Connection& connection);
  void return_unstarted(Connection& connection);
  Path& path(Site& site, Source& source);
  void refresh(Path& path);
  bool may_open(const Path& path, const PoolReady& ready) const;
  void open(Site& site, Path& path, Source& source);
  void lease(Connection& connection, const std::string& pool);
  void refill(Connection& connection);
  void return_item(Item& item);
  void settle(Item& item, Connection& connection, AttemptReport& report);
  void finish(Item& item, JudgedAttempt judged, Source* source, Site* site);
  void forget(Connection& connection);
  void path_failed(const Connection& connection, const SessionFailure& failure);
  JudgedAttempt expired(const Item& item, TimePoint now);
  void leave_source(const Source& source);

  // --- connections to all sites together: scheduler_budget.cpp ---
  bool may_open_another(const Site& site) const;
  std::size_t connections_share() const;
  bool is_crowded() const;
  bool should_make_way(const Connection& connection) const;
  void make_way(Connection& connection);
  void end_making_way(Connection& connection);
  void count_on_others(SteadyPoint now);
  void wait_for_connection(Site& site, bool is_due);
  void offer_to_waiting(std::size_t most);
  void offer_freed();
  void let_waiting_look(SteadyPoint now);
  void local_trouble(Path& path, const std::string& problem, bool concerns_all);
  void pull(Source& source, const std::string& reason);
  void check_pulled(SteadyPoint now);
  void expire_ready(TimePoint now);
  bool saturated();
  void resume();
  JudgeOptions judge_options() const { return {&options_->transactional_retries, &options_->bulk_retries}; }

  SchedulerPorts& ports_;
  const Clock& clock_;
  Random& random_;
  std::shared_ptr<const Options> options_;  // shared with the daemon's other rooms
  Limits limits_;
  LaneTable lanes_;
  SiteTable sites_;
  std::map<std::string, Source> sources_;
  std::unordered_map<ConnectionId, Connection> connections_;
  ConnectionId next_connection_ = 1;
  queue::MessageId known_{};  // the highest id announced by on_accepted or the scan
  bool scanned_ = false;
  bool stopping_ = false;
  std::deque<std::pair<SteadyPoint, ConnectionId>> connecting_;  // when each is no longer waited for
  std::vector<Site*> dirty_;
  std::set<ConnectionId> idle_;
  std::size_t connected_sites_ = 0;  // sites with connections
  std::deque<Site*> starved_;        // kept from opening by the bound on all, and below their share
  std::deque<Site*> above_share_;    // likewise, not below it
  std::size_t making_way_ = 0;       // connections that end for them, and may be counted on
  std::deque<std::pair<SteadyPoint, ConnectionId>> counted_on_until_;  // each of these
  std::size_t offered_ = 0;          // so many that wait are to look whether they may open
  SteadyPoint no_opening_before_{};  // this machine lacked what a connection needs
  SteadyPoint tell_trouble_again_at_{};
  std::vector<FinishedAttempt> finished_;
  std::vector<std::pair<ItemId, queue::MessageId>> to_load_;
  std::set<std::pair<SteadyPoint, ItemId>> reload_at_;  // loads that failed
  std::size_t recording_ = 0;
  std::size_t in_flight_ = 0;                                   // leased, at all sites
  bool held_back_ = false;                                      // mail was left waiting because of saturated()
  std::set<std::pair<SteadyPoint, std::string>> site_wakes_;    // sites whose paths open again
  std::set<std::pair<SteadyPoint, std::string>> domain_wakes_;  // domains to resolve again
  SteadyPoint next_sweep_{};
  std::set<std::string> missing_pools_;  // told of since the last reload
  std::string asked_last_;               // the domain where ask_again() ended
  SteadyPoint no_room_before_{};         // nothing could be put back a moment ago
  SchedulerCounts counts_;
};

}  // namespace danki::delivery
