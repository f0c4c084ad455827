#pragma once

#include <string>

#include <boost/asio/ip/tcp.hpp>

namespace danki::delivery {

/// One address of one MX host.
struct HostTarget {
  std::string name;
  boost::asio::ip::tcp::endpoint endpoint;
};

}  // namespace danki::delivery
