// How many connections there are to all sites together, and who gets them when there are not enough.
#include "base/log.hpp"
#include "mta/delivery/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::size_t kWokenByOneEnd = 8;  // sites that look whether they may open now
constexpr std::size_t kTurnMessages = 20;  // a connection serves at least so many, and
constexpr std::chrono::seconds kTurn{1};   // so long, before another site has its turn; at a slow host fewer, for
constexpr std::chrono::seconds kLongTurn{30};
constexpr std::chrono::seconds kCountedOn{1};  // most connections have ended so long after they were told to
constexpr std::chrono::seconds kLocalTroubleWait{1};
constexpr std::chrono::minutes kTellTroubleEvery{1};

constexpr std::uint64_t kFilesOfOthers = 600;       // the spool's tables (256) and logs, event logs, listeners, DNS
constexpr std::uint64_t kMostConnections = 20'000;  // as sessions; under TLS each holds some 50 KiB

}  // namespace

std::size_t most_connections(std::uint64_t open_files) {
  const std::uint64_t left = open_files - std::min(open_files, kFilesOfOthers);
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(left / 2, 16, kMostConnections));
}

/// An equal part of all connections for each site that has some, those that want some, and one that may come.
std::size_t Scheduler::connections_share() const {
  return std::max<std::size_t>(1, limits_.connections / (connected_sites_ + starved_.size() + 1));
}

/// The last quarter is for sites below their share, so that one comes to its first connection however many another
/// has.
bool Scheduler::may_open_another(const Site& site) const {
  if (no_opening_before_ > clock_.steady() || connections_.size() >= limits_.connections) return false;
  const bool last_quarter = connections_.size() >= limits_.connections - limits_.connections / 4;
  return !last_quarter || site.connections < connections_share();
}

/// `is_due`: it has mail that no connection was opened for.
void Scheduler::wait_for_connection(Site& site, bool is_due) {
  const bool starves = is_due && site.connections < connections_share();
  if (site.waiting && (site.starves || !starves)) return;
  if (site.waiting) std::erase(above_share_, &site);  // it has lost what it had
  site.waiting = true;
  site.starves = starves;
  (starves ? starved_ : above_share_).push_back(&site);
  if (is_crowded() && !idle_.empty()) make_way(connections_.at(*idle_.begin()));
}

/// Sites below their share wait for connections to end, for more than are ending.
bool Scheduler::is_crowded() const {
  return starved_.size() > making_way_ && connections_.size() >= limits_.connections;
}

/// One of a site above its share does after any message, as there will be others; where every site has one at most,
/// they take turns. A new one takes something at least.
bool Scheduler::should_make_way(const Connection& connection) const {
  if (connection.taken == 0 || !is_crowded()) return false;
  if (connection.path->site->connections > connections_share()) return true;
  if (starved_.front()->connections > 0) return false;
  const std::size_t sent = connection.taken - connection.leased.size();
  const auto served = clock_.steady() - connection.connected_at;
  return (sent >= kTurnMessages && served >= kTurn) || (sent > 0 && served >= kLongTurn);
}

/// After the message under way: what else it holds may be an hour's work at a slow host.
void Scheduler::make_way(Connection& connection) {
  connection.making_way = true;
  ++making_way_;
  counted_on_until_.emplace_back(clock_.steady() + kCountedOn, connection.id);
  retire(connection);
  ports_.close_soon(connection.id);
}

void Scheduler::end_making_way(Connection& connection) {
  if (!connection.making_way) return;
  connection.making_way = false;
  --making_way_;
}

/// One that takes long to end keeps no other from making way.
void Scheduler::count_on_others(SteadyPoint now) {
  while (!counted_on_until_.empty() && counted_on_until_.front().first <= now) {
    auto late = connections_.find(counted_on_until_.front().second);
    counted_on_until_.pop_front();
    if (late != connections_.end()) end_making_way(late->second);
  }
  if (is_crowded() && !idle_.empty()) make_way(connections_.at(*idle_.begin()));
}

void Scheduler::offer_to_waiting(std::size_t most) {
  offered_ = std::max(offered_, most);
}

void Scheduler::offer_freed() {
  const std::size_t open = connections_.size();
  if (open < limits_.connections) offer_to_waiting(std::min(limits_.connections - open, kWokenByOneEnd));
}

/// Whoever waits longest first, and before the sites that lost a connection just now. What one does not want any more
/// is for the next.
void Scheduler::let_waiting_look(SteadyPoint now) {
  if (offered_ == 0 || no_opening_before_ > now || saturated()) return;
  while (const std::size_t most = std::exchange(offered_, 0)) {
    const std::size_t waiting = starved_.size() + above_share_.size();
    std::vector<Site*> woken;
    for (std::deque<Site*>* sites : {&starved_, &above_share_}) {
      for (; woken.size() < most && !sites->empty(); sites->pop_front()) {
        woken.push_back(sites->front());
        sites->front()->waiting = false;
      }
    }
    for (Site* site : woken) dispatch(*site);
    if (starved_.size() + above_share_.size() < waiting) offer_freed();
  }
}

/// No descriptor, memory or port for a connection: that is nobody's fault but ours. Nothing is counted against the path
/// or the mail; a moment later it is tried again.
void Scheduler::local_trouble(Path& path, const std::string& problem, bool concerns_all) {
  const SteadyPoint now = clock_.steady();
  const SteadyPoint again_at = now + kLocalTroubleWait;
  path.site->last_reply = problem;
  if (concerns_all) no_opening_before_ = again_at;
  path.closed_until = std::max(path.closed_until, again_at);
  site_wakes_.emplace(path.closed_until, path.site->name);
  mark(*path.site);
  if (now < tell_trouble_again_at_) return;
  tell_trouble_again_at_ = now + kTellTroubleEvery;
  log::error("no connection could be opened from this host",
             {{"source", path.source}, {"error", problem}, {"connections", connections_.size()}, {"action", "retry"}});
  events::Event event;
  event.type = events::Type::Error;
  event.at = clock_.now();
  event.site = path.site->name;
  event.source = path.source;
  event.reason = "no connection could be opened from this host: " + problem;
  ports_.event(std::move(event));
}

}  // namespace danki::delivery
