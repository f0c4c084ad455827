#pragma once

#include "mta/submission/options.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace danki::submission {

/// An IPv4 address that came over an IPv6 socket (::ffff:192.0.2.1) as IPv4; no scope id.
boost::asio::ip::address unmapped(const boost::asio::ip::address& address);

bool is_in(const boost::asio::ip::address& address, const std::vector<Network>& networks);

/// "[192.0.2.1]", "[IPv6:2001:db8::1]": RFC 5321 section 4.1.3.
std::string address_literal(const boost::asio::ip::address& address);
/// The address in one; empty if `domain` is none.
std::optional<boost::asio::ip::address> parse_address_literal(std::string_view domain);

/// What one client is known by in limits: its IPv4 address, or the /64 it can choose IPv6 addresses from.
std::string client_key(const boost::asio::ip::address& address);

}  // namespace danki::submission
