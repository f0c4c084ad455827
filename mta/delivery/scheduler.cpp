#include "mta/delivery/scheduler.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <cassert>

namespace danki::delivery {

namespace {

constexpr std::chrono::seconds kSweepEvery{5};
constexpr std::chrono::seconds kPulledCheckEvery{30};  // is the address back on this host?
constexpr std::chrono::seconds kLoadRetry{5};
constexpr std::chrono::milliseconds kSlowConnect{500};  // above most round trips and greetings
constexpr std::chrono::seconds kMinResolutionTtl{60};   // an MX set is asked for at most this often
constexpr std::chrono::seconds kMaxResolutionTtl{3600};
constexpr unsigned kMaxUntouchedReturns = 5;  // then the host's trouble counts as this message's

/// Another one of the most preferred hosts comes first each time: an answer of DNS serves many connections, and the
/// load is to be spread among equals (RFC 5321 section 5.1).
void begin_with_any_of_the_best(std::vector<HostTarget>& targets, Random& random) {
  if (targets.size() < 2) return;
  const auto end = std::find_if(targets.begin(), targets.end(),
                                [&](const HostTarget& t) { return t.preference != targets.front().preference; });
  std::vector<std::string> hosts;
  for (auto target = targets.begin(); target != end; ++target) {
    if (hosts.empty() || hosts.back() != target->name) hosts.push_back(target->name);
  }
  if (hosts.size() < 2) return;
  const std::string& first = hosts[random.between(0, hosts.size() - 1)];
  std::stable_partition(targets.begin(), end, [&](const HostTarget& t) { return t.name == first; });
}

}  // namespace

Scheduler::Scheduler(SchedulerPorts& ports, const Clock& clock, Random& random, std::shared_ptr<const Options> options,
                     Limits limits)
    : ports_(ports),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      limits_(limits),
      lanes_(limits.lanes) {
  load_sources();
}

Scheduler::~Scheduler() = default;

void Scheduler::load_sources() {
  for (const auto& [name, options] : options_->sources) {
    Source& source = sources_[name];
    if (source.address != options.address) source.pulled.clear();
    source.name = name;
    source.address = options.address;
    source.public_address = options.public_address ? options.public_address : options.address;
    source.weight = options.weight;
    source.ehlo = options.ehlo.empty() ? options_->hostname : options.ehlo;
  }
  for (auto it = sources_.begin(); it != sources_.end();) {
    bool gone = !options_->sources.contains(it->first);
    // One that still has connections is kept until they end; nothing new goes to it.
    it = gone && it->second.connections == 0 ? sources_.erase(it) : std::next(it);
  }
}

void Scheduler::set_options(std::shared_ptr<const Options> options) {
  options_ = std::move(options);
  load_sources();
  TimePoint now = clock_.now();
  for (const auto& [name, domain] : sites_.domains()) {
    domain->resolved_until = TimePoint{};  // routes may have changed
    if (domain->ready > 0) resolve_if_needed(*domain);
  }
  for (const auto& [name, site] : sites_.sites()) {
    for (auto& [source_name, path] : site->paths) {
      auto source = sources_.find(source_name);
      if (source != sources_.end()) refresh(*path, source->second);
    }
    mark(*site);
  }
  check_pulled(now);
}

void Scheduler::on_scanned(const std::vector<queue::LaneCount>& lanes, queue::MessageId last) {
  known_ = std::max(known_, last);
  for (const queue::LaneCount& lane : lanes) lanes_.add_lane(lane);
  scanned_ = true;
}

void Scheduler::on_accepted(std::vector<queue::Accepted> batch) {
  TimePoint now = clock_.now();
  for (const queue::Accepted& accepted : batch) {
    known_ = std::max(known_, accepted.message->id);
    for (const queue::DueEntry& entry : accepted.entries) add_accepted(entry, accepted.message, now);
  }
}

void Scheduler::add_accepted(const queue::DueEntry& entry, const queue::MessagePtr& message, TimePoint now) {
  Item* item = lanes_.add_new(entry, message, now);
  if (!item) return;
  if (ports_.is_prepared(*message)) {
    item_ready(*item, false);
  } else {
    ports_.prepare(item->id, message);
  }
}

void Scheduler::on_page(LaneId lane, const queue::LanePage& page) {
  for (Item* item : lanes_.on_page(lane, page, known_)) to_load_.emplace_back(item->id, item->entry.id);
}

void Scheduler::on_read_failed(LaneId lane, const Error& error) {
  log::error("reading the queue failed", {{"error", error.message()}, {"action", "retry"}});
  lanes_.on_read_failed(lane, clock_.now() + kLoadRetry);
}

void Scheduler::on_loaded(ItemId id, Result<queue::MessagePtr> message) {
  Item* item = lanes_.find(id);
  if (!item) return;
  if (!message) {
    if (message.error().code == std::errc::no_such_file_or_directory) {
      ports_.discard(item->entry);
      lanes_.finish(*item, {});
      return;
    }
    log::error("reading a message failed",
               {{"id", item->entry.id.to_string()}, {"error", message.error().message()}, {"action", "retry"}});
    reload_at_.emplace(clock_.now() + kLoadRetry, id);
    return;
  }
  item->message = *message;
  for (std::uint32_t index : item->entry.recipients) {
    if (index >= item->message->progress.size() ||
        item->message->progress[index].state != queue::RecipientProgress::State::Pending) {
      // The record outlived its outcome; never deliver twice what is known to be delivered.
      lanes_.finish(*item, {});
      return;
    }
  }
  take_if_expired_or_ready(*item);
}

void Scheduler::take_if_expired_or_ready(Item& item) {
  TimePoint now = clock_.now();
  if (item.message->envelope.expires_at <= now) {
    finish(item, expire(item.message, item.entry, now), nullptr, nullptr);
    return;
  }
  if (ports_.is_prepared(*item.message)) {
    item_ready(item, false);
  } else {
    item.state = Item::State::Preparing;
    ports_.prepare(item.id, item.message);
  }
}

void Scheduler::on_prepared(ItemId id, std::string error) {
  Item* item = lanes_.find(id);
  if (!item) return;
  if (error.empty()) {
    item_ready(*item, false);
    return;
  }
  std::vector<RecipientResult> results;
  for (std::uint32_t index : item->entry.recipients) {
    results.push_back({.recipient = index,
                       .kind = RecipientResult::Kind::Transient,
                       .stage = Stage::Resolve,
                       .reply = {},
                       .error = error});
  }
  finish(*item, judge(item->message, item->entry, results, {}, clock_.now(), judge_options(), random_), nullptr,
         nullptr);
}

void Scheduler::item_ready(Item& item, bool front) {
  Domain& domain = sites_.domain(item.entry.lane.domain);
  sites_.add(domain, item, front);
  resolve_if_needed(domain);
  if (domain.site) mark(*domain.site);
}

void Scheduler::return_item(Item& item) {
  item_ready(item, true);
}

void Scheduler::resolve_if_needed(Domain& domain) {
  TimePoint now = clock_.now();
  if (domain.resolving || domain.retry_resolve_at > now) return;
  if (domain.site && domain.resolved_until > now) return;
  domain.resolving = true;
  ports_.resolve(domain.name);
}

void Scheduler::on_resolved(const std::string& name, const Resolution& resolution) {
  Domain* domain = sites_.find_domain(name);
  if (!domain) return;
  TimePoint now = clock_.now();
  domain->resolving = false;
  switch (resolution.status) {
    case Resolution::Status::Ok: {
      Site& site = sites_.site(resolution.site);
      site.targets = resolution.targets;
      sites_.bind(*domain, site);
      domain->resolve_failures = 0;
      domain->problem.clear();
      domain->retry_resolve_at = TimePoint{};
      domain->resolved_until = now + std::clamp(resolution.ttl, kMinResolutionTtl, kMaxResolutionTtl);
      mark(site);
      break;
    }
    case Resolution::Status::NxDomain:
      refuse_domain(*domain, RecipientResult::Kind::Permanent,
                    {550, mail::EnhancedStatus{5, 1, 2}, "domain " + name + " does not exist"});
      break;
    case Resolution::Status::NullMx:
      refuse_domain(*domain, RecipientResult::Kind::Permanent,
                    {556, mail::EnhancedStatus{5, 1, 10}, "domain " + name + " accepts no mail (null MX)"});
      break;
    case Resolution::Status::NoAddress:
      refuse_domain(*domain, RecipientResult::Kind::Permanent,
                    {550, mail::EnhancedStatus{5, 4, 4}, "no mail host for " + name + ": " + resolution.error});
      break;
    case Resolution::Status::Loop:
      refuse_domain(*domain, RecipientResult::Kind::Permanent,
                    {554, mail::EnhancedStatus{5, 4, 6}, "mail for " + name + " leads back to this relay"});
      break;
    case Resolution::Status::Temporary: {
      // The message is not to blame and keeps its schedule; the domain is asked for again.
      auto wait = std::min<std::chrono::milliseconds>(
          std::chrono::seconds(5) * (1u << std::min(domain->resolve_failures, 7u)), std::chrono::minutes(5));
      ++domain->resolve_failures;
      domain->problem = "DNS: " + resolution.error;
      domain->retry_resolve_at = now + wait;
      domain_wakes_.emplace(domain->retry_resolve_at, name);
    }
  }
}

void Scheduler::refuse_domain(Domain& domain, RecipientResult::Kind kind, const mail::Reply& reply) {
  std::vector<Item*> items;
  for (auto& [key, queue] : domain.queues) items.insert(items.end(), queue->items.begin(), queue->items.end());
  for (Item* item : items) {
    sites_.remove(*item);
    finish(*item,
           refuse_unsent(item->message, item->entry, kind, reply, domain.name, clock_.now(), judge_options(), random_),
           nullptr, domain.site);
  }
  domain.resolved_until = TimePoint{};
}

void Scheduler::mark(Site& site) {
  if (site.dirty) return;
  site.dirty = true;
  dirty_.push_back(&site);
}

Path& Scheduler::path(Site& site, Source& source) {
  auto& slot = site.paths[source.name];
  if (!slot) {
    slot = std::make_unique<Path>();
    slot->source = source.name;
    slot->site = &site;
    refresh(*slot, source);
  }
  return *slot;
}

void Scheduler::refresh(Path& path, Source& source) {
  PathLimits limits = path_limits(*options_, source.name, path.site->name, "", path.site->domain);
  path.limit_connections = limits.connections;
  path.limit_messages = limits.messages_per_connection;
  path.limit_recipients = limits.recipients_per_transaction;
  path.tls = limits.tls;
}

bool Scheduler::may_open(const Path& path, const PoolReady& ready) const {
  std::size_t open = path.connections.size();
  // From a limit of three on, bulk alone leaves the last connection to transactional mail.
  bool bulk_alone = ready.ready[0] == 0;
  std::size_t limit = path.limit_connections;
  if (bulk_alone && limit >= 3) --limit;
  return open < limit;
}

bool Scheduler::eligible(Site& site, const PoolReady& ready, Source& source, bool allow_open) {
  if (!source.pulled.empty() || !options_->sources.contains(source.name)) return false;
  if (source.address) {
    bool v4 = source.address->is_v4();
    // A site without hosts of the source's address family is no path for it: no failure, no evidence.
    if (std::none_of(site.targets.begin(), site.targets.end(),
                     [&](const HostTarget& t) { return t.endpoint.address().is_v4() == v4; })) {
      return false;
    }
  }
  Path& candidate = path(site, source);
  if (candidate.closed_until > clock_.now()) return false;
  return !candidate.idle.empty() || (allow_open && may_open(candidate, ready));
}

Scheduler::Source* Scheduler::choose_source(Site& site, PoolReady& ready, const PoolOptions& pool, bool allow_open) {
  std::vector<Source*> candidates;
  std::size_t missing = 0;
  auto consider = [&](const std::string& name) {
    auto found = sources_.find(name);
    if (found == sources_.end() || !found->second.pulled.empty()) {
      ++missing;
    } else if (eligible(site, ready, found->second, allow_open)) {
      candidates.push_back(&found->second);
    }
  };
  for (const std::string& name : pool.sources) consider(name);
  // A standby steps in for each active source that is out.
  std::size_t steps_in = std::min(missing, pool.standby.size());
  for (std::size_t i = 0; i < steps_in; ++i) consider(pool.standby[i]);
  if (candidates.empty()) return nullptr;
  // Smooth weighted round robin: even in the short run too.
  double total = 0;
  Source* best = nullptr;
  double best_turn = 0;
  for (Source* candidate : candidates) {
    double& turn = ready.turn[candidate->name];
    turn += candidate->weight;
    total += candidate->weight;
    if (!best || turn > best_turn) {
      best = candidate;
      best_turn = turn;
    }
  }
  ready.turn[best->name] -= total;
  return best;
}

std::size_t Scheduler::leases_wanted(const PoolReady& ready, std::size_t bulk) const {
  return ready.ready[0] + (bulk + limits_.lease_bulk - 1) / limits_.lease_bulk;
}

Scheduler::Serving Scheduler::serving(const Site& site, const PoolOptions& pool) const {
  Serving serving;
  for (const auto* names : {&pool.sources, &pool.standby}) {
    for (const std::string& name : *names) {
      auto path = site.paths.find(name);
      if (path == site.paths.end()) continue;
      serving.connecting += path->second->connecting;
      serving.busy += path->second->connected - path->second->idle.size();
    }
  }
  return serving;
}

void Scheduler::dispatch(Site& site) {
  for (auto& [name, ready] : site.pools) {
    if (ready.ready[0] + ready.ready[1] > 0) dispatch_pool(site, name, ready);
  }
}

void Scheduler::dispatch_pool(Site& site, const std::string& pool_name, PoolReady& ready) {
  auto pool = options_->pools.find(pool_name);
  if (pool == options_->pools.end()) {
    site.last_reply = "pool " + pool_name + " is not configured";
    return;
  }
  while (ready.ready[0] + ready.ready[1] > 0 && !saturated() && !stopping_) {
    // What a connection under way will take is spoken for: taking it elsewhere would always favour who is there
    // already.
    const Serving serving = this->serving(site, pool->second);
    if (leases_wanted(ready, ready.ready[1]) <= serving.connecting) return;
    // Bulk that the busy connections take next, eight at a time, is no reason for another one.
    std::size_t soon_taken = serving.busy * limits_.lease_bulk;
    std::size_t bulk = ready.ready[1] > soon_taken ? ready.ready[1] - soon_taken : 0;
    bool allow_open = leases_wanted(ready, bulk) > serving.connecting;
    Source* source = choose_source(site, ready, pool->second, allow_open);
    if (!source) return;
    Path& chosen = path(site, *source);
    if (chosen.idle.empty()) {
      open(site, chosen, *source);
      continue;
    }
    Connection& connection = connections_.at(chosen.idle.back());
    leave_idle(connection);
    lease(connection, pool_name);
    if (connection.leased.empty()) refill(connection);  // what it took had expired
  }
}

void Scheduler::leave_idle(Connection& connection) {
  if (!connection.idle) return;
  connection.idle = false;
  std::erase(connection.path->idle, connection.id);
}

void Scheduler::open(Site& site, Path& path, Source& source) {
  ConnectionPlan plan;
  plan.id = next_connection_++;
  plan.site = site.name;
  plan.source = source.name;
  for (const HostTarget& target : site.targets) {
    if (!source.address || target.endpoint.address().is_v4() == source.address->is_v4()) plan.targets.push_back(target);
  }
  begin_with_any_of_the_best(plan.targets, random_);
  plan.session.ehlo = source.ehlo;
  plan.session.local_address = source.address;
  plan.session.tls = path.tls;
  plan.session.timeouts = options_->timeouts;
  plan.max_messages = path.limit_messages;
  plan.max_recipients = path.limit_recipients;

  Connection& connection = connections_[plan.id];
  connection.id = plan.id;
  connection.path = &path;
  connection.source = &source;
  connection.max_messages = plan.max_messages;
  connection.promised = true;
  path.connections.insert(plan.id);
  connecting_.emplace_back(clock_.now() + kSlowConnect, plan.id);
  ++site.connections;
  ++path.connecting;
  ++source.connections;
  ports_.open(std::move(plan));
}

void Scheduler::on_connected(ConnectionId id) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  connection.connected = true;
  ++connection.path->connected;
  end_connecting(connection);
  Site& site = *connection.path->site;
  refill(connection);
  mark(site);  // it may have been left to this connection, which took something else
}

void Scheduler::end_connecting(Connection& connection) {
  if (!connection.promised) return;
  connection.promised = false;
  --connection.path->connecting;
}

void Scheduler::on_connect_failed(ConnectionId id, const SessionFailure& failure) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  std::string problem =
      std::string(to_string(failure.stage)) + ": " + (failure.reply ? failure.reply->to_string() : failure.error);
  if (failure.source_at_fault) {
    pull(*connection.source, "bind failed: " + failure.error);
  } else if (!stopping_) {
    path_failed(*connection.path, problem);
  }
  forget(connection);
}

void Scheduler::path_failed(Path& path, const std::string& problem) {
  TimePoint now = clock_.now();
  path.last_problem = problem;
  path.site->last_reply = problem;
  mark(*path.site);
  if (path.closed_until > now) return;  // several connections failed in one go
  // 5 s doubling to 5 min, spread by a tenth: path trouble costs no attempts, so it may be tried often.
  auto wait = std::min<std::chrono::milliseconds>(std::chrono::seconds(5) * (1u << std::min(path.failures, 6u)),
                                                  std::chrono::minutes(5));
  auto spread = wait / 10;
  wait += std::chrono::milliseconds(random_.between(0, static_cast<std::uint64_t>(2 * spread.count()))) - spread;
  ++path.failures;
  path.closed_until = now + wait;
  site_wakes_.emplace(path.closed_until, path.site->name);
  events::Event event;
  event.type = events::Type::PathState;
  event.at = now;
  event.site = path.site->name;
  event.source = path.source;
  event.reason = "backing off for " + std::to_string(wait.count()) + " ms: " + problem;
  ports_.event(std::move(event));
}

void Scheduler::pull(Source& source, const std::string& reason) {
  if (!source.pulled.empty()) return;
  source.pulled = reason;
  source.check_at = clock_.now() + kPulledCheckEvery;
  log::warn("source bind failed", {{"source", source.name},
                                   {"address", source.address ? source.address->to_string() : "any"},
                                   {"error", reason},
                                   {"action", "pulled"}});
  events::Event event;
  event.type = events::Type::SourceState;
  event.at = clock_.now();
  event.source = source.name;
  if (source.public_address) event.source_ip = source.public_address->to_string();
  event.reason = "pulled: " + reason;
  ports_.event(std::move(event));
  for (const auto& [name, site] : sites_.sites()) {
    auto path = site->paths.find(source.name);
    if (path != site->paths.end()) {
      for (ConnectionId idle : path->second->idle) ports_.close(idle);
    }
    mark(*site);  // others or a standby may take over
  }
}

void Scheduler::check_pulled(TimePoint now) {
  for (auto& [name, source] : sources_) {
    if (source.pulled.empty() || source.check_at > now) continue;
    if (source.address && !ports_.can_bind(*source.address)) {
      source.check_at = now + kPulledCheckEvery;
      continue;
    }
    source.pulled.clear();
    events::Event event;
    event.type = events::Type::SourceState;
    event.at = now;
    event.source = name;
    event.reason = "active: the address can be bound again";
    ports_.event(std::move(event));
    for (const auto& [site_name, site] : sites_.sites()) mark(*site);
  }
}

void Scheduler::lease(Connection& connection, const std::string& pool) {
  Site& site = *connection.path->site;
  TimePoint now = clock_.now();
  std::vector<WorkItem> work;
  while (!saturated() && !stopping_) {
    auto klass = sites_.next_class(site, pool, options_->bulk_share);
    if (!klass) break;
    std::size_t bound = *klass == mail::MailClass::Transactional ? limits_.lease_transactional : limits_.lease_bulk;
    if (connection.leased.size() >= bound) break;
    if (connection.max_messages > 0 && connection.taken >= connection.max_messages) break;
    Item* item = sites_.take(site, pool, options_->bulk_share);
    if (item->message->envelope.expires_at <= now) {
      finish(*item, expire(item->message, item->entry, now), connection.source, &site);
      continue;
    }
    item->state = Item::State::Leased;
    connection.leased.insert(item->id);
    ++connection.taken;
    ++site.in_flight;
    ++in_flight_;
    work.push_back({.item = item->id, .message = item->message, .recipients = item->entry.recipients});
  }
  if (!work.empty()) ports_.assign(connection.id, std::move(work));
}

void Scheduler::refill(Connection& connection) {
  if (connection.closing || !connection.connected) return;
  Path& path = *connection.path;
  bool used_up = connection.max_messages > 0 && connection.taken >= connection.max_messages;
  bool unwanted =
      stopping_ || !connection.source->pulled.empty() || !options_->sources.contains(connection.source->name);
  if (!used_up && !unwanted && connection.leased.size() <= limits_.lease_bulk / 2) {
    // From another pool first each time: a connection that two pools share is not the first one's alone.
    std::map<std::string, PoolReady>& pools = path.site->pools;
    auto next = pools.empty() ? pools.end() : std::next(pools.begin(), path.site->pool_turn++ % pools.size());
    for (std::size_t i = 0; i < pools.size(); ++i) {
      if (next == pools.end()) next = pools.begin();
      const auto& [name, ready] = *next++;
      if (ready.ready[0] + ready.ready[1] == 0) continue;
      auto pool = options_->pools.find(name);
      if (pool == options_->pools.end()) continue;
      const auto& sources = pool->second.sources;
      const auto& standby = pool->second.standby;
      bool serves = std::find(sources.begin(), sources.end(), path.source) != sources.end() ||
                    std::find(standby.begin(), standby.end(), path.source) != standby.end();
      if (serves && path.closed_until <= clock_.now()) lease(connection, name);
    }
    used_up = connection.max_messages > 0 && connection.taken >= connection.max_messages;
  }
  if (used_up || unwanted) {
    connection.closing = true;  // ends after what it holds
    ports_.close(connection.id);
    return;
  }
  if (connection.leased.empty() && !connection.idle) {
    connection.idle = true;
    path.idle.push_back(connection.id);
  }
}

void Scheduler::on_report(AttemptReport report) {
  auto found = connections_.find(report.connection);
  if (found == connections_.end() || found->second.leased.erase(report.item) == 0) return;
  Connection& connection = found->second;
  Path& path = *connection.path;
  Site& site = *path.site;
  --site.in_flight;
  --in_flight_;
  if (Item* item = lanes_.find(report.item)) settle(*item, connection, report);
  if (!report.failure) {
    refill(connection);
    return;
  }
  connection.closing = true;
  // A host that closes after n messages has a cap, which is no failure; one that closes before the first is in trouble.
  if (report.delivered_before == 0 && !stopping_) {
    const SessionFailure& failure = *report.failure;
    path_failed(path, std::string(to_string(failure.stage)) + ": " +
                          (failure.reply ? failure.reply->to_string() : failure.error));
  }
}

void Scheduler::settle(Item& item, Connection& connection, AttemptReport& report) {
  Site& site = *connection.path->site;
  bool untouched_after_mail = std::any_of(report.results.begin(), report.results.end(), [](const RecipientResult& r) {
    return r.kind == RecipientResult::Kind::Untouched && r.stage >= Stage::Mail;
  });
  if (untouched_after_mail && ++item.untouched_returns >= kMaxUntouchedReturns && !stopping_) {
    // Always this message: let it wait its turn instead of stopping the path for all others.
    for (RecipientResult& result : report.results) {
      if (result.kind == RecipientResult::Kind::Untouched) result.kind = RecipientResult::Kind::Transient;
    }
  }
  AttemptContext context;
  context.site = site.name;
  context.source = connection.source->name;
  if (connection.source->public_address) context.source_ip = connection.source->public_address->to_string();
  context.mx = report.target.name;
  context.mx_ip = report.target.endpoint.address().to_string();
  context.tls = report.tls;
  context.host_has_dsn = report.host_has_dsn;
  context.duration = report.duration;
  JudgedAttempt judged =
      judge(item.message, item.entry, report.results, context, clock_.now(), judge_options(), random_);
  if (judged.delivered > 0) {
    connection.path->failures = 0;
    connection.path->closed_until = TimePoint{};
  }
  if (judged.outcome.changes.empty()) {
    return_item(item);
  } else {
    finish(item, std::move(judged), connection.source, &site);
  }
}

void Scheduler::on_closed(ConnectionId id) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Site& site = *found->second.path->site;
  // What it had not begun waits at the site as before, in the order it was taken.
  std::set<ItemId> unstarted = std::exchange(found->second.leased, {});
  for (auto it = unstarted.rbegin(); it != unstarted.rend(); ++it) {
    --site.in_flight;
    --in_flight_;
    if (Item* item = lanes_.find(*it)) return_item(*item);
  }
  forget(found->second);
  mark(site);
}

void Scheduler::forget(Connection& connection) {
  Path& path = *connection.path;
  end_connecting(connection);
  leave_idle(connection);
  if (connection.connected) --path.connected;
  path.connections.erase(connection.id);
  --path.site->connections;
  --connection.source->connections;
  connections_.erase(connection.id);
}

void Scheduler::finish(Item& item, JudgedAttempt judged, Source* source, Site* site) {
  item.state = Item::State::Recording;
  for (const queue::Outcome::Change& change : judged.outcome.changes)
    item.message->progress[change.recipient] = change.progress;
  counts_.delivered += judged.delivered;
  counts_.deferred += judged.deferred;
  counts_.bounced += judged.bounced;
  counts_.expired += judged.expired;
  if (source) {
    source->delivered += judged.delivered;
    source->deferred += judged.deferred;
    source->bounced += judged.bounced;
  }
  if (site && judged.last_refusal) site->last_reply = judged.last_refusal->to_string();
  ++recording_;
  finished_.push_back({.item = item.id, .judged = std::move(judged)});
}

void Scheduler::on_applied(const std::vector<AppliedAttempt>& attempts) {
  for (const AppliedAttempt& attempt : attempts) {
    --recording_;
    if (Item* item = lanes_.find(attempt.item)) lanes_.finish(*item, attempt.remaining);
  }
}

/// No more may be taken: too many outcomes wait for the spool. While it cannot write, what is on its way counts too, as
/// each of it will become such an outcome; otherwise slow receivers would keep mail from the others.
bool Scheduler::saturated() {
  const bool is_full = recording_ >= limits_.max_unrecorded ||
                       (recording_ + in_flight_ >= limits_.max_unrecorded && ports_.recording_fails());
  held_back_ = held_back_ || is_full;
  return is_full;
}

void Scheduler::resume() {
  held_back_ = false;
  if (saturated()) return;
  for (const auto& [name, site] : sites_.sites()) mark(*site);
  for (auto& [id, connection] : connections_) {
    if (connection.connected && !connection.idle && !connection.closing && connection.leased.empty())
      refill(connection);
  }
}

void Scheduler::expire_ready(TimePoint now) {
  std::vector<Item*> expired;
  for (const auto& [id, item] : lanes_.items()) {
    if (item->state == Item::State::Ready && item->message->envelope.expires_at <= now) expired.push_back(item.get());
  }
  for (Item* item : expired) {
    Domain* domain = sites_.find_domain(item->entry.lane.domain);
    sites_.remove(*item);
    JudgedAttempt judged = expire(item->message, item->entry, now);
    finish(*item, std::move(judged), nullptr, domain ? domain->site : nullptr);
  }
}

void Scheduler::run() {
  TimePoint now = clock_.now();
  if (held_back_) resume();
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepEvery;
    expire_ready(now);
    check_pulled(now);
    sites_.sweep(now);
  }
  while (!reload_at_.empty() && reload_at_.begin()->first <= now) {
    if (Item* item = lanes_.find(reload_at_.begin()->second)) to_load_.emplace_back(item->id, item->entry.id);
    reload_at_.erase(reload_at_.begin());
  }
  while (!domain_wakes_.empty() && domain_wakes_.begin()->first <= now) {
    Domain* domain = sites_.find_domain(domain_wakes_.begin()->second);
    domain_wakes_.erase(domain_wakes_.begin());
    if (domain && domain->ready > 0) resolve_if_needed(*domain);
  }
  while (!connecting_.empty() && connecting_.front().first <= now) {
    // A host that lets us wait may let us wait long: its mail is free for other paths.
    auto slow = connections_.find(connecting_.front().second);
    connecting_.pop_front();
    if (slow == connections_.end() || !slow->second.promised) continue;
    end_connecting(slow->second);
    mark(*slow->second.path->site);
  }
  while (!site_wakes_.empty() && site_wakes_.begin()->first <= now) {
    if (Site* site = sites_.find_site(site_wakes_.begin()->second)) mark(*site);
    site_wakes_.erase(site_wakes_.begin());
  }
  if (!stopping_) {
    for (ReadRequest& request : lanes_.reads_due(now)) ports_.read_lane(std::move(request));
  }
  if (!to_load_.empty()) ports_.load(std::exchange(to_load_, {}));
  std::vector<Site*> dirty = std::exchange(dirty_, {});
  for (Site* site : dirty) {
    site->dirty = false;
    if (!stopping_) dispatch(*site);
  }
  if (!finished_.empty()) ports_.record(std::exchange(finished_, {}));
}

std::optional<TimePoint> Scheduler::next_wake() const {
  TimePoint next = next_sweep_;
  auto earlier = [&](TimePoint at) { next = std::min(next, at); };
  if (auto lane = lanes_.next_wake(); lane && !stopping_) earlier(*lane);  // stopping, no lane is read
  if (!reload_at_.empty()) earlier(reload_at_.begin()->first);
  if (!domain_wakes_.empty()) earlier(domain_wakes_.begin()->first);
  if (!site_wakes_.empty()) earlier(site_wakes_.begin()->first);
  if (!connecting_.empty()) earlier(connecting_.front().first);
  if (!dirty_.empty()) earlier(TimePoint{});
  return next;
}

void Scheduler::stop() {
  stopping_ = true;
  for (auto& [id, connection] : connections_) {
    if (connection.idle) ports_.close(id);
    connection.closing = true;
  }
}

}  // namespace danki::delivery
