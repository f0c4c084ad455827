// The egress sources: taken from the configuration, pulled when they cannot be bound, back when they can.
#include "base/log.hpp"
#include "mta/delivery/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace danki::delivery {

namespace {

constexpr std::chrono::seconds kPulledCheckEvery{30};  // is the address back on this host?

}  // namespace

void Scheduler::load_sources() {
  for (const auto& [name, options] : options_->sources) {
    Source& source = sources_[name];
    const std::string ehlo = options.ehlo.empty() ? options_->hostname : options.ehlo;
    if (source.address != options.address) source.pulled.clear();
    if (source.address != options.address || source.ehlo != ehlo) leave_source(source);
    source.name = name;
    source.address = options.address;
    source.public_address = options.public_address ? options.public_address : options.address;
    source.weight = options.weight;
    source.ehlo = ehlo;
  }
  for (auto it = sources_.begin(); it != sources_.end();) {
    bool gone = !options_->sources.contains(it->first);
    // One that still has connections is kept until they end.
    if (gone) leave_source(it->second);
    it = gone && it->second.connections == 0 ? sources_.erase(it) : std::next(it);
  }
}

/// The address or name it had is no longer ours to use: its connections end after the transaction under way, and what
/// closed its paths is forgotten.
void Scheduler::leave_source(const Source& source) {
  for (const auto& [name, site] : sites_.sites()) {
    auto path = site->paths.find(source.name);
    if (path == site->paths.end()) continue;
    path->second->failures = 0;
    path->second->closed_until = SteadyPoint{};
  }
  for (auto& [id, connection] : connections_) {
    if (connection.source != &source || connection.outdated) continue;
    connection.outdated = true;
    end_connecting(connection);
    retire(connection);
    ports_.close_soon(id);
    mark(*connection.path->site);
  }
}

bool Scheduler::is_out(const std::string& name) const {
  auto source = sources_.find(name);
  return source == sources_.end() || !source->second.pulled.empty() || !options_->sources.contains(name);
}

void Scheduler::pull(Source& source, const std::string& reason) {
  if (!source.pulled.empty()) return;
  source.pulled = reason;
  source.check_at = clock_.steady() + kPulledCheckEvery;
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

void Scheduler::check_pulled(SteadyPoint now) {
  for (auto& [name, source] : sources_) {
    if (source.pulled.empty() || source.check_at > now) continue;
    if (source.address && !ports_.can_bind(*source.address)) {
      source.check_at = now + kPulledCheckEvery;
      continue;
    }
    source.pulled.clear();
    events::Event event;
    event.type = events::Type::SourceState;
    event.at = clock_.now();
    event.source = name;
    event.reason = "active: the address can be bound again";
    ports_.event(std::move(event));
    for (const auto& [site_name, site] : sites_.sites()) mark(*site);
  }
}

}  // namespace danki::delivery
