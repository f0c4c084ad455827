#include "mta/submission/networks.hpp"

#include "mail/ascii.hpp"

#include <algorithm>

namespace danki::submission {
namespace ip = boost::asio::ip;

namespace {

bool contains(const ip::network_v4& network, const ip::address_v4& address) {
  const std::uint32_t mask = network.netmask().to_uint();
  return (address.to_uint() & mask) == (network.address().to_uint() & mask);
}

bool contains(const ip::network_v6& network, const ip::address_v6& address) {
  const auto have = address.to_bytes();
  const auto want = network.address().to_bytes();
  for (unsigned bit = 0; bit < network.prefix_length(); bit += 8) {
    const unsigned bits = std::min(8u, network.prefix_length() - bit);
    const unsigned mask = 0xFF00u >> bits & 0xFFu;
    if (((have[bit / 8] ^ want[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

}  // namespace

ip::address unmapped(const ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, address.to_v6());
  if (address.is_v6()) return ip::address_v6(address.to_v6().to_bytes());  // without the scope: "%eth0" is no literal
  return address;
}

bool is_in(const ip::address& address, const std::vector<Network>& networks) {
  return std::any_of(networks.begin(), networks.end(), [&](const Network& network) {
    if (const auto* v4 = std::get_if<ip::network_v4>(&network))
      return address.is_v4() && contains(*v4, address.to_v4());
    return address.is_v6() && contains(std::get<ip::network_v6>(network), address.to_v6());
  });
}

std::string address_literal(const ip::address& address) {
  return (address.is_v6() ? "[IPv6:" : "[") + address.to_string() + "]";
}

std::optional<ip::address> parse_address_literal(std::string_view domain) {
  if (!domain.starts_with('[') || !domain.ends_with(']')) return std::nullopt;
  std::string_view text = domain.substr(1, domain.size() - 2);
  constexpr std::string_view kTag = "IPv6:";
  if (mail::istarts_with(text, kTag)) text.remove_prefix(kTag.size());
  boost::system::error_code problem;
  const ip::address address = ip::make_address(std::string(text), problem);
  if (problem) return std::nullopt;
  return address;
}

std::string client_key(const ip::address& address) {
  if (address.is_v4()) return address.to_string();
  return ip::network_v6(address.to_v6(), 64).canonical().to_string();
}

}  // namespace danki::submission
