// Addresses, networks and domain patterns as the file writes them.
#include "config/sections.hpp"
#include "mail/address.hpp"

#include <algorithm>
#include <charconv>

namespace danki::config {

namespace ip = boost::asio::ip;

std::optional<ip::tcp::endpoint> parse_endpoint(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = text.substr(0, colon);
  bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  unsigned port = 0;
  const char* first = text.data() + colon + 1;
  const char* last = text.data() + text.size();
  auto [end, error] = std::from_chars(first, last, port);
  if (error != std::errc() || end != last || port > 65535) return std::nullopt;
  boost::system::error_code failed;
  auto address = ip::make_address(host, failed);
  // Without brackets "::1:25" would be an address of its own.
  if (failed || address.is_v6() != bracketed) return std::nullopt;
  return ip::tcp::endpoint(address, static_cast<std::uint16_t>(port));
}

namespace {

/// Clients on an IPv6 socket are judged by their IPv4 address where they have one, so the network is too.
submission::Network unmapped(const ip::network_v6& network) {
  constexpr unsigned kMappedBits = 96;
  if (network.address().is_v4_mapped() && network.prefix_length() >= kMappedBits) {
    auto v4 = ip::make_address_v4(ip::v4_mapped, network.address());
    return ip::network_v4(v4, static_cast<unsigned short>(network.prefix_length() - kMappedBits)).canonical();
  }
  return network.canonical();
}

template <class N>
bool same_up_to_shorter_prefix(const N& a, const N& b) {
  auto prefix = static_cast<unsigned short>(std::min(a.prefix_length(), b.prefix_length()));
  return N(a.address(), prefix).canonical() == N(b.address(), prefix).canonical();
}

}  // namespace

std::optional<submission::Network> parse_network(const std::string& text) {
  boost::system::error_code failed;
  if (text.find('/') == std::string::npos) {
    auto address = ip::make_address(text, failed);
    if (failed) return std::nullopt;
    if (address.is_v4()) return ip::network_v4(address.to_v4(), 32);
    return unmapped(ip::network_v6(address.to_v6(), 128));
  }
  auto v4 = ip::make_network_v4(text, failed);
  if (!failed) return v4.canonical();
  auto v6 = ip::make_network_v6(text, failed);
  if (!failed) return unmapped(v6);
  return std::nullopt;
}

bool overlap(const submission::Network& a, const submission::Network& b) {
  if (a.index() != b.index()) return false;
  if (const auto* v4 = std::get_if<ip::network_v4>(&a)) {
    return same_up_to_shorter_prefix(*v4, std::get<ip::network_v4>(b));
  }
  return same_up_to_shorter_prefix(std::get<ip::network_v6>(a), std::get<ip::network_v6>(b));
}

std::optional<std::string> parse_pattern(const std::string& text) {
  if (text == "*") return text;
  std::size_t skip = text.starts_with("*.") ? 2 : text.starts_with('.') ? 1 : 0;
  auto domain = mail::normalise_domain(std::string_view(text).substr(skip));
  if (!domain || (skip > 0 && domain->starts_with('['))) return std::nullopt;
  return text.substr(0, skip) + *domain;
}

}  // namespace danki::config
