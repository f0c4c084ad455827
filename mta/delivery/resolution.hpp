#pragma once

#include "base/time.hpp"
#include "mta/delivery/mx_targets.hpp"
#include "mta/delivery/options.hpp"
#include "mta/delivery/scheduler_ports.hpp"

#include <map>
#include <string>

namespace danki::delivery {

/// What is asked for `domain`: the next hop of the first route that matches, else its MX.
TargetQuery query_for(std::string domain, const Options& options, std::uint64_t seed);

/// What the lookup of a domain's MX hosts means for its mail.
Resolution to_resolution(MxTargets found);

/// Mail for a route whose next hop is not found waits until somebody mends the route or DNS: each such next hop is
/// named in the log, at most once a minute.
class RouteWarnings {
 public:
  /// True if it was logged now.
  bool note(const TargetQuery& asked, const MxTargets& found, SteadyPoint now);

 private:
  std::map<std::string, SteadyPoint> logged_;  ///< by next hop, of the last minute
};

}  // namespace danki::delivery
