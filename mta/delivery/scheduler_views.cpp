// What operators ask of the scheduler, answered from its live state.
#include "base/time.hpp"
#include "mta/delivery/scheduler.hpp"

#include <algorithm>

namespace danki::delivery {

SchedulerCounts Scheduler::counts() const {
  SchedulerCounts counts = counts_;
  counts.entries = lanes_.entries();
  counts.in_memory = lanes_.in_memory();
  counts.recording = recording_;
  counts.connections = connections_.size();
  return counts;
}

std::vector<SourceView> Scheduler::sources() const {
  std::vector<SourceView> views;
  for (const auto& [name, source] : sources_) {
    SourceView view;
    view.name = name;
    view.address = source.address ? source.address->to_string() : "any";
    view.state = source.pulled.empty() ? "active" : "pulled";
    view.reason = source.pulled;
    view.delivered = source.delivered;
    view.deferred = source.deferred;
    view.bounced = source.bounced;
    view.connections = source.connections;
    views.push_back(std::move(view));
  }
  return views;
}

std::string Scheduler::site_of(const std::string& domain) const {
  auto found = sites_.domains().find(domain);
  return found == sites_.domains().end() || !found->second->site ? std::string() : found->second->site->name;
}

std::vector<SiteSummary> Scheduler::sites() const {
  const SteadyPoint now = clock_.steady();
  std::map<std::string, SiteSummary> by_name;
  auto summary = [&](const std::string& name) -> SiteSummary& {
    SiteSummary& found = by_name[name];
    found.site = name;
    return found;
  };
  std::map<std::string, std::set<std::string>> without_pool;  // by site: pools that its mail waits for
  for (const auto& [id, lane] : lanes_.lanes()) {
    // Mail for a domain not looked up since the start waits under the domain's own name.
    std::string site = site_of(lane->key.domain);
    SiteSummary& line = summary(site.empty() ? lane->key.domain : site);
    (lane->key.klass == mail::MailClass::Transactional ? line.transactional : line.bulk) += lane->entries;
    std::optional<TimePoint> due;
    if (!lane->members.empty()) due = lane->members.begin()->first.due;
    if (lane->disk_from && (!due || lane->disk_from->due < *due)) due = lane->disk_from->due;
    if (lane->parked) {
      for (const std::string& pool : lane->group->parked_pools) {
        if (!options_->pools.contains(pool)) without_pool[line.site].insert(pool);
      }
    }
    if (lane->parked && (!due || lane->parked->from.due < *due)) due = lane->parked->from.due;
    bool none_yet = line.earliest_due.time_since_epoch().count() == 0;
    if (due && (none_yet || *due < line.earliest_due)) line.earliest_due = *due;
  }
  for (const auto& [name, domain] : sites_.domains()) {
    if (domain->site || (domain->ready == 0 && !lanes_.has_parked(name))) continue;
    SiteSummary& line = summary(name);
    line.ready += domain->ready;
    line.state = domain->problem.empty()
                     ? "looking up MX"
                     : domain->problem + ", again at " + to_rfc3339(calendar(domain->retry_resolve_at));
  }
  for (const auto& [name, site] : sites_.sites()) {
    if (by_name.find(name) == by_name.end() && site->connections == 0) continue;
    SiteSummary& line = summary(name);
    line.ready = site->ready(mail::MailClass::Transactional) + site->ready(mail::MailClass::Bulk);
    line.in_flight = site->in_flight;
    line.connections = site->connections;
    line.last_reply = site->last_reply;
    line.state = "ok";
    bool any_open = site->paths.empty();
    SteadyPoint opens = SteadyPoint::max();
    for (const auto& [source, path] : site->paths) {
      if (path->closed_until <= now) any_open = true;
      opens = std::min(opens, path->closed_until);
    }
    if (!any_open) line.state = "backing off until " + to_rfc3339(calendar(opens));
  }
  for (const auto& [name, site] : sites_.sites()) {
    for (const auto& [pool, ready] : site->pools) {
      if (ready.ready[0] + ready.ready[1] > 0 && !options_->pools.contains(pool)) without_pool[name].insert(pool);
    }
  }
  for (const auto& [name, pools] : without_pool) {
    std::string& state = summary(name).state;
    if (state == "ok") state.clear();
    for (const std::string& pool : pools) state += (state.empty() ? "pool " : "; pool ") + pool + " is not configured";
  }
  std::vector<SiteSummary> lines;
  for (auto& [name, line] : by_name) {
    if (line.state.empty()) line.state = "waiting";
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<queue::LaneKey> Scheduler::retry(const EntrySelector& selector, const std::vector<queue::LaneKey>* only) {
  std::vector<queue::LaneKey> keys;
  std::set<std::string> touched;
  for (const auto& [id, lane] : lanes_.lanes()) {
    if (only && std::find(only->begin(), only->end(), lane->key) == only->end()) continue;
    if (!selector.domain.empty() && lane->key.domain != selector.domain) continue;
    if (!selector.tenant.empty() && lane->key.tenant != selector.tenant) continue;
    if (selector.klass && lane->key.klass != *selector.klass) continue;
    std::string site = site_of(lane->key.domain);
    if (!selector.site.empty() && site != selector.site && lane->key.domain != selector.site) continue;
    keys.push_back(lane->key);
    if (Domain* domain = sites_.find_domain(lane->key.domain)) {
      domain->retry_resolve_at = SteadyPoint{};
      if (domain->ready > 0 || lane->parked) resolve_if_needed(*domain);
    }
    if (!site.empty()) touched.insert(site);
  }
  for (const std::string& name : touched) {
    Site* site = sites_.find_site(name);
    for (auto& [source, path] : site->paths) path->closed_until = SteadyPoint{};
    mark(*site);
    if (LaneGroup* group = lanes_.find_group(name)) try_parked(*group, clock_.steady());
  }
  return keys;
}

std::size_t Scheduler::reschedule(std::vector<queue::DueEntry> entries) {
  std::vector<queue::DueEntry> movable = lanes_.begin_move(std::move(entries));
  std::size_t count = movable.size();
  if (count > 0) ports_.reschedule(std::move(movable), clock_.now());
  return count;
}

void Scheduler::on_rescheduled(const std::vector<queue::DueEntry>& old, TimePoint due) {
  lanes_.end_move(old, due);
}

}  // namespace danki::delivery
