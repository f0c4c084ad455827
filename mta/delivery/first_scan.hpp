#pragma once

#include "base/result.hpp"
#include "queue/spool.hpp"

#include <chrono>
#include <functional>
#include <vector>

#include <boost/asio/awaitable.hpp>

namespace danki::delivery {

using Lanes = std::vector<queue::LaneCount>;
using ScanLanes = std::function<boost::asio::awaitable<Result<Lanes>>()>;

/// What lies in the spool at the start. A scan that fails is repeated after `wait`, doubling to a minute: without it
/// the backlog would not be delivered in this run.
boost::asio::awaitable<Lanes> first_scan(ScanLanes scan,
                                         std::chrono::milliseconds wait = std::chrono::milliseconds(1000));

}  // namespace danki::delivery
