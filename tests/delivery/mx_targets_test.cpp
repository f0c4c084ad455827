#include "mta/delivery/mx_targets.hpp"

#include "tests/fakes/clock.hpp"
#include "tests/net/dns_builder.hpp"
#include "tests/net/run_coroutine.hpp"
#include "tests/net/scripted_dns.hpp"

#include <map>
#include <set>

#include <boost/asio/io_context.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

namespace danki::delivery {
namespace {

namespace asio = boost::asio;
using asio::ip::make_address;
using net::DnsStatus;
using net::DnsType;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using Status = MxTargets::Status;

ResolvedHost host(std::uint16_t preference, std::string name, std::vector<std::string> addresses,
                  DnsStatus status = DnsStatus::Ok) {
  ResolvedHost resolved{.host = {preference, std::move(name)}, .lookup = {.status = status, .ttl = 300}};
  for (const std::string& address : addresses) resolved.lookup.addresses.push_back(make_address(address));
  return resolved;
}

std::vector<std::string> addresses(const MxTargets& targets) {
  std::vector<std::string> list;
  for (const HostTarget& target : targets.targets) list.push_back(target.endpoint.address().to_string());
  return list;
}

std::vector<std::string> names(const MxTargets& targets) {
  std::vector<std::string> list;
  for (const HostTarget& target : targets.targets) list.push_back(target.name);
  return list;
}

TEST(ChooseTargets, KeepsPreferenceAndShufflesEquals) {
  const std::vector<ResolvedHost> hosts{host(20, "backup.example", {"192.0.2.20"}),
                                        host(10, "a.example", {"192.0.2.1"}), host(10, "b.example", {"192.0.2.2"}),
                                        host(10, "c.example", {"192.0.2.3"})};
  std::set<std::vector<std::string>> orders;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const MxTargets targets = choose_targets({.domain = "example", .seed = seed}, hosts);
    ASSERT_EQ(targets.status, Status::Ok);
    ASSERT_EQ(targets.targets.size(), 4u);
    EXPECT_EQ(targets.targets.back().name, "backup.example");
    EXPECT_EQ(targets.targets[0].endpoint.port(), 25);
    orders.insert(names(targets));
    EXPECT_EQ(names(targets), names(choose_targets({.domain = "example", .seed = seed}, hosts)));
  }
  EXPECT_EQ(orders.size(), 6u);  // every order of three
}

TEST(ChooseTargets, OffersTheAskedFamilyAsTheResolverOrderedIt) {
  const std::vector<ResolvedHost> hosts{host(10, "mx.example", {"192.0.2.1", "192.0.2.2", "2001:db8::1"})};
  const auto of = [&](AddressFamily family) { return choose_targets({.domain = "example", .family = family}, hosts); };
  EXPECT_THAT(addresses(of(AddressFamily::Any)), ElementsAre("192.0.2.1", "192.0.2.2", "2001:db8::1"));
  EXPECT_THAT(addresses(of(AddressFamily::Ipv4)), ElementsAre("192.0.2.1", "192.0.2.2"));
  EXPECT_THAT(addresses(of(AddressFamily::Ipv6)), ElementsAre("2001:db8::1"));
  const MxTargets none =
      choose_targets({.domain = "example", .family = AddressFamily::Ipv6}, {host(10, "mx.example", {"192.0.2.1"})});
  EXPECT_EQ(none.status, Status::NoFamily);
}

TEST(ChooseTargets, RefusesPrivateAddressesUnlessAllowed) {
  const std::vector<ResolvedHost> mixed{host(10, "in.example", {"127.0.0.1", "192.0.2.1", "::1"}),
                                        host(20, "out.example", {"10.1.2.3"})};
  EXPECT_THAT(addresses(choose_targets({.domain = "example"}, mixed)), ElementsAre("192.0.2.1"));
  EXPECT_EQ(choose_targets({.domain = "example", .allow_private = true}, mixed).targets.size(), 4u);
  const MxTargets forbidden = choose_targets({.domain = "example"}, {host(10, "in.example", {"127.0.0.1"})});
  EXPECT_EQ(forbidden.status, Status::Forbidden);
  EXPECT_FALSE(forbidden.error.empty());
}

TEST(ChooseTargets, LeavesOutItselfAndWhatIsNotPreferredToIt) {  // RFC 5321 section 5.1
  const std::vector<ResolvedHost> hosts{host(10, "better.example", {"192.0.2.1"}),
                                        host(20, "we.example", {"192.0.2.9"}), host(20, "equal.example", {"192.0.2.2"}),
                                        host(30, "worse.example", {"192.0.2.3"})};
  TargetQuery query{.domain = "example", .own_addresses = {make_address("192.0.2.9")}};
  EXPECT_THAT(names(choose_targets(query, hosts)), ElementsAre("better.example"));
  query.own_addresses = {make_address("192.0.2.1")};
  const MxTargets loop = choose_targets(query, hosts);
  EXPECT_TRUE(loop.targets.empty());
  EXPECT_EQ(loop.status, Status::Loop);
  query.allow_private = true;  // says nothing about ourselves
  EXPECT_EQ(choose_targets(query, hosts).status, Status::Loop);
}

TEST(ChooseTargets, TellsNoAddressFromNoAnswer) {
  EXPECT_EQ(choose_targets({.domain = "d"}, {host(10, "a.example", {}, DnsStatus::NxDomain),
                                             host(20, "b.example", {}, DnsStatus::NoData)})
                .status,
            Status::NoAddress);
  for (const DnsStatus status : {DnsStatus::ServFail, DnsStatus::Timeout, DnsStatus::Refused, DnsStatus::Failed}) {
    EXPECT_EQ(choose_targets({.domain = "d"},
                             {host(10, "a.example", {}, DnsStatus::NxDomain), host(20, "b.example", {}, status)})
                  .status,
              Status::Temporary);
    // One host that is known is enough to begin with.
    EXPECT_EQ(choose_targets({.domain = "d"}, {host(10, "a.example", {"192.0.2.1"}), host(20, "b.example", {}, status)})
                  .status,
              Status::Ok);
  }
}

TEST(ChooseTargets, BoundsTheAddresses) {
  std::vector<ResolvedHost> hosts;
  for (int i = 0; i < 20; ++i)
    hosts.push_back(host(10, fmt::format("mx{}.example", i), {"192.0.2.1", "192.0.2.2", "192.0.2.3"}));
  EXPECT_EQ(choose_targets({.domain = "example"}, hosts).targets.size(), kMaxMxAddresses);
}

TEST(SiteName, IsTheSameForTheSameSet) {
  struct Case {
    std::vector<std::string> hosts;
    std::string want;
  };
  for (const Case& c : {
           Case{{"mx.example.com"}, "mx.example.com"},
           Case{{"mx.example.com", "mx.example.com"}, "mx.example.com"},
           Case{{"mx2.example.com", "mx1.example.com"}, "(mx1|mx2).example.com"},
           Case{{"alt1.gmail-smtp-in.l.google.com", "gmail-smtp-in.l.google.com"},
                "(alt1.gmail-smtp-in|gmail-smtp-in).l.google.com"},
           Case{{"mx1.a.example.com", "mx2.b.example.com"}, "(mx1.a|mx2.b).example.com"},
           Case{{"mx.example.net", "mx.example.com"}, "(mx.example.com|mx.example.net)"},
           Case{{"mx.a.com", "mx.b.com"}, "(mx.a.com|mx.b.com)"},  // ".com" alone says nothing
           Case{{"example.com", "mx.example.com"}, "(example.com|mx.example.com)"},
           Case{{"localhost", "mx"}, "(localhost|mx)"},
           Case{{"ample.com", "x.ex-ample.com"}, "(ample.com|x.ex-ample.com)"},  // whole labels only
           Case{{}, ""},
       }) {
    EXPECT_EQ(site_name(c.hosts), c.want);
    EXPECT_EQ(site_name({c.hosts.rbegin(), c.hosts.rend()}), c.want);
  }
}

TEST(SiteName, StaysShortAndDistinct) {
  std::vector<std::string> hosts;
  for (int i = 0; i < 100; ++i) hosts.push_back(fmt::format("mailserver-number-{}.example.com", i));
  const std::string name = site_name(hosts);
  EXPECT_LE(name.size(), kMaxSiteNameBytes);
  EXPECT_THAT(name, HasSubstr("#"));
  EXPECT_TRUE(name.ends_with(").example.com"));
  hosts.back() += ".org";
  EXPECT_NE(site_name(hosts), name);
  EXPECT_LE(site_name({std::string(250, 'a'), std::string(250, 'b')}).size(), kMaxSiteNameBytes);
}

TEST(NextHop, IsReadInEveryForm) {
  struct Case {
    std::string_view text;
    std::string host, address;
    std::uint16_t port = 0;
  };
  for (const Case& c : {Case{"relay.example", "relay.example", "", 25},
                        Case{"Relay.Example:2525", "relay.example", "", 2525}, Case{"192.0.2.1", "", "192.0.2.1", 25},
                        Case{"192.0.2.1:26", "", "192.0.2.1", 26}, Case{"[2001:db8::1]:26", "", "2001:db8::1", 26},
                        Case{"[2001:db8::1]", "", "2001:db8::1", 25}, Case{"2001:db8::1", "", "2001:db8::1", 25}}) {
    SCOPED_TRACE(c.text);
    const auto hop = parse_next_hop(c.text);
    ASSERT_TRUE(hop);
    EXPECT_EQ(hop->host, c.host);
    EXPECT_EQ(hop->address ? hop->address->to_string() : "", c.address);
    EXPECT_EQ(hop->port, c.port);
  }
  for (const std::string_view bad : {"", ":25", "host:", "host:0", "host:65536", "host:x", "[::1", "[::1]25",
                                     "[host]:25", "a b", "a@b:25", "1::2::3:25"}) {
    EXPECT_FALSE(parse_next_hop(bad)) << bad;
  }
}

TEST(AddressLiteral, IsReadAsRfc5321Says) {
  EXPECT_EQ(parse_address_literal("[192.0.2.1]"), make_address("192.0.2.1"));
  EXPECT_EQ(parse_address_literal("[IPv6:2001:db8::1]"), make_address("2001:db8::1"));
  for (const std::string_view bad : {"192.0.2.1", "[2001:db8::1]", "[IPv6:192.0.2.1]", "[]", "[x", "[192.0.2.999]"}) {
    EXPECT_FALSE(parse_address_literal(bad)) << bad;
  }
}

TEST(PrivateAddress, IsToldFromPublicOnes) {
  for (const char* address : {"0.0.0.0",         "10.0.0.1",    "100.64.0.1",  "100.127.255.255",
                              "127.0.0.1",       "127.9.9.9",   "169.254.1.1", "172.16.0.1",
                              "172.31.255.255",  "192.168.1.1", "224.0.0.1",   "240.0.0.1",
                              "255.255.255.255", "::",          "::1",         "fe80::1",
                              "fc00::1",         "fdff::1",     "ff02::1",     "::ffff:10.0.0.1",
                              "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(is_private_address(make_address(address))) << address;
  }
  for (const char* address :
       {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
        "192.0.2.1", "192.167.1.1", "223.255.255.255", "2001:db8::1", "::ffff:192.0.2.1"}) {
    EXPECT_FALSE(is_private_address(make_address(address))) << address;
  }
}

/// Names and what they answer, by type; a name without an entry does not exist.
class ResolveTargets : public testing::Test {
 protected:
  using Zone = std::map<std::string, std::map<DnsType, std::vector<std::string>>>;

  MxTargets resolve(TargetQuery query) {
    MxTargets targets;
    net::test::run(io_, resolve_into(targets, std::move(query)));
    return targets;
  }
  MxTargets resolve(std::string domain) { return resolve(TargetQuery{.domain = std::move(domain)}); }

  static std::string mx(std::uint16_t preference, std::string_view name) {
    return net::test::u16(preference) + net::test::wire_name(name);
  }
  static std::string a(const char* address) {
    const auto octets = make_address(address).to_v4().to_bytes();
    return {octets.begin(), octets.end()};
  }
  static std::string aaaa(const char* address) {
    const auto octets = make_address(address).to_v6().to_bytes();
    return {octets.begin(), octets.end()};
  }

  Zone zone_;
  std::set<std::string> failing_;  ///< SERVFAIL
  net::test::ScriptedDns server_{[this](const net::test::AskedQuestion& q) { return answer(q); }};

 private:
  asio::awaitable<void> resolve_into(MxTargets& targets, TargetQuery query) {
    targets = co_await resolve_targets(resolver_, std::move(query));
  }

  std::vector<std::string> answer(const net::test::AskedQuestion& question) {
    net::test::DnsReply reply{
        .id = question.id, .question_name = question.name, .question_type = DnsType(question.type)};
    const auto soa = net::test::record("example", DnsType::Soa, 60, net::test::soa_rdata("ns.example", 60));
    const auto name = zone_.find(question.name);
    if (failing_.contains(question.name)) {
      reply.rcode = 2;
    } else if (name == zone_.end()) {
      reply.rcode = 3;
      reply.authorities = {soa};
    } else {
      for (const std::string& rdata : name->second[reply.question_type]) {
        reply.answers.push_back(net::test::record(question.name, reply.question_type, 300, rdata));
      }
      if (reply.answers.empty()) reply.authorities = {soa};
    }
    return {reply.octets()};
  }

  net::DnsOptions options() const {
    net::DnsOptions options;
    options.servers = {server_.address()};
    options.timeout = std::chrono::milliseconds(1000);
    options.tries = 1;
    return options;
  }

  fakes::FakeClock clock_;
  asio::io_context io_;
  net::Resolver resolver_{io_.get_executor(), options(), clock_};
};

TEST_F(ResolveTargets, FollowsMxToAddresses) {
  zone_["example.com"][DnsType::Mx] = {mx(20, "mx2.example.com"), mx(10, "MX1.example.com")};
  zone_["mx1.example.com"][DnsType::A] = {a("192.0.2.1")};
  zone_["mx1.example.com"][DnsType::Aaaa] = {aaaa("2001:db8::1")};
  zone_["mx2.example.com"][DnsType::A] = {a("192.0.2.2")};
  const MxTargets targets = resolve("example.com");
  ASSERT_EQ(targets.status, Status::Ok) << targets.error;
  EXPECT_EQ(targets.site, "(mx1|mx2).example.com");
  EXPECT_THAT(names(targets), ElementsAre("mx1.example.com", "mx1.example.com", "mx2.example.com"));
  EXPECT_THAT(addresses(targets), ElementsAre("192.0.2.1", "2001:db8::1", "192.0.2.2"));
  EXPECT_GT(targets.ttl, 0u);
  EXPECT_LE(targets.ttl, 300u);
}

TEST_F(ResolveTargets, TakesTheDomainItselfWithoutMx) {
  zone_["implicit.example"][DnsType::A] = {a("192.0.2.7")};
  const MxTargets targets = resolve("implicit.example");
  ASSERT_EQ(targets.status, Status::Ok) << targets.error;
  EXPECT_EQ(targets.site, "implicit.example");
  EXPECT_THAT(addresses(targets), ElementsAre("192.0.2.7"));
}

TEST_F(ResolveTargets, TellsFailuresApart) {
  zone_["null.example"][DnsType::Mx] = {mx(0, "")};
  zone_["nothing.example"][DnsType::Txt] = {net::test::character_string("x")};
  zone_["gone.example"][DnsType::Mx] = {mx(10, "no-such-host.example")};
  zone_["inside.example"][DnsType::Mx] = {mx(10, "localhost.example")};
  zone_["localhost.example"][DnsType::A] = {a("127.0.0.1")};
  zone_["half.example"][DnsType::Mx] = {mx(10, "broken.example")};
  failing_ = {"fails.example", "broken.example"};
  EXPECT_EQ(resolve("null.example").status, Status::NullMx);
  EXPECT_EQ(resolve("no-such-domain.example").status, Status::NxDomain);
  EXPECT_EQ(resolve("nothing.example").status, Status::NoAddress);
  EXPECT_EQ(resolve("gone.example").status, Status::NoAddress);
  EXPECT_EQ(resolve("inside.example").status, Status::Forbidden);
  EXPECT_EQ(resolve("fails.example").status, Status::Temporary);
  EXPECT_EQ(resolve("half.example").status, Status::Temporary);
  EXPECT_FALSE(resolve("half.example").error.empty());
  EXPECT_EQ(resolve(TargetQuery{.domain = "inside.example", .allow_private = true}).status, Status::Ok);
}

TEST_F(ResolveTargets, UsesAtMostSixteenHosts) {
  for (int i = 0; i < 20; ++i) {  // still fits a datagram
    const std::string name = fmt::format("mx{:02}.many.test", i);
    zone_["many.test"][DnsType::Mx].push_back(mx(static_cast<std::uint16_t>(i), name));
    zone_[name][DnsType::A] = {a("192.0.2.1")};
  }
  const MxTargets targets = resolve("many.test");
  ASSERT_EQ(targets.targets.size(), kMaxMxHosts);
  EXPECT_EQ(targets.targets.back().name, "mx15.many.test");
}

TEST_F(ResolveTargets, GoesStraightToARoutesNextHop) {
  const MxTargets address = resolve(TargetQuery{.domain = "d00.test", .next_hop = "127.0.0.1:2526"});
  ASSERT_EQ(address.status, Status::Ok);
  EXPECT_EQ(address.site, "127.0.0.1:2526");
  EXPECT_EQ(address.targets.at(0).name, "127.0.0.1");  // "127.0.0.1:2526" would be sent as a name in TLS
  EXPECT_EQ(address.targets.at(0).endpoint, asio::ip::tcp::endpoint(make_address("127.0.0.1"), 2526));
  EXPECT_EQ(resolve(TargetQuery{.domain = "d", .next_hop = "[::1]:26"}).targets.at(0).endpoint.port(), 26);
  EXPECT_EQ(server_.questions(), 0);

  zone_["relay.example"][DnsType::Mx] = {mx(10, "elsewhere.example")};  // not asked for
  zone_["relay.example"][DnsType::A] = {a("10.0.0.7")};
  const MxTargets named = resolve(TargetQuery{.domain = "d00.test", .next_hop = "relay.example:2525"});
  ASSERT_EQ(named.status, Status::Ok) << named.error;
  EXPECT_EQ(named.site, "relay.example:2525");
  EXPECT_THAT(addresses(named), ElementsAre("10.0.0.7"));
  EXPECT_EQ(named.targets[0].endpoint.port(), 2525);
  const MxTargets missing = resolve(TargetQuery{.domain = "d", .next_hop = "missing.example", .route = "*.test"});
  EXPECT_EQ(missing.status, Status::Temporary) << "the mail waits for the operator to mend it";
  EXPECT_EQ(missing.error, "next hop missing.example of route *.test: no such host");
  EXPECT_NE(resolve(TargetQuery{.domain = "d", .next_hop = "bad:port"}).status, Status::Ok);
}

TEST_F(ResolveTargets, GoesStraightToAnAddressLiteral) {
  const MxTargets targets = resolve("[192.0.2.1]");
  ASSERT_EQ(targets.status, Status::Ok);
  EXPECT_EQ(targets.site, "[192.0.2.1]");
  EXPECT_EQ(targets.targets[0].name, "192.0.2.1");
  EXPECT_THAT(addresses(targets), ElementsAre("192.0.2.1"));
  EXPECT_EQ(targets.targets[0].endpoint.port(), 25);
  EXPECT_EQ(resolve("[127.0.0.1]").status, Status::Forbidden);
  EXPECT_EQ(resolve(TargetQuery{.domain = "[192.0.2.1]", .family = AddressFamily::Ipv6}).status, Status::NoFamily);
  EXPECT_EQ(server_.questions(), 0);
}

}  // namespace
}  // namespace danki::delivery
