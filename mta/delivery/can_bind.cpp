#include "mta/delivery/can_bind.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <sys/socket.h>
#include <unistd.h>

namespace danki::delivery {

bool can_bind(const boost::asio::ip::address& address) {
  const boost::asio::ip::tcp::endpoint endpoint(address, 0);
  const int fd = ::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool bound = ::bind(fd, endpoint.data(), static_cast<socklen_t>(endpoint.size())) == 0;
  ::close(fd);
  return bound;
}

}  // namespace danki::delivery
