#include "mta/delivery/resolution.hpp"

#include "base/log.hpp"
#include "mail/address.hpp"

#include <utility>

namespace danki::delivery {

namespace {

Resolution::Status status_of(MxTargets::Status found) {
  switch (found) {
    case MxTargets::Status::Ok:
      return Resolution::Status::Ok;
    case MxTargets::Status::NullMx:
      return Resolution::Status::NullMx;
    case MxTargets::Status::NxDomain:
      return Resolution::Status::NxDomain;
    case MxTargets::Status::NoAddress:
    case MxTargets::Status::Forbidden:
      return Resolution::Status::NoAddress;
    case MxTargets::Status::Loop:
      return Resolution::Status::Loop;
    case MxTargets::Status::NoFamily:
    case MxTargets::Status::Temporary:
      return Resolution::Status::Temporary;
  }
  return Resolution::Status::Temporary;
}

}  // namespace

TargetQuery query_for(std::string domain, const Options& options, std::uint64_t seed) {
  TargetQuery query;
  query.allow_private = options.allow_private_mx;
  query.own_addresses = options.own_addresses;
  query.seed = seed;
  for (const RouteOptions& route : options.routes) {
    if (!mail::domain_matches(domain, route.match)) continue;
    query.next_hop = route.next_hop;
    query.route = route.match;
    break;
  }
  query.domain = std::move(domain);
  return query;
}

bool RouteWarnings::note(const TargetQuery& asked, const MxTargets& found, SteadyPoint now) {
  if (asked.next_hop.empty() || found.status == MxTargets::Status::Ok) return false;
  std::erase_if(logged_, [now](const auto& entry) { return now - entry.second >= std::chrono::minutes(1); });
  if (!logged_.emplace(asked.next_hop, now).second) return false;
  log::warn("the next hop of a route is not found", {{"route", asked.route},
                                                     {"next_hop", asked.next_hop},
                                                     {"domain", asked.domain},
                                                     {"error", found.error},
                                                     {"action", "its mail waits"}});
  return true;
}

Resolution to_resolution(MxTargets found) {
  Resolution resolution;
  resolution.status = status_of(found.status);
  resolution.site = std::move(found.site);
  resolution.targets = std::move(found.targets);
  resolution.ttl = std::chrono::seconds(found.ttl);
  resolution.error = std::move(found.error);
  return resolution;
}

}  // namespace danki::delivery
