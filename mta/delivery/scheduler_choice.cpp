// Which path takes the mail that is ready at a site, and whether it opens a connection for it.
#include "mta/delivery/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::size_t kMostFurtherTries = 4;  // at once, beyond what is due
constexpr unsigned kMostDoublings = 6;        // of the time between them: 32 s

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
  if (!reaches(site, source)) return false;
  Path& candidate = path(site, source);
  if (candidate.closed_until > clock_.steady()) return false;
  return !candidate.idle.empty() || (allow_open && may_open(candidate, ready));
}

/// If the bound on all connections let it: otherwise nobody need make way for it.
bool Scheduler::could_open(Site& site, const PoolReady& ready, const PoolOptions& pool) {
  bool could = false;
  for_each_in_use(pool,
                  [&](const std::string& name) { could = could || eligible(site, ready, sources_.at(name), true); });
  return could;
}

Scheduler::Source* Scheduler::choose_source(Site& site, PoolReady& ready, const PoolOptions& pool, bool allow_open) {
  std::vector<Source*> candidates;
  for_each_in_use(pool, [&](const std::string& name) {
    Source& source = sources_.at(name);
    if (eligible(site, ready, source, allow_open)) candidates.push_back(&source);
  });
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
  if (!is_configured(site, pool_name)) return;
  auto pool = options_->pools.find(pool_name);
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
    const bool wants_open =
        is_due || (wanted > serving.connecting && may_try_further(site, ready, serving.ungreeted - wanted));
    const bool allow_open = wants_open && may_open_another(site);
    Source* source = choose_source(site, ready, pool->second, allow_open);
    if (!source) {
      if (wants_open && !allow_open && could_open(site, ready, pool->second)) wait_for_connection(site, is_due);
      return;
    }
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

}  // namespace danki::delivery
