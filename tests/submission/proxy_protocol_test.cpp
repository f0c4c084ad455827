#include "mta/submission/proxy_protocol.hpp"

#include "mta/submission/networks.hpp"

#include <gtest/gtest.h>

namespace danki::submission {
namespace {

namespace ip = boost::asio::ip;

std::string header(char command, char family, const std::string& rest) {
  std::string text("\r\n\r\n\0\r\nQUIT\n", 12);
  text += command;
  text += family;
  text += static_cast<char>(rest.size() >> 8);
  text += static_cast<char>(rest.size() & 0xFF);
  return text + rest;
}

const std::string kIpv4("\xC0\x00\x02\x01\xC6\x33\x64\x02\x12\x34\x00\x19", 12);

TEST(ProxyHeader, NamesTheClient) {
  EXPECT_EQ(parse_proxy_header(header('\x21', '\x11', kIpv4)).value(), ip::make_address("192.0.2.1"));
  EXPECT_EQ(parse_proxy_header(header('\x21', '\x11', kIpv4 + "\x04\x00\x01x")).value(), ip::make_address("192.0.2.1"));
  const std::string ipv6 = "\x20\x01\x0d\xb8" + std::string(11, '\0') + "\x07" + std::string(20, '\0');
  EXPECT_EQ(parse_proxy_header(header('\x21', '\x21', ipv6)).value(), ip::make_address("2001:db8::7"));
  EXPECT_EQ(parse_proxy_header(header('\x20', '\x00', "")).value(), std::nullopt);
  EXPECT_EQ(parse_proxy_header(header('\x21', '\x00', "")).value(), std::nullopt);
}

TEST(ProxyHeader, RefusesWhatIsNone) {
  std::string other = header('\x21', '\x11', kIpv4);
  other[5] = 'x';
  for (const std::string& bad :
       {std::string("PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n"), std::string(), other, header('\x11', '\x11', kIpv4),
        header('\x22', '\x11', kIpv4), header('\x21', '\x11', kIpv4.substr(1)), header('\x21', '\x21', kIpv4),
        header('\x21', '\x11', std::string(3000, 'x')), header('\x21', '\x11', kIpv4) + "x"}) {
    EXPECT_FALSE(parse_proxy_header(bad)) << testing::PrintToString(bad);
  }
}

TEST(Networks, Contain) {
  const std::vector<Network> networks{ip::make_network_v4("192.0.2.0/24"), ip::make_network_v6("2001:db8::/33")};
  EXPECT_TRUE(is_in(ip::make_address("192.0.2.255"), networks));
  EXPECT_FALSE(is_in(ip::make_address("192.0.3.0"), networks));
  EXPECT_TRUE(is_in(ip::make_address("2001:db8:7fff::1"), networks));
  EXPECT_FALSE(is_in(ip::make_address("2001:db8:8000::1"), networks));
  EXPECT_TRUE(is_in(unmapped(ip::make_address("::ffff:192.0.2.7")), networks));
  EXPECT_TRUE(is_in(ip::make_address("::1"), {Network{ip::make_network_v6("::/0")}}));
  EXPECT_FALSE(is_in(ip::make_address("::1"), {}));
}

TEST(Networks, NameClients) {
  EXPECT_EQ(address_literal(ip::make_address("192.0.2.1")), "[192.0.2.1]");
  EXPECT_EQ(address_literal(ip::make_address("2001:db8::1")), "[IPv6:2001:db8::1]");
  EXPECT_EQ(address_literal(unmapped(ip::make_address("fe80::1%lo"))), "[IPv6:fe80::1]");
  EXPECT_EQ(client_key(ip::make_address("2001:db8::1:2")), client_key(ip::make_address("2001:db8::ffff")));
  EXPECT_NE(client_key(ip::make_address("2001:db8:0:1::1")), client_key(ip::make_address("2001:db8::1")));
}

}  // namespace
}  // namespace danki::submission
