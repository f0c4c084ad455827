#include "mta/submission/own_addresses.hpp"

#include "mta/submission/networks.hpp"

#include <algorithm>
#include <cstring>

#include <ifaddrs.h>
#include <netinet/in.h>

namespace danki::submission {
namespace ip = boost::asio::ip;

namespace {

constexpr std::uint16_t kSmtpPort = 25;  // MX hosts are asked there and nowhere else (RFC 5321 section 2.3.4)

bool is_in(const std::vector<ip::address>& addresses, const ip::address& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

std::optional<ip::address> address_of(const sockaddr* socket_address) {
  if (socket_address == nullptr) return std::nullopt;
  if (socket_address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, socket_address, sizeof v4);
    return ip::address_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (socket_address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, socket_address, sizeof v6);
    ip::address_v6::bytes_type bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return ip::address_v6(bytes);
  }
  return std::nullopt;
}

}  // namespace

OwnAddresses::OwnAddresses(const std::vector<ip::tcp::endpoint>& listening, Interfaces interfaces)
    : interfaces_(std::move(interfaces)) {
  for (const ip::tcp::endpoint& endpoint : listening) {
    if (endpoint.port() != kSmtpPort) continue;
    if (!endpoint.address().is_unspecified()) {
      addresses_.push_back(unmapped(endpoint.address()));
    } else {
      (endpoint.address().is_v4() ? all_v4_ : all_v6_) = true;
    }
  }
}

bool OwnAddresses::contains(const ip::address& address, SteadyPoint now) {
  const ip::address plain = unmapped(address);
  if (is_in(addresses_, plain)) return true;
  if (!(plain.is_v4() ? all_v4_ : all_v6_)) return false;
  // All of 127.0.0.0/8 is this machine, and so is the unspecified address when connected to; no interface lists them.
  if (plain.is_loopback() || plain.is_unspecified()) return true;
  if (!fresh_until_ || *fresh_until_ <= now) {
    of_interfaces_ = interfaces_();
    fresh_until_ = now + kInterfacesKept;
  }
  return is_in(of_interfaces_, plain);
}

std::vector<ip::address> OwnAddresses::local() {
  std::vector<ip::address> addresses;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return addresses;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if (const auto address = address_of(entry->ifa_addr)) addresses.push_back(*address);
  }
  ::freeifaddrs(first);
  return addresses;
}

}  // namespace danki::submission
