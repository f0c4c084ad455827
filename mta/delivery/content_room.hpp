#pragma once

#include "mta/delivery/content_budget.hpp"

#include <cstdint>

#include <boost/asio/awaitable.hpp>

namespace danki::delivery {

/// Returns when the budget has room for so many octets. Cannot be cancelled: room comes back as others end. `budget`
/// outlives what it grants.
boost::asio::awaitable<ContentBudget::Room> room_for(ContentBudget& budget, std::uint64_t octets);

}  // namespace danki::delivery
