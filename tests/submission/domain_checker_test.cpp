#include "mta/submission/domain_checker.hpp"

#include "tests/net/dns_builder.hpp"
#include "tests/net/run_coroutine.hpp"
#include "tests/net/scripted_dns.hpp"

#include <atomic>

#include <gtest/gtest.h>

namespace danki::submission {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::make_address;
using boost::asio::ip::tcp;

tcp::endpoint at(const char* address, std::uint16_t port = 25) {
  return {make_address(address), port};
}

std::vector<boost::asio::ip::address> no_interfaces() {
  return {};
}

TEST(OwnAddresses, AreThoseOfListenersOnPort25) {
  OwnAddresses own({at("192.0.2.1"), at("192.0.2.2", 587), at("2001:db8::1")}, no_interfaces);
  EXPECT_TRUE(own.any());
  for (const char* ours : {"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"}) {
    EXPECT_TRUE(own.contains(make_address(ours), SteadyPoint{})) << ours;
  }
  for (const char* other : {"192.0.2.2", "192.0.2.3", "127.0.0.1", "2001:db8::2", "0.0.0.0"}) {
    EXPECT_FALSE(own.contains(make_address(other), SteadyPoint{})) << other;
  }
  EXPECT_FALSE(OwnAddresses({at("0.0.0.0", 587), at("::", 2525)}, no_interfaces).any());
  EXPECT_FALSE(OwnAddresses().any());
}

TEST(OwnAddresses, AreAllOfThisMachineForAListenerOnAllAddresses) {
  std::vector<boost::asio::ip::address> interfaces{make_address("192.0.2.1"), make_address("2001:db8::1")};
  int asked = 0;
  OwnAddresses own({at("0.0.0.0")}, [&] { return ++asked, interfaces; });
  SteadyPoint now{1h};
  for (const char* ours : {"192.0.2.1", "127.0.0.1", "127.0.25.4", "0.0.0.0"}) {
    EXPECT_TRUE(own.contains(make_address(ours), now)) << ours;
  }
  for (const char* other : {"192.0.2.2", "2001:db8::1", "::1"}) {
    EXPECT_FALSE(own.contains(make_address(other), now)) << other;  // "0.0.0.0" is IPv4 only
  }
  interfaces.push_back(make_address("192.0.2.2"));
  EXPECT_FALSE(own.contains(make_address("192.0.2.2"), now + OwnAddresses::kInterfacesKept - 1ms));
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(own.contains(make_address("192.0.2.2"), now + OwnAddresses::kInterfacesKept));
}

TEST(OwnAddresses, KnowsThisMachine) {
  const auto local = OwnAddresses::local();
  EXPECT_NE(std::find(local.begin(), local.end(), make_address("127.0.0.1")), local.end());
}

/// "mx.<name>" and "<name>-mx" have the addresses that `hosts` says; each other name has the MX hosts that `mx` says.
class DomainCheckerTest : public testing::Test {
 protected:
  struct Mx {
    unsigned preference;
    std::string host;
  };

  std::vector<std::string> answer(const net::test::AskedQuestion& question) {
    using namespace net::test;
    const auto type = static_cast<net::DnsType>(question.type);
    DnsReply reply{.id = question.id, .question_name = question.name, .question_type = type};
    if (silent_ == question.name) return {};
    if (type == net::DnsType::Mx && mx_.contains(question.name)) {
      for (const Mx& host : mx_.at(question.name)) {
        reply.answers.push_back(record(question.name, type, 300, u16(host.preference) + wire_name(host.host)));
      }
    } else if (type == net::DnsType::A && hosts_.contains(question.name)) {
      for (const std::string& text : hosts_.at(question.name)) {
        const auto octets = boost::asio::ip::make_address_v4(text).to_bytes();
        reply.answers.push_back(record(question.name, type, 300, std::string(octets.begin(), octets.end())));
      }
    } else {
      reply.authorities = {record("example", net::DnsType::Soa, 300, soa_rdata("ns.example", 300))};
    }
    return {reply.octets()};
  }

  DomainVerdict check(const std::string& domain, std::vector<tcp::endpoint> listening) {
    checker_.set_own(OwnAddresses(listening, no_interfaces));
    return net::test::run(context_, checker_.check(domain, DomainChecker::kPatience));
  }
  ~DomainCheckerTest() override {
    checker_.request_stop();
    resolver_.stop();
    net::test::run(context_, checker_.join());
  }

  std::map<std::string, std::vector<Mx>> mx_{
      {"ours.example", {{10, "us.example"}, {20, "backup.example"}}},
      {"shared.example", {{10, "other.example"}, {10, "us.example"}}},
      {"backed-up.example", {{10, "other.example"}, {20, "us.example"}}},
      {"theirs.example", {{10, "other.example"}}},
      {"half.example", {{10, "unknown.example"}, {10, "us.example"}}},
      {"slow.example", {{10, "silent.example"}}},
  };
  std::map<std::string, std::vector<std::string>> hosts_{
      {"us.example", {"192.0.2.8", "192.0.2.1"}},
      {"other.example", {"192.0.2.9"}},
      {"backup.example", {"192.0.2.9"}},
      {"implicit.example", {"192.0.2.1"}},
  };
  const std::string silent_ = "silent.example";
  net::test::ScriptedDns dns_{[this](const auto& question) { return answer(question); }};
  boost::asio::io_context context_;
  SystemClock clock_;
  net::Resolver resolver_{context_.get_executor(), {.servers = {dns_.address()}}, clock_};
  DomainChecker checker_{context_.get_executor(), resolver_, clock_};
};

TEST_F(DomainCheckerTest, FindsOutWhichMailWouldComeBack) {  // RFC 5321 section 5.1
  const std::vector<tcp::endpoint> us{at("192.0.2.1")};
  EXPECT_EQ(check("ours.example", us), DomainVerdict::Loop);
  EXPECT_EQ(checker_.known("ours.example"), DomainVerdict::Loop);
  EXPECT_EQ(check("shared.example", us), DomainVerdict::Loop);
  EXPECT_EQ(check("half.example", us), DomainVerdict::Loop);
  EXPECT_EQ(check("implicit.example", us), DomainVerdict::Loop);
  EXPECT_EQ(check("backed-up.example", us), DomainVerdict::Accepts);
  EXPECT_EQ(check("theirs.example", us), DomainVerdict::Accepts);
  EXPECT_EQ(checker_.known("theirs.example"), DomainVerdict::Accepts);
  EXPECT_EQ(check("ours.example", {at("192.0.2.1", 587)}), DomainVerdict::Accepts);  // that port is not met
}

TEST_F(DomainCheckerTest, LooksUpNoHostsWhereNobodyListensOnPort25) {
  EXPECT_EQ(check("ours.example", {}), DomainVerdict::Accepts);
  EXPECT_EQ(dns_.questions(), 1);
}

TEST_F(DomainCheckerTest, WaitsNoLongerForHostsThanForMx) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(check("slow.example", {at("192.0.2.1")}), DomainVerdict::Accepts);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2500ms);
  EXPECT_FALSE(checker_.known("slow.example"));  // the look-up goes on
}

}  // namespace
}  // namespace danki::submission
