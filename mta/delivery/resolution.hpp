#pragma once

#include "mta/delivery/mx_targets.hpp"
#include "mta/delivery/scheduler_ports.hpp"

namespace danki::delivery {

/// What the scheduler makes of an answer of DNS: which are news about the domain, and which only mean "ask again".
Resolution to_resolution(MxTargets found);

}  // namespace danki::delivery
