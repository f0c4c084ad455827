// Which connection takes what: choice of source, opening, leases, reports.
#include "base/log.hpp"
#include "mta/delivery/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::chrono::milliseconds kSlowConnect{500};  // above most round trips and greetings
constexpr std::size_t kMostFurtherTries = 4;            // at once, beyond what is due
constexpr unsigned kMostDoublings = 6;                  // of the time between them: 32 s
constexpr unsigned kMaxUntouchedReturns = 5;            // then the host's trouble counts as this message's

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

Path& Scheduler::path(Site& site, Source& source) {
  auto& slot = site.paths[source.name];
  if (!slot) {
    slot = std::make_unique<Path>();
    slot->source = source.name;
    slot->site = &site;
    refresh(*slot);
  }
  return *slot;
}

/// Domains that share a site share its connections, so the strictest of their limits holds for all.
void Scheduler::refresh(Path& path) {
  std::optional<PathLimits> strict;
  for (const auto& [name, kind] : path.site->kinds) {
    PathLimits limits = path_limits(*options_, path.source, path.site->name, "", kind.example);
    strict = strict ? strictest(*strict, limits) : limits;
  }
  const PathLimits limits = strict ? *strict : path_limits(*options_, path.source, path.site->name, "", "");
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
  if (!reaches(site, source)) return false;
  Path& candidate = path(site, source);
  if (candidate.closed_until > clock_.steady()) return false;
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
  // A path that keeps us waiting gets another connection when no other path may.
  auto hangs = [&](Source* source) {
    const Path& candidate = path(site, *source);
    return candidate.idle.empty() && candidate.hangs();
  };
  if (!std::all_of(candidates.begin(), candidates.end(), hangs)) std::erase_if(candidates, hangs);
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
      serving.ungreeted += path->second->ungreeted;
      serving.busy += path->second->connected - path->second->idle.size() - path->second->retired;
    }
  }
  return serving;
}

void Scheduler::dispatch(Site& site) {
  if (std::exchange(site.limits_stale, false)) {
    for (auto& [name, path] : site.paths) refresh(*path);
  }
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
    const std::size_t wanted = leases_wanted(ready, bulk);
    const bool is_due = wanted > serving.ungreeted;
    const bool allow_open =
        is_due || (wanted > serving.connecting && may_try_further(site, ready, serving.ungreeted - wanted));
    Source* source = choose_source(site, ready, pool->second, allow_open);
    if (!source) return;
    Path& chosen = path(site, *source);
    if (chosen.idle.empty()) {
      if (serving.ungreeted == 0) ready.further_tries = 0;
      if (!is_due) ++ready.further_tries;
      if (!is_due || serving.ungreeted == 0) {
        ready.next_try_at = clock_.steady() + kSlowConnect * (1u << std::min(ready.further_tries, kMostDoublings));
      }
      open(site, chosen, *source);
      continue;
    }
    Connection& connection = connections_.at(chosen.idle.back());
    leave_idle(connection);
    lease(connection, pool_name);
    if (connection.leased.empty()) refill(connection);  // what it took had expired
  }
}

/// Every message that is due may have a connection opened for it. One that is late is no reason for a whole row of
/// others: mail that it keeps waiting gets one further try, on another path if there is one, then one after twice the
/// time, and so on, a few at most until a host answers.
bool Scheduler::may_try_further(Site& site, const PoolReady& ready, std::size_t beyond_due) {
  if (beyond_due >= kMostFurtherTries) return false;
  if (ready.next_try_at <= clock_.steady()) return true;
  site_wakes_.emplace(ready.next_try_at, site.name);
  return false;
}

/// The site answers: connections that are late are their paths' trouble, and the others need not wait for them.
void Scheduler::note_answer(Site& site) {
  for (auto& [name, ready] : site.pools) {
    ready.further_tries = 0;
    ready.next_try_at = clock_.steady() + kSlowConnect;
  }
  for (auto& [name, path] : site.paths) {
    if (path->ungreeted == path->connecting) continue;
    for (ConnectionId id : path->connections) {
      Connection& connection = connections_.at(id);
      if (!connection.promised) end_greeting(connection);
    }
  }
}

void Scheduler::leave_idle(Connection& connection) {
  if (!connection.idle) return;
  connection.idle = false;
  std::erase(connection.path->idle, connection.id);
}

/// It takes nothing more; it still counts as open until it is closed.
void Scheduler::retire(Connection& connection) {
  if (connection.closing) return;
  connection.closing = true;
  leave_idle(connection);
  if (connection.connected) ++connection.path->retired;
  end_greeting(connection);
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
  if (source.public_address) connection.source_ip = source.public_address->to_string();
  connection.promised = true;
  connection.ungreeted = true;
  path.connections.insert(plan.id);
  connecting_.emplace_back(clock_.steady() + kSlowConnect, plan.id);
  ++site.connections;
  ++path.connecting;
  ++path.ungreeted;
  ++source.connections;
  ports_.open(std::move(plan));
}

void Scheduler::on_connected(ConnectionId id) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  connection.connected = true;
  ++connection.path->connected;
  if (connection.closing) ++connection.path->retired;
  end_connecting(connection);
  end_greeting(connection);
  Site& site = *connection.path->site;
  note_answer(site);
  refill(connection);
  mark(site);  // it may have been left to this connection, which took something else
}

void Scheduler::end_connecting(Connection& connection) {
  if (!connection.promised) return;
  connection.promised = false;
  --connection.path->connecting;
}

void Scheduler::end_greeting(Connection& connection) {
  if (!connection.ungreeted) return;
  connection.ungreeted = false;
  --connection.path->ungreeted;
}

void Scheduler::on_connect_failed(ConnectionId id, const SessionFailure& failure) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  std::string problem =
      std::string(to_string(failure.stage)) + ": " + (failure.reply ? failure.reply->to_string() : failure.error);
  if (connection.outdated) {
    mark(*connection.path->site);
  } else if (failure.source_at_fault) {
    pull(*connection.source, "bind failed: " + failure.error);
  } else if (!stopping_) {
    path_failed(*connection.path, problem);
  }
  forget(connection);
}

void Scheduler::path_failed(Path& path, const std::string& problem) {
  const SteadyPoint now = clock_.steady();
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
  event.at = clock_.now();
  event.site = path.site->name;
  event.source = path.source;
  event.reason = "backing off for " + std::to_string(wait.count()) + " ms: " + problem;
  ports_.event(std::move(event));
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
    if (!ports_.is_prepared(*item->message)) {  // a reload or the time it waited made its signature old
      item->state = Item::State::Preparing;
      ports_.prepare(item->id, item->message);
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
      if (serves && path.closed_until <= clock_.steady()) lease(connection, name);
    }
    used_up = connection.max_messages > 0 && connection.taken >= connection.max_messages;
  }
  if (used_up || unwanted) {
    retire(connection);  // ends after what it holds
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
  retire(connection);
  // A host that closes after n messages has a cap, which is no failure; one that closes before the first is in trouble.
  if (report.delivered_before == 0 && !stopping_ && !connection.outdated) {
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
  context.source_ip = connection.source_ip;
  context.mx = report.target.name;
  context.mx_ip = report.target.endpoint.address().to_string();
  context.tls = report.tls;
  context.host_has_dsn = report.host_has_dsn;
  context.duration = report.duration;
  JudgedAttempt judged =
      judge(item.message, item.entry, report.results, context, clock_.now(), judge_options(), random_);
  if (judged.delivered > 0) {
    connection.path->failures = 0;
    connection.path->closed_until = SteadyPoint{};
  }
  if (judged.outcome.changes.empty()) {
    return_item(item);
  } else {
    finish(item, std::move(judged), connection.source, &site);
    site_answers(site, clock_.steady());
  }
}

/// What it had not begun waits at the site as before, in the order it was taken.
void Scheduler::return_unstarted(Connection& connection) {
  Site& site = *connection.path->site;
  std::set<ItemId> unstarted = std::exchange(connection.leased, {});
  for (auto it = unstarted.rbegin(); it != unstarted.rend(); ++it) {
    --site.in_flight;
    --in_flight_;
    if (Item* item = lanes_.find(*it)) return_item(*item);
  }
  mark(site);
}

void Scheduler::on_ending(ConnectionId id) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  retire(found->second);
  return_unstarted(found->second);
}

void Scheduler::on_closed(ConnectionId id) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  return_unstarted(found->second);
  forget(found->second);
}

void Scheduler::forget(Connection& connection) {
  Path& path = *connection.path;
  end_connecting(connection);
  end_greeting(connection);
  leave_idle(connection);
  if (connection.connected) --path.connected;
  if (connection.connected && connection.closing) --path.retired;
  path.connections.erase(connection.id);
  --path.site->connections;
  const Source& source = *connection.source;
  --connection.source->connections;
  connections_.erase(connection.id);
  if (source.connections == 0 && !options_->sources.contains(source.name)) sources_.erase(std::string(source.name));
}

}  // namespace danki::delivery
