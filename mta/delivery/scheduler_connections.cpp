// The life of connections: opening, leases, reports, the end.
#include "base/log.hpp"
#include "mta/delivery/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr unsigned kMaxStaleReturns = 30;
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

std::string problem_of(const SessionFailure& failure) {
  return std::string(to_string(failure.stage)) + ": " + (failure.reply ? failure.reply->to_string() : failure.error);
}

}  // namespace

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
  idle_.erase(connection.id);
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
  if (site.connections++ == 0) ++connected_sites_;
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
  connection.connected_at = clock_.steady();
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
  if (connection.outdated) {
    mark(*connection.path->site);
  } else if (failure.no_descriptor || failure.no_port) {
    local_trouble(*connection.path, problem_of(failure), failure.no_descriptor);
  } else if (failure.source_at_fault) {
    pull(*connection.source, "bind failed: " + failure.error);
  } else if (!stopping_) {
    path_failed(connection, failure);
  }
  forget(connection);
}

void Scheduler::path_failed(const Connection& connection, const SessionFailure& failure) {
  const SteadyPoint now = clock_.steady();
  Path& path = *connection.path;
  const std::string problem = problem_of(failure);
  path.site->last_reply = problem;
  path.site->hindrance = {.site = path.site->name,
                          .source = path.source,
                          .source_ip = connection.source_ip,
                          .mx = failure.target.name,
                          .mx_ip = failure.target.name.empty() ? "" : failure.target.endpoint.address().to_string(),
                          .reply = failure.reply,
                          .reason = problem,
                          .at = clock_.now()};
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
      finish(*item, expired(*item, now), connection.source, &site);
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
  if (!unwanted && should_make_way(connection)) {
    make_way(connection);
    return;
  }
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
  if (connection.leased.empty() && is_crowded()) {
    make_way(connection);
    return;
  }
  if (connection.leased.empty() && !connection.idle) {
    connection.idle = true;
    path.idle.push_back(connection.id);
    idle_.insert(connection.id);
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
    path_failed(connection, *report.failure);
  }
}

void Scheduler::settle(Item& item, Connection& connection, AttemptReport& report) {
  Site& site = *connection.path->site;
  bool untouched_after_mail = std::any_of(report.results.begin(), report.results.end(), [](const RecipientResult& r) {
    return r.kind == RecipientResult::Kind::Untouched && r.stage >= Stage::Mail;
  });
  // A connection that served before and went before MAIL was answered was gone already: no matter of this message,
  // unless that happens to it again and again.
  const bool was_stale = untouched_after_mail && report.delivered_before > 0 && report.failure &&
                         !report.failure->reply && report.failure->stage <= Stage::Mail &&
                         item.stale_returns++ < kMaxStaleReturns;
  if (untouched_after_mail && !was_stale && ++item.untouched_returns >= kMaxUntouchedReturns && !stopping_) {
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
    site.hindrance = {};
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
  Connection& connection = found->second;
  // A host that leaves behind its greeting, each time, is in trouble: without a wait it would be asked without end. One
  // that has taken mail before may leave when it likes.
  const bool took_nothing = connection.taken > 0 && connection.leased.size() == connection.taken;
  if (connection.connected && took_nothing && !connection.closing && !connection.outdated && !stopping_) {
    path_failed(connection, {.stage = Stage::Mail, .error = "closed before the first message"});
  }
  return_unstarted(connection);
  forget(connection);
}

void Scheduler::forget(Connection& connection) {
  Path& path = *connection.path;
  end_connecting(connection);
  end_greeting(connection);
  leave_idle(connection);
  if (connection.connected) --path.connected;
  if (connection.connected && connection.closing) --path.retired;
  path.connections.erase(connection.id);
  end_making_way(connection);
  if (--path.site->connections == 0) --connected_sites_;
  const Source& source = *connection.source;
  --connection.source->connections;
  connections_.erase(connection.id);
  if (source.connections == 0 && !options_->sources.contains(source.name)) sources_.erase(std::string(source.name));
  offer_freed();
}

}  // namespace danki::delivery
