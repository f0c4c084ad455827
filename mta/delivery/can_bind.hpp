#pragma once

#include <boost/asio/ip/address.hpp>

namespace danki::delivery {

/// True if a socket can be bound to the address now.
bool can_bind(const boost::asio::ip::address& address);

}  // namespace danki::delivery
