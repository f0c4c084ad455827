// How many connections there are to all sites together, and who gets them when there are not enough.
#include "base/log.hpp"
#include "mta/delivery/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::size_t kWokenByOneEnd = 8;  // sites that look whether they may open now
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
  if (site.waiting) return;
  site.waiting = true;
  const bool starves = is_due && site.connections < connections_share();
  (starves ? starved_ : above_share_).push_back(&site);
  if (is_crowded() && !idle_.empty()) make_way(connections_.at(*idle_.begin()));
}

/// Sites below their share wait for connections to end, for more than are ending.
bool Scheduler::is_crowded() const {
  return starved_.size() > making_way_ && connections_.size() >= limits_.connections;
}

void Scheduler::make_way(Connection& connection) {
  connection.making_way = true;
  ++making_way_;
  retire(connection);
  ports_.close(connection.id);
}

void Scheduler::wake_waiting(std::size_t most) {
  for (std::deque<Site*>* sites : {&starved_, &above_share_}) {
    for (; most > 0 && !sites->empty(); --most) {
      Site* site = sites->front();
      sites->pop_front();
      site->waiting = false;
      mark(*site);
    }
  }
}

void Scheduler::wake_waiting() {
  const std::size_t open = connections_.size();
  if (open < limits_.connections) wake_waiting(std::min(limits_.connections - open, kWokenByOneEnd));
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
