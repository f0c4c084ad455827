#include "mail/address.hpp"

#include "mail/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::mail {
namespace {

using testing::HasSubstr;

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(Address, ParsesMailboxes) {  // RFC 5321 section 4.1.2, RFC 6531 section 3.3
  struct Case {
    std::string_view name, text, local, domain;
  };
  for (const Case& c : {Case{"plain", "joe@example.com", "joe", "example.com"},
                        Case{"case of the local part stays", "Joe.Blow@Example.COM", "Joe.Blow", "example.com"},
                        Case{"every atext character", "!#$%&'*+-/=?^_`{|}~@x.org", "!#$%&'*+-/=?^_`{|}~", "x.org"},
                        Case{"one label", "root@localhost", "root", "localhost"},
                        Case{"trailing dot", "a@example.com.", "a", "example.com"},
                        Case{"underscore", "a@my_host.example", "a", "my_host.example"},
                        Case{"quoted space", "\"John Doe\"@x.org", "\"John Doe\"", "x.org"},
                        Case{"quoted at and dots", "\"..a@b..\"@x.org", "\"..a@b..\"", "x.org"},
                        Case{"quoted pair", "\"a\\\"b\\\\\"@x.org", "\"a\\\"b\\\\\"", "x.org"},
                        Case{"empty quoted string", "\"\"@x.org", "\"\"", "x.org"},
                        Case{"IPv4 literal", "a@[192.0.2.1]", "a", "[192.0.2.1]"},
                        Case{"IPv4 literal, zeros", "a@[192.000.002.001]", "a", "[192.0.2.1]"},
                        Case{"IPv6 literal", "a@[ipv6:2001:DB8:0:0:0:0:0:1]", "a", "[IPv6:2001:db8::1]"},
                        Case{"IPv6 with IPv4", "a@[IPv6:::ffff:192.0.2.1]", "a", "[IPv6:::ffff:192.0.2.1]"},
                        Case{"UTF-8 local part", "用户@example.com", "用户", "example.com"},
                        Case{"UTF-8 quoted", "\"用 户\"@example.com", "\"用 户\"", "example.com"},
                        Case{"U-labels", "a@例え.テスト", "a", "xn--r8jz45g.xn--zckzah"},
                        Case{"U-labels, capitals", "a@BÜCHER.example", "a", "xn--bcher-kva.example"},
                        Case{"not transitional", "a@faß.de", "a", "xn--fa-hia.de"},
                        Case{"ideographic full stop", "a@例え。jp", "a", "xn--r8jz45g.jp"},
                        Case{"A-labels", "a@XN--R8JZ45G.jp", "a", "xn--r8jz45g.jp"}}) {
    SCOPED_TRACE(c.name);
    const auto address = parse_address(c.text);
    ASSERT_TRUE(address) << address.error().message();
    EXPECT_EQ(address->local, c.local);
    EXPECT_EQ(address->domain, c.domain);
    EXPECT_EQ(parse_address(address->to_string()), *address);
  }
}

TEST(Address, RefusesWhatIsNone) {
  struct Case {
    std::string_view name, text, why;
  };
  for (const Case& c : {Case{"empty", "", "has an @"},
                        Case{"no at", "joe", "has an @"},
                        Case{"no local part", "@example.com", "nothing before the @"},
                        Case{"no domain", "joe@", "domain is empty"},
                        Case{"only a dot", "joe@.", "empty label"},
                        Case{"two dots", "a..b@x.org", "dot is out of place"},
                        Case{"dot first", ".a@x.org", "dot is out of place"},
                        Case{"dot last", "a.@x.org", "dot is out of place"},
                        Case{"space", "a b@x.org", "needs quoting"},
                        Case{"space in front", " a@x.org", "needs quoting"},
                        Case{"two ats", "a@b@x.org", "needs quoting"},
                        Case{"quote inside", "a\"b@x.org", "needs quoting"},
                        Case{"quote not closed", "\"a@x.org", "needs quoting"},
                        Case{"quote closed early", "\"a\"b\"@x.org", "needs quoting"},
                        Case{"pair cut off", "\"a\\\"@x.org", "needs quoting"},
                        Case{"control character", "a\tb@x.org", "needs quoting"},
                        Case{"quoted control character", "\"a\rb\"@x.org", "needs quoting"},
                        Case{"NUL", std::string_view("a\0b@x.org", 9), "needs quoting"},
                        Case{"angle bracket", "<a@x.org", "needs quoting"},
                        Case{"comment", "a(b)@x.org", "needs quoting"},
                        Case{"no UTF-8", "\xFF@x.org", "not UTF-8"},
                        Case{"empty label", "a@x..org", "empty label"},
                        Case{"label first", "a@.org", "empty label"},
                        Case{"hyphen first", "a@-x.org", "hyphen"},
                        Case{"hyphen last", "a@x-.org", "hyphen"},
                        Case{"space in the domain", "a@x .org", "a character that no domain has"},
                        Case{"NUL in the domain", std::string_view("a@x\0.org", 8), "control character"},
                        Case{"UTF-8 and NUL", std::string_view("a@日\0.org", 10), "control character"},
                        Case{"domain no UTF-8", "a@\xE6\x97.org", "not UTF-8"},
                        Case{"no IDN character", "a@\xE2\x80\xA8.org", "no ASCII form"},
                        Case{"literal not closed", "a@[192.0.2.1", "ends with ]"},
                        Case{"literal of three", "a@[192.0.2]", "address literal is"},
                        Case{"literal of five", "a@[192.0.2.1.5]", "address literal is"},
                        Case{"octet too large", "a@[192.0.2.256]", "address literal is"},
                        Case{"bare IPv6 literal", "a@[2001:db8::1]", "address literal is"},
                        Case{"bad IPv6", "a@[IPv6:2001:db8:::1]", "no IPv6 address"},
                        Case{"scoped IPv6", "a@[IPv6:fe80::1%eth0]", "no IPv6 address"},
                        Case{"unknown tag", "a@[x400:c=us]", "address literal is"}}) {
    SCOPED_TRACE(c.name);
    const auto address = parse_address(c.text);
    ASSERT_FALSE(address) << address->to_string();
    EXPECT_EQ(address.error().code, Errc::BadAddress);
    EXPECT_THAT(address.error().detail, HasSubstr(c.why));
  }
}

TEST(Address, KeepsTheLimitsOfLength) {  // RFC 5321 section 4.5.3.1, RFC 1035 section 2.3.4
  const std::string local64(64, 'l');
  const std::string label63(63, 'd');
  const std::string domain253 = label63 + '.' + label63 + '.' + label63 + '.' + std::string(61, 'd');
  EXPECT_TRUE(parse_address(local64 + "@x.org"));
  EXPECT_FALSE(parse_address(local64 + "l@x.org"));
  EXPECT_TRUE(parse_address("a@" + label63 + ".org"));
  EXPECT_FALSE(parse_address("a@" + label63 + "d.org"));
  ASSERT_EQ(domain253.size(), 253u);
  EXPECT_TRUE(normalise_domain(domain253));
  EXPECT_FALSE(normalise_domain(domain253 + "d"));
  EXPECT_FALSE(parse_address("ab@" + domain253)) << "254 octets in all";
  EXPECT_TRUE(parse_address(local64 + '@' + domain253.substr(0, 189)));
  EXPECT_FALSE(parse_address(repeated("日", 22) + "@x.org")) << "66 octets, though 22 characters";
  EXPECT_FALSE(normalise_domain(repeated("日", 2'000)));
}

TEST(Address, NullAndPostmasterHaveNoDomain) {
  EXPECT_TRUE(Address{}.is_null());
  EXPECT_EQ(Address{}.to_string(), "");
  const Address postmaster{.local = "Postmaster", .domain = ""};
  EXPECT_FALSE(postmaster.is_null());
  EXPECT_EQ(postmaster.to_string(), "Postmaster");
}

TEST(Address, KnowsWhetherItNeedsSmtputf8) {
  EXPECT_TRUE(parse_address("用户@example.com")->needs_smtputf8());
  EXPECT_FALSE(parse_address("user@例え.jp")->needs_smtputf8()) << "A-labels travel everywhere";
}

TEST(Domain, MatchesPatternsByLabel) {
  struct Case {
    std::string_view domain, pattern;
    bool want;
  };
  for (const Case& c : {Case{"example.com", "example.com", true}, Case{"Example.com.", "exAMPLE.com", true},
                        Case{"a.example.com", "example.com", false}, Case{"a.example.com", ".example.com", true},
                        Case{"a.b.example.com", "*.example.com", true}, Case{"a.EXAMPLE.com", "*.example.com.", true},
                        Case{"example.com", ".example.com", false}, Case{"example.com", "*.example.com", false},
                        Case{"notexample.com", ".example.com", false}, Case{"notexample.com", "*.example.com", false},
                        Case{".example.com", ".example.com", false}, Case{"anything.test", "*", true},
                        Case{"example.com", "", false}, Case{"", "", false}, Case{"", ".example.com", false}}) {
    SCOPED_TRACE(std::string(c.domain) + " ~ " + std::string(c.pattern));
    EXPECT_EQ(domain_matches(c.domain, c.pattern), c.want);
  }
}

}  // namespace
}  // namespace danki::mail
