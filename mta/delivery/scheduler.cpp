#include "mta/delivery/scheduler.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::chrono::seconds kLoadRetry{5};
constexpr std::chrono::seconds kMinResolutionTtl{60};  // an MX set is asked for at most this often
constexpr std::chrono::seconds kMaxResolutionTtl{3600};

}  // namespace

Scheduler::Scheduler(SchedulerPorts& ports, const Clock& clock, Random& random, std::shared_ptr<const Options> options,
                     Limits limits)
    : ports_(ports),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      limits_(limits),
      lanes_(limits.lanes, [this](const std::string& domain) { return group_of(domain); }) {
  load_sources();
}

Scheduler::~Scheduler() = default;

void Scheduler::set_options(std::shared_ptr<const Options> options) {
  options_ = std::move(options);
  missing_pools_.clear();
  load_sources();
  const SteadyPoint now = clock_.steady();
  for (const auto& [name, domain] : sites_.domains()) {
    sites_.set_kind(*domain, domain_kind(*options_, name));
    domain->resolved_until = SteadyPoint{};  // routes may have changed
    if (domain->ready > 0 || lanes_.has_parked(name)) resolve_if_needed(*domain);
  }
  for (const auto& [name, site] : sites_.sites()) {
    site->limits_stale = true;
    mark(*site);
  }
  check_pulled(now);
  try_all_parked(now);
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
  const std::string& pool = message->envelope.pool;
  if (Domain* domain = sites_.find_domain(entry.lane.domain);
      domain && entry.due <= now && waits_on_disk(*domain, pool, clock_.steady())) {
    lanes_.add_parked(entry, pool, message->envelope.expires_at);
    return;
  }
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
    reload_at_.emplace(clock_.steady() + kLoadRetry, id);
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
    finish(item, expired(item, now), nullptr, nullptr);
    return;
  }
  if (Domain* domain = sites_.find_domain(item.entry.lane.domain);
      domain && waits_on_disk(*domain, item.message->envelope.pool, clock_.steady())) {
    park(item);
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
  const SteadyPoint now = clock_.steady();
  if (domain.resolving || domain.retry_resolve_at > now) return;
  if (domain.site && domain.resolved_until > now) return;
  domain.resolving = true;
  ports_.resolve(domain.name);
}

void Scheduler::on_resolved(const std::string& name, const Resolution& resolution) {
  Domain* domain = sites_.find_domain(name);
  if (!domain) return;
  const SteadyPoint now = clock_.steady();
  domain->resolving = false;
  switch (resolution.status) {
    case Resolution::Status::Ok: {
      Site& site = sites_.site(resolution.site);
      site.targets = resolution.targets;
      sites_.set_kind(*domain, domain_kind(*options_, name));
      sites_.bind(*domain, site);
      lanes_.regroup(name, group_of(name));
      domain->resolve_failures = 0;
      domain->problem.clear();
      domain->retry_resolve_at = SteadyPoint{};
      domain->resolved_until = now + std::clamp(resolution.ttl, kMinResolutionTtl, kMaxResolutionTtl);
      mark(site);
      // Its hosts may have changed, or have none that a source of the pool reaches still: then look again.
      if (lanes_.has_parked(name)) domain_wakes_.emplace(domain->resolved_until, name);
      if (LaneGroup* group = lanes_.find_group(site.name)) try_parked(*group, now);
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
  domain.resolved_until = SteadyPoint{};
  // What was put back hears the same, page by page, whatever its site was before.
  sites_.unbind(domain);
  lanes_.regroup(domain.name, group_of(domain.name));
  if (LaneGroup* group = lanes_.find_group(group_of(domain.name))) lanes_.unpark(*group);
}

void Scheduler::mark(Site& site) {
  if (site.dirty) return;
  site.dirty = true;
  dirty_.push_back(&site);
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

/// With what is known of why it was not delivered.
JudgedAttempt Scheduler::expired(const Item& item, TimePoint now) {
  Hindrance hindrance;
  if (const Domain* domain = sites_.find_domain(item.entry.lane.domain); domain && domain->site) {
    hindrance = domain->site->hindrance;
    hindrance.site = domain->site->name;
  } else if (domain) {
    hindrance.site = domain->name;
    hindrance.reason = domain->problem;
    hindrance.at = now;
  }
  return expire(item.message, item.entry, hindrance, now);
}

void Scheduler::expire_ready(TimePoint now) {
  std::vector<Item*> over;
  for (const auto& [id, item] : lanes_.items()) {
    if (item->state == Item::State::Ready && item->message->envelope.expires_at <= now) over.push_back(item.get());
  }
  for (Item* item : over) {
    Domain* domain = sites_.find_domain(item->entry.lane.domain);
    sites_.remove(*item);
    JudgedAttempt judged = expired(*item, now);
    finish(*item, std::move(judged), nullptr, domain ? domain->site : nullptr);
  }
}

void Scheduler::run() {
  const SteadyPoint now = clock_.steady();
  if (held_back_) resume();
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepEvery;
    expire_ready(clock_.now());
    check_pulled(now);
    park_closed(now, kSweepEvery);
    try_all_parked(now);
    ask_again(now);
    offer_to_waiting(starved_.size() + above_share_.size());
    sites_.sweep(now, [this](const std::string& domain) { return lanes_.has_parked(domain); });
  }
  while (!reload_at_.empty() && reload_at_.begin()->first <= now) {
    if (Item* item = lanes_.find(reload_at_.begin()->second)) to_load_.emplace_back(item->id, item->entry.id);
    reload_at_.erase(reload_at_.begin());
  }
  while (!domain_wakes_.empty() && domain_wakes_.begin()->first <= now) {
    Domain* domain = sites_.find_domain(domain_wakes_.begin()->second);
    domain_wakes_.erase(domain_wakes_.begin());
    if (domain && (domain->ready > 0 || lanes_.has_parked(domain->name))) resolve_if_needed(*domain);
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
    const std::string& name = site_wakes_.begin()->second;
    if (Site* site = sites_.find_site(name)) mark(*site);
    if (LaneGroup* group = lanes_.find_group(name)) try_parked(*group, now);
    site_wakes_.erase(site_wakes_.begin());
  }
  if (no_opening_before_ != SteadyPoint{} && no_opening_before_ <= now) {
    no_opening_before_ = SteadyPoint{};
    offer_to_waiting(starved_.size() + above_share_.size());
  }
  if (!stopping_) {
    do {
      for (ReadRequest& request : lanes_.reads_due(clock_.now())) ports_.read_lane(std::move(request));
    } while (make_room(now));
  }
  if (!to_load_.empty()) ports_.load(std::exchange(to_load_, {}));
  count_on_others(now);
  if (!stopping_) let_waiting_look(now);
  std::vector<Site*> dirty = std::exchange(dirty_, {});
  for (Site* site : dirty) {
    site->dirty = false;
    if (!stopping_) dispatch(*site);
  }
  if (!finished_.empty()) ports_.record(std::exchange(finished_, {}));
}

TimePoint Scheduler::calendar(SteadyPoint at) const {
  return clock_.now() + std::chrono::ceil<Duration>(at - clock_.steady());
}

std::optional<TimePoint> Scheduler::next_wake() const {
  if (!dirty_.empty()) return TimePoint{};
  SteadyPoint next = next_sweep_;
  auto earlier = [&](SteadyPoint at) { next = std::min(next, at); };
  if (!reload_at_.empty()) earlier(reload_at_.begin()->first);
  if (!domain_wakes_.empty()) earlier(domain_wakes_.begin()->first);
  if (!site_wakes_.empty()) earlier(site_wakes_.begin()->first);
  if (!connecting_.empty()) earlier(connecting_.front().first);
  if (!counted_on_until_.empty()) earlier(counted_on_until_.front().first);
  if (no_opening_before_ != SteadyPoint{}) earlier(no_opening_before_);
  const auto lane = lanes_.next_wake();
  if (!lane || stopping_) return calendar(next);  // stopping, no lane is read
  return std::min(calendar(next), *lane);
}

void Scheduler::stop() {
  stopping_ = true;
  for (auto& [id, connection] : connections_) {
    if (connection.idle) ports_.close(id);
    retire(connection);
  }
}

}  // namespace danki::delivery
