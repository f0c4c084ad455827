#include "mta/submission/proxy_protocol.hpp"

#include <algorithm>

namespace danki::submission {
namespace asio = boost::asio;

namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr unsigned kVersion2 = 0x2;
constexpr unsigned kLocal = 0x0, kProxy = 0x1;
constexpr unsigned kTcp4 = 0x11, kTcp6 = 0x21;
constexpr std::size_t kTcp4Bytes = 12, kTcp6Bytes = 36;  // both addresses and ports

unsigned octet(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

std::unexpected<Error> malformed(std::string what) {
  return std::unexpected(Error{std::errc::protocol_error, std::move(what)});
}

template <class Address>
Address address_at(std::string_view header, std::size_t at) {
  typename Address::bytes_type bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(header[at + i]);
  return Address(bytes);
}

}  // namespace

Result<std::size_t> proxy_rest_bytes(std::string_view fixed) {
  if (fixed.size() < kProxyFixedBytes || fixed.substr(0, kSignature.size()) != kSignature) {
    return malformed("no PROXY header of version 2");
  }
  if (octet(fixed, 12) >> 4 != kVersion2) return malformed("PROXY header of another version");
  const std::size_t bytes = octet(fixed, 14) << 8 | octet(fixed, 15);
  if (bytes > kMaxProxyRestBytes) return malformed("PROXY header too long");
  return bytes;
}

Result<std::optional<asio::ip::address>> parse_proxy_header(std::string_view header) {
  const auto rest = proxy_rest_bytes(header);
  if (!rest) return std::unexpected(rest.error());
  if (header.size() != kProxyFixedBytes + *rest) return malformed("PROXY header of another length");
  const unsigned command = octet(header, 12) & 0xF;
  if (command == kLocal) return std::nullopt;
  if (command != kProxy) return malformed("PROXY header with an unknown command");
  switch (octet(header, 13)) {
    case kTcp4:
      if (*rest < kTcp4Bytes) return malformed("PROXY header without its addresses");
      return address_at<asio::ip::address_v4>(header, kProxyFixedBytes);
    case kTcp6:
      if (*rest < kTcp6Bytes) return malformed("PROXY header without its addresses");
      return address_at<asio::ip::address_v6>(header, kProxyFixedBytes);
    default:
      return std::nullopt;
  }
}

}  // namespace danki::submission
