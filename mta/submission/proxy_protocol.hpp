#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <optional>
#include <string_view>

#include <boost/asio/ip/address.hpp>

/// The binary header that a proxy sends before the client's own octets (PROXY protocol version 2).
namespace danki::submission {

inline constexpr std::size_t kProxyFixedBytes = 16;      ///< signature, command, family, length
inline constexpr std::size_t kMaxProxyRestBytes = 2048;  ///< addresses and what proxies add (TLS and unique id)

/// The number of octets behind the first kProxyFixedBytes.
Result<std::size_t> proxy_rest_bytes(std::string_view fixed);

/// The client's address out of a whole header. Empty if the proxy speaks for itself (LOCAL: a health check) or does not
/// tell (not TCP over IP).
Result<std::optional<boost::asio::ip::address>> parse_proxy_header(std::string_view header);

}  // namespace danki::submission
