#pragma once

#include "mta/delivery/scheduler.hpp"
#include "tests/fakes/clock.hpp"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

/// A world for the scheduler without threads: an index of due records that behaves like the spool's, hosts that answer
/// by a function, and a clock that is turned by hand. Requests are answered in the order they were made, each in a step
/// of its own, so a test may stop between any two.
namespace danki::fakes {

/// Sources out01, out02, ... in the pool "main", so many connections each.
inline std::shared_ptr<delivery::Options> options_with(int sources, int connections = 4) {
  auto options = std::make_shared<delivery::Options>();
  options->hostname = "relay.example.com";
  delivery::PoolOptions pool{.name = "main", .sources = {}, .standby = {}};
  for (int i = 1; i <= sources; ++i) {
    delivery::SourceOptions source;
    source.name = "out" + std::to_string(100 + i).substr(1);
    source.address = boost::asio::ip::make_address("10.0.0." + std::to_string(i));
    options->sources[source.name] = source;
    pool.sources.push_back(source.name);
  }
  options->pools["main"] = pool;
  delivery::ShapingOptions shaping;
  shaping.connections = {delivery::Setting<std::uint32_t>::Kind::Value, static_cast<std::uint32_t>(connections)};
  options->shaping.push_back(shaping);
  return options;
}

class DeliveryWorld : public delivery::SchedulerPorts {
 public:
  using Answer = std::function<std::vector<delivery::RecipientResult>(const std::string& source, const queue::Message&,
                                                                      const std::vector<std::uint32_t>& recipients)>;
  using ConnectAnswer = std::function<std::optional<delivery::SessionFailure>(const delivery::ConnectionPlan&)>;

  explicit DeliveryWorld(std::shared_ptr<const delivery::Options> options, delivery::Scheduler::Limits limits = {})
      : random(7), scheduler(*this, clock, random, std::move(options), limits) {
    answer = [](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
      return all(recipients, delivery::RecipientResult::Kind::Delivered,
                 mail::Reply{250, mail::EnhancedStatus{2, 0, 0}, "ok"});
    };
    connect = [](const delivery::ConnectionPlan&) { return std::nullopt; };
    resolution = [](const std::string& domain) {
      delivery::Resolution found;
      found.status = delivery::Resolution::Status::Ok;
      found.site = "mx." + domain;
      found.targets.push_back({"mx." + domain, {boost::asio::ip::make_address("192.0.2.1"), 25}});
      found.ttl = std::chrono::seconds(300);
      return found;
    };
  }

  static std::vector<delivery::RecipientResult> all(const std::vector<std::uint32_t>& recipients,
                                                    delivery::RecipientResult::Kind kind,
                                                    std::optional<mail::Reply> reply,
                                                    delivery::Stage stage = delivery::Stage::FinalDot) {
    std::vector<delivery::RecipientResult> results;
    for (std::uint32_t index : recipients) {
      results.push_back(
          {.recipient = index, .kind = kind, .stage = stage, .reply = reply, .error = reply ? "" : "connection lost"});
    }
    return results;
  }

  /// A message accepted now; its due records are in the index and announced.
  queue::MessagePtr submit(const std::vector<std::string>& recipients,
                           mail::MailClass klass = mail::MailClass::Transactional, const std::string& pool = "main",
                           const std::string& tenant = "signup", std::chrono::seconds expiry = std::chrono::hours(24)) {
    queue::MessagePtr message = make(recipients, klass, pool, tenant, expiry);
    queue::Accepted accepted{message, entries_of(*message)};
    for (const queue::DueEntry& entry : accepted.entries) store(entry);
    messages[message->id] = message;
    ++accepted_count;
    scheduler.on_accepted({accepted});
    return message;
  }

  /// A message as it was left on disk by an earlier run: in the index, not announced.
  queue::MessagePtr leave_on_disk(const std::vector<std::string>& recipients, TimePoint due,
                                  mail::MailClass klass = mail::MailClass::Transactional,
                                  const std::string& tenant = "signup",
                                  std::chrono::seconds expiry = std::chrono::hours(24)) {
    queue::MessagePtr message = make(recipients, klass, "main", tenant, expiry);
    for (queue::DueEntry entry : entries_of(*message)) {
      entry.due = due;
      store(entry);
    }
    messages[message->id] = message;
    return message;
  }

  void scan() {
    std::map<queue::LaneKey, queue::LaneCount> counts;
    for (const auto& [key, entry] : index) {
      queue::LaneCount& count = counts[entry.lane];
      if (count.entries == 0) count.earliest_due = entry.due;
      count.lane = entry.lane;
      ++count.entries;
      count.recipients += entry.recipients.size();
      count.earliest_due = std::min(count.earliest_due, entry.due);
    }
    std::vector<queue::LaneCount> lanes;
    for (auto& [key, count] : counts) lanes.push_back(count);
    scheduler.on_scanned(lanes, queue::MessageId{next_id});
  }

  /// Lets everything happen that can happen without time going on.
  void settle() {
    while (!timed.empty() && timed.begin()->first <= clock.steady()) {
      pending.push_back(std::move(timed.begin()->second));
      timed.erase(timed.begin());
    }
    scheduler.run();
    for (int steps = 0; !pending.empty() && steps < 2'000'000; ++steps) {
      auto next = std::move(pending.front());
      pending.pop_front();
      next();
      scheduler.run();
    }
  }

  /// Turns the clock by `span`, stopping wherever the scheduler wants to be woken or a host does something.
  void pass(std::chrono::milliseconds span) {
    TimePoint end = clock.now() + span;
    settle();
    while (clock.now() < end) {
      TimePoint next = scheduler.next_wake().value_or(end);
      if (!timed.empty()) {
        next = std::min(next, clock.now() + std::chrono::ceil<Duration>(timed.begin()->first - clock.steady()));
      }
      next = std::clamp(next, clock.now() + std::chrono::milliseconds(1), end);
      clock.advance(next - clock.now());
      settle();
    }
  }

  /// The host closes the connection.
  void hang_up(delivery::ConnectionId id) {
    gone(id);
    scheduler.on_closed(id);
  }

  // --- SchedulerPorts ---
  void open(delivery::ConnectionPlan plan) override {
    opened.push_back(plan.source);
    plans[plan.id] = plan;
    max_open = std::max(max_open, plans.size());
    per_path[plan.source + ">" + plan.site] += 1;
    max_per_path = std::max(max_per_path, per_path[plan.source + ">" + plan.site]);
    opened_at.push_back(clock.steady());
    auto greet = [this, plan] {
      if (auto failure = connect(plan)) {
        gone(plan.id);
        scheduler.on_connect_failed(plan.id, *failure);
      } else {
        scheduler.on_connected(plan.id);
      }
    };
    at(clock.steady() + (greets_after ? greets_after(plan) : Duration(0)), greet);
  }
  void assign(delivery::ConnectionId id, std::vector<delivery::WorkItem> items) override {
    for (delivery::WorkItem& item : items) {
      std::vector<SteadyPoint>& ends = ends_at[id];
      std::erase_if(ends, [now = clock.steady()](SteadyPoint end) { return end < now; });
      const Duration duration = takes && plans.contains(id) ? takes(plans.at(id)) : Duration(0);
      const SteadyPoint end = (ends.empty() ? clock.steady() : ends.back()) + duration;
      if (duration > Duration(0)) ends.push_back(end);
      auto send = [this, id, item, end] {
        auto plan = plans.find(id);
        if (plan == plans.end() || (hangs && hangs(plan->second))) return;
        if (auto leaves = leaving.find(id); leaves != leaving.end() && (end > leaves->second || ends_at[id].empty()))
          return;
        delivery::AttemptReport report;
        report.connection = id;
        report.item = item.item;
        report.delivered_before = sent[id];
        report.results = answer(plan->second.source, *item.message, item.recipients);
        report.failure = break_after ? break_after(plan->second, report) : std::nullopt;
        attempts.push_back({plan->second.source, item.message->id});
        for (const auto& result : report.results) {
          if (result.kind == delivery::RecipientResult::Kind::Delivered) {
            ++sent[id];
            ++delivered[{item.message->id, result.recipient}];
            ++by_source[plan->second.source];
          }
        }
        bool broken = report.failure.has_value();
        if (broken) gone(id);
        scheduler.on_report(report);
        if (broken) scheduler.on_closed(id);
      };
      at(end, send);
    }
  }
  void close(delivery::ConnectionId id) override {
    auto& ends = ends_at[id];
    at(ends.empty() ? clock.steady() : ends.back(), [this, id] {
      if (plans.contains(id)) {
        gone(id);
        scheduler.on_closed(id);
      }
    });
  }
  void close_soon(delivery::ConnectionId id) override {
    const auto& ends = ends_at[id];
    const auto under_way = std::upper_bound(ends.begin(), ends.end(), clock.steady());
    leaving[id] = under_way == ends.end() ? clock.steady() : *under_way;
    at(leaving[id], [this, id] {
      if (!plans.contains(id)) return;
      scheduler.on_ending(id);
      gone(id);
      scheduler.on_closed(id);
    });
  }
  void read_lane(delivery::ReadRequest request) override {
    ++reads;
    // What the page holds is decided now; it arrives later, when more may have happened.
    queue::LanePage page;
    Key first{request.key, TimePoint::min(), {}, 0};
    if (request.from) first = key_of(*request.from);
    for (auto it = index.lower_bound(first); it != index.end() && it->second.lane == request.key; ++it) {
      const queue::DueEntry& entry = it->second;
      if (entry.due > request.until || page.entries.size() >= request.limit) {
        page.next = entry;
        break;
      }
      page.entries.push_back(entry);
    }
    pending.push_back([this, lane = request.lane, page] { scheduler.on_page(lane, page); });
  }
  void load(std::vector<std::pair<delivery::ItemId, queue::MessageId>> items) override {
    loads += items.size();
    for (auto [item, id] : items) {
      pending.push_back([this, item, id] {
        auto found = messages.find(id);
        if (found == messages.end()) {
          scheduler.on_loaded(item, std::unexpected(Error{std::errc::no_such_file_or_directory, "gone"}));
        } else {
          scheduler.on_loaded(item, found->second);
        }
      });
    }
  }
  void prepare(delivery::ItemId item, queue::MessagePtr message) override {
    pending.push_back([this, item, id = message->id] {
      if (prepare_error.empty()) prepared.insert(id);
      scheduler.on_prepared(item, prepare_error);
    });
  }
  void discard(queue::DueEntry entry) override { index.erase(key_of(entry)); }
  void resolve(std::string domain) override {
    ++resolved[domain];
    pending.push_back([this, domain] { scheduler.on_resolved(domain, resolution(domain)); });
  }
  void record(std::vector<delivery::FinishedAttempt> finished) override {
    for (delivery::FinishedAttempt& attempt : finished) {
      for (const events::Event& event : attempt.judged.events) events.push_back(event);
      for (const mail::DsnRecipient& report : attempt.judged.dsn) reports.push_back(report);
    }
    unrecorded += finished.size();
    max_unrecorded = std::max(max_unrecorded, unrecorded);
    auto write = [this, finished] {
      std::vector<delivery::AppliedAttempt> applied;
      for (const delivery::FinishedAttempt& attempt : finished) {
        const queue::Outcome& outcome = attempt.judged.outcome;
        index.erase(key_of(outcome.entry));
        for (const queue::DueEntry& entry : outcome.remaining) store(entry);
        applied.push_back({attempt.item, outcome.remaining});
      }
      unrecorded -= finished.size();
      scheduler.on_applied(applied);
    };
    if (spool_stuck) {
      stuck.push_back(write);
    } else {
      pending.push_back(write);
    }
  }
  void reschedule(std::vector<queue::DueEntry> entries, TimePoint due) override {
    pending.push_back([this, entries, due] {
      for (const queue::DueEntry& entry : entries) {
        if (index.erase(key_of(entry)) == 0) continue;
        queue::DueEntry moved = entry;
        moved.due = due;
        store(moved);
      }
      scheduler.on_rescheduled(entries, due);
    });
  }
  void event(events::Event event) override { events.push_back(std::move(event)); }
  bool can_bind(const boost::asio::ip::address& address) override { return !unbindable.contains(address.to_string()); }
  bool is_prepared(const queue::Message& message) override { return unsigned_mail || prepared.contains(message.id); }

  void unstick() {
    spool_stuck = false;
    for (auto& write : stuck) pending.push_back(std::move(write));
    stuck.clear();
  }
  std::size_t count(events::Type type) const {
    return static_cast<std::size_t>(
        std::count_if(events.begin(), events.end(), [&](const events::Event& e) { return e.type == type; }));
  }
  std::size_t deliveries() const { return delivered.size(); }
  bool nobody_twice() const {
    return std::all_of(delivered.begin(), delivered.end(), [](const auto& d) { return d.second == 1; });
  }

  FakeClock clock;
  SeededRandom random;
  Answer answer;
  ConnectAnswer connect;
  /// Ends the session with this report, which it may change.
  std::function<std::optional<delivery::SessionFailure>(const delivery::ConnectionPlan&, delivery::AttemptReport&)>
      break_after;
  std::function<delivery::Resolution(const std::string&)> resolution;
  std::function<bool(const delivery::ConnectionPlan&)> hangs;             ///< its host never replies to what it is sent
  std::function<Duration(const delivery::ConnectionPlan&)> greets_after;  ///< or fails, as `connect` says
  std::function<Duration(const delivery::ConnectionPlan&)> takes;         ///< for one message
  std::string prepare_error;
  bool unsigned_mail = false;
  std::set<queue::MessageId> prepared;  ///< taken out by a test, a signature is old
  bool spool_stuck = false;
  std::set<std::string> unbindable;

  using Key = std::tuple<queue::LaneKey, TimePoint, queue::MessageId, std::uint32_t>;
  std::map<Key, queue::DueEntry> index;
  std::map<queue::MessageId, queue::MessagePtr> messages;
  std::map<std::pair<queue::MessageId, std::uint32_t>, int> delivered;
  std::map<std::string, int> by_source;
  std::vector<std::pair<std::string, queue::MessageId>> attempts;
  std::vector<std::string> opened;
  std::vector<SteadyPoint> opened_at;
  std::vector<events::Event> events;
  std::vector<mail::DsnRecipient> reports;
  std::map<std::string, int> resolved;
  std::size_t loads = 0, reads = 0, max_open = 0, unrecorded = 0, max_unrecorded = 0, accepted_count = 0;
  std::map<std::string, std::size_t> per_path;
  std::size_t max_per_path = 0;
  std::deque<std::function<void()>> pending;
  std::multimap<SteadyPoint, std::function<void()>> timed;
  std::map<delivery::ConnectionId, delivery::ConnectionPlan> plans;
  std::map<delivery::ConnectionId, SteadyPoint> leaving;               ///< and when
  std::map<delivery::ConnectionId, std::vector<SteadyPoint>> ends_at;  ///< of the messages it holds that take time
  delivery::Scheduler scheduler;

 private:
  static Key key_of(const queue::DueEntry& entry) {
    return {entry.lane, entry.due, entry.id, entry.recipients.front()};
  }
  void at(SteadyPoint when, std::function<void()> what) {
    if (when > clock.steady()) {
      timed.emplace(when, std::move(what));
    } else {
      pending.push_back(std::move(what));
    }
  }
  void store(const queue::DueEntry& entry) { index[key_of(entry)] = entry; }
  void gone(delivery::ConnectionId id) {
    const auto& plan = plans.at(id);
    --per_path[plan.source + ">" + plan.site];
    plans.erase(id);
  }
  queue::MessagePtr make(const std::vector<std::string>& recipients, mail::MailClass klass, const std::string& pool,
                         const std::string& tenant, std::chrono::seconds expiry) {
    mail::Envelope envelope;
    envelope.reverse_path = {"sender", "example.com"};
    for (const std::string& recipient : recipients)
      envelope.recipients.push_back({.address = *mail::parse_address(recipient), .orcpt = {}, .notify = 0});
    envelope.tenant = tenant;
    envelope.klass = klass;
    envelope.pool = pool;
    envelope.from_domain = "example.com";
    envelope.arrived_at = clock.now();
    envelope.expires_at = clock.now() + expiry;
    return std::make_shared<queue::Message>(queue::MessageId{++next_id}, std::move(envelope));
  }
  std::vector<queue::DueEntry> entries_of(const queue::Message& message) {
    std::map<std::string, std::vector<std::uint32_t>> by_domain;
    for (std::uint32_t i = 0; i < message.envelope.recipients.size(); ++i)
      by_domain[message.envelope.recipients[i].address.domain].push_back(i);
    std::vector<queue::DueEntry> entries;
    for (auto& [domain, recipients] : by_domain) {
      entries.push_back({{domain, message.envelope.klass, message.envelope.tenant},
                         message.envelope.arrived_at,
                         message.id,
                         recipients});
    }
    return entries;
  }

  std::uint64_t next_id = 0;
  std::map<delivery::ConnectionId, std::uint32_t> sent;
  std::vector<std::function<void()>> stuck;
};

}  // namespace danki::fakes
