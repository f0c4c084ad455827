#pragma once

#include <cstdint>
#include <string>

#include <boost/asio/ip/tcp.hpp>

namespace danki::delivery {

/// One address of one MX host.
struct HostTarget {
  std::string name;
  boost::asio::ip::tcp::endpoint endpoint;
  std::uint16_t preference = 0;  ///< of the MX record
};

}  // namespace danki::delivery
