// Mail whose site has no open path waits on disk, and no site keeps the others out of memory.
#include "base/log.hpp"
#include "mta/delivery/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::chrono::milliseconds kNoRoomRetry{20};
constexpr std::size_t kAskedPerSweep = 100;  // 20 questions a second
constexpr char kUnresolved = '?';            // before a domain's name: a group beside the sites

}  // namespace

std::string Scheduler::group_of(const std::string& domain) const {
  std::string site = site_of(domain);
  return site.empty() ? kUnresolved + domain : site;
}

/// A site without hosts of the source's address family is no path for it: no failure, no evidence.
bool Scheduler::reaches(const Site& site, const Source& source) const {
  if (!source.address) return true;
  const bool v4 = source.address->is_v4();
  return std::any_of(site.targets.begin(), site.targets.end(),
                     [&](const HostTarget& t) { return t.endpoint.address().is_v4() == v4; });
}

SteadyPoint Scheduler::opens_at(const Site& site, const std::string& pool_name, SteadyPoint now) const {
  auto pool = options_->pools.find(pool_name);
  SteadyPoint earliest = SteadyPoint::max();
  if (pool == options_->pools.end()) return earliest;
  for_each_in_use(pool->second, [&](const std::string& name) {
    if (earliest <= now || !reaches(site, sources_.at(name))) return;
    auto path = site.paths.find(name);
    earliest = std::min(earliest, path == site.paths.end() ? now : path->second->closed_until);
  });
  return earliest;
}

SteadyPoint Scheduler::opens_at(const Domain& domain, const std::string& pool, SteadyPoint now) const {
  return domain.site ? opens_at(*domain.site, pool, now) : domain.retry_resolve_at;
}

/// Mail of a pool that is not configured any more waits for the next reload: somebody must hear of it, once.
bool Scheduler::is_configured(Site& site, const std::string& pool) {
  if (options_->pools.contains(pool)) return true;
  site.last_reply = "pool " + pool + " is not configured";
  if (!missing_pools_.insert(pool).second) return false;
  log::warn("mail waits for a pool that is not configured", {{"pool", pool}, {"site", site.name}});
  events::Event event;
  event.type = events::Type::Error;
  event.at = clock_.now();
  event.site = site.name;
  event.pool = pool;
  event.reason = "pool " + pool + " is not configured: its mail waits until it is, or expires";
  ports_.event(std::move(event));
  return false;
}

/// True for mail that would only wait in memory. Has the domain asked for again when its time has come, as mail that is
/// taken in would.
bool Scheduler::waits_on_disk(Domain& domain, const std::string& pool, SteadyPoint now) {
  const SteadyPoint opens = opens_at(domain, pool, now);
  if (opens <= now + kSweepEvery) return false;
  resolve_if_needed(domain);
  if (domain.site) is_configured(*domain.site, pool);
  // No time is known when it opens: it depends on what DNS says next.
  if (opens == SteadyPoint::max() && domain.site) domain_wakes_.emplace(domain.resolved_until, domain.name);
  return true;
}

void Scheduler::park(Item& item) {
  lanes_.park(item, item.message->envelope.pool, item.message->envelope.expires_at);
}

/// Puts back what is ready where nothing opens for `at_least` so long.
void Scheduler::park_closed(SteadyPoint now, std::chrono::milliseconds at_least) {
  // What ended a session before stays: only in memory it is known how often.
  auto stays = [](const Item& item) { return item.untouched_returns > 0; };
  for (const auto& [name, site] : sites_.sites()) {
    for (auto& [pool_name, ready] : site->pools) {
      if (ready.ready[0] + ready.ready[1] == 0) continue;
      if (opens_at(*site, pool_name, now) <= now + at_least) continue;
      for (Item* item : sites_.drain(*site, pool_name, stays)) park(*item);
    }
  }
  for (const auto& [name, domain] : sites_.domains()) {
    if (domain->site || domain->ready == 0 || domain->resolving) continue;
    if (domain->retry_resolve_at <= now + at_least) continue;
    for (Item* item : sites_.drain(*domain, stays)) park(*item);
  }
}

/// Lets a few parked messages try a path that may open again; the others follow when the site answers.
void Scheduler::try_parked(LaneGroup& group, SteadyPoint now) {
  if (group.parked_lanes == 0) return;
  if (group.name.front() == kUnresolved) {
    Domain* domain = sites_.find_domain(group.name.substr(1));
    if (domain && !domain->site) {
      resolve_if_needed(*domain);
    } else {
      lanes_.unpark(group);
    }
    return;
  }
  Site* site = sites_.find_site(group.name);
  if (!site) {
    lanes_.unpark(group);
    return;
  }
  std::string open;
  for (const std::string& pool : group.parked_pools) {
    if (is_configured(*site, pool) && opens_at(*site, pool, now) <= now) open = pool;
  }
  if (open.empty()) return;
  if (group.parked_pools.size() > 1) {
    // What is read first may belong to a pool that is still closed.
    lanes_.unpark(group);
    return;
  }
  const PoolReady& ready = site->pools[open];
  const Serving at_work = serving(*site, options_->pools.at(open));
  if (ready.ready[0] + ready.ready[1] + at_work.connecting + at_work.busy == 0) lanes_.probe(group);
}

void Scheduler::try_all_parked(SteadyPoint now) {
  for (LaneGroup* group : lanes_.parked_groups()) try_parked(*group, now);
}

/// Mail that waits has its MX looked up again when the answer is too old: the domain may have moved away from the hosts
/// that keep it waiting. A few at a time, so that a large site in trouble is no burst of questions.
void Scheduler::ask_again(SteadyPoint now) {
  const auto& domains = sites_.domains();
  auto next = domains.upper_bound(asked_last_);
  std::size_t asked = 0;
  for (std::size_t seen = 0; seen < domains.size() && asked < kAskedPerSweep; ++seen, ++next) {
    if (next == domains.end()) next = domains.begin();
    Domain& domain = *next->second;
    if (!domain.site || domain.resolving || domain.resolved_until > now || domain.retry_resolve_at > now) continue;
    if (domain.ready == 0 && !lanes_.has_parked(domain.name)) continue;
    resolve_if_needed(domain);
    asked_last_ = domain.name;
    ++asked;
  }
}

/// A message heard its reply: what was parked for an open pool of this site follows.
void Scheduler::site_answers(const Site& site, SteadyPoint now) {
  if (lanes_.parked_lanes() == 0) return;
  LaneGroup* group = lanes_.find_group(site.name);
  if (!group) return;
  for (const std::string& pool : group->parked_pools) {
    if (opens_at(site, pool, now) > now) continue;
    lanes_.unpark(*group);
    return;
  }
}

/// The table is full and a site with less than its share is kept out: who has more gives it up. Bulk goes first, and
/// transactional mail is put back for transactional mail only. True if there is room now.
bool Scheduler::make_room(SteadyPoint now) {
  if (now < no_room_before_) return false;
  const auto klass = lanes_.crowded_out();
  if (!klass) return false;
  const std::size_t before = lanes_.in_memory();
  park_closed(now, std::chrono::milliseconds(0));
  if (lanes_.crowded_out()) put_back_surplus(mail::MailClass::Bulk);
  if (lanes_.crowded_out() == mail::MailClass::Transactional) put_back_surplus(mail::MailClass::Transactional);
  if (lanes_.in_memory() == before) {
    no_room_before_ = now + kNoRoomRetry;
    return false;
  }
  lanes_.feed_all();
  return true;
}

void Scheduler::put_back_surplus(mail::MailClass klass) {
  for (LaneGroup* group : lanes_.over_share(klass)) {
    const std::size_t surplus = group->held[static_cast<std::size_t>(klass)] - lanes_.share(klass);
    std::vector<Item*> chosen;  // the last due first
    for (auto lane = group->lanes.rbegin(); lane != group->lanes.rend(); ++lane) {
      if (lane->second->key.klass != klass) continue;
      const auto& members = lane->second->members;
      for (auto member = members.rbegin(); member != members.rend(); ++member) {
        if (chosen.size() == surplus) break;
        Item* item = lanes_.find(member->second);
        if (item->state == Item::State::Ready) chosen.push_back(item);
      }
    }
    for (Item* item : chosen) {
      sites_.remove(*item);
      lanes_.put_back(*item);
    }
  }
}

}  // namespace danki::delivery
