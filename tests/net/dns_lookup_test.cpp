#include "base/task_scope.hpp"
#include "net/dns.hpp"
#include "tests/net/dns_builder.hpp"
#include "tests/net/nsd_server.hpp"
#include "tests/net/run_coroutine.hpp"
#include "tests/net/scripted_dns.hpp"

#include <map>
#include <set>

#include <gmock/gmock.h>

namespace danki::net {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using test::AskedQuestion;
using test::NsdServer;
using test::run;
using test::ScriptedDns;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr int kBigTxtRecords = 100;

std::string zone_text() {
  std::string text =
      "$ORIGIN example.test.\n$TTL 300\n"
      "@ SOA ns hostmaster 7 3600 600 86400 45\n@ NS ns\nns A 127.0.0.1\n"
      "@ MX 20 mx2\n@ MX 10 MX-B\n@ MX 10 mx-a\n@ MX 30 mx-a\n"
      "mx-a 120 A 192.0.2.1\nmx-a AAAA 2001:db8::1\nmx-b A 192.0.2.2\nmx2 AAAA 2001:db8::2\n"
      "txt TXT \"v=DKIM1; \" \"k=rsa; p=abc\"\ntxt TXT \"second\"\n"
      "www 200 CNAME web\nweb A 192.0.2.80\ndangling CNAME gone\nloop1 CNAME loop2\nloop2 CNAME loop1\n"
      "nullmx MX 0 .\nimplicit A 192.0.2.9\nimplicit6 AAAA 2001:db8::9\nnoaddress TXT \"nothing else\"\n"
      "mxalias CNAME mail\nmail MX 5 mx-a\n"
      "_25._tcp.mx-a TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000\n";
  for (int i = 0; i < kBigTxtRecords; ++i) text += "big TXT \"" + std::to_string(i) + std::string(200, 'x') + "\"\n";
  return text;
}

/// Against a server nobody here wrote.
class NsdResolver : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = std::make_unique<NsdServer>(std::vector<NsdServer::Zone>{
        {"example.test", zone_text()},
        {"2.0.192.in-addr.arpa",
         "$ORIGIN 2.0.192.in-addr.arpa.\n$TTL 60\n@ SOA ns.example.test. h 1 3600 600 86400 45\n"
         "@ NS ns.example.test.\n1 PTR mx-a.example.test.\n"}});
  }
  static void TearDownTestSuite() { server_.reset(); }

  NsdResolver() : resolver_(io_.get_executor(), options(), clock_) {}
  static DnsOptions options() {
    DnsOptions o;
    o.servers = {server_->address()};
    return o;
  }

  DnsAnswer ask(std::string name, DnsType type) { return run(io_, resolver_.query(std::move(name), type)); }

  static std::unique_ptr<NsdServer> server_;
  SystemClock clock_;
  asio::io_context io_;
  Resolver resolver_;
};
std::unique_ptr<NsdServer> NsdResolver::server_;

TEST_F(NsdResolver, AnswersEveryType) {
  const DnsAnswer a = ask("MX-A.example.test.", DnsType::A);
  ASSERT_TRUE(a.ok()) << a.error;
  EXPECT_EQ(a.records.at(0).address.to_string(), "192.0.2.1");
  EXPECT_EQ(a.ttl, 120u);
  const DnsAnswer aaaa = ask("mx-a.example.test", DnsType::Aaaa);
  ASSERT_TRUE(aaaa.ok()) << aaaa.error;
  EXPECT_EQ(aaaa.records.at(0).address.to_string(), "2001:db8::1");
  const DnsAnswer mx = ask("example.test", DnsType::Mx);
  ASSERT_EQ(mx.records.size(), 4u);
  EXPECT_EQ(mx.ttl, 300u);
  const DnsAnswer ptr = ask("1.2.0.192.in-addr.arpa", DnsType::Ptr);
  ASSERT_TRUE(ptr.ok()) << ptr.error;
  EXPECT_EQ(ptr.records.at(0).text, "mx-a.example.test");
  const DnsAnswer soa = ask("example.test", DnsType::Soa);
  ASSERT_TRUE(soa.ok()) << soa.error;
  EXPECT_EQ(soa.records.at(0).text, "ns.example.test");
  EXPECT_EQ(ask("example.test", DnsType::Ns).records.at(0).text, "ns.example.test");
  EXPECT_EQ(ask("www.example.test", DnsType::Cname).records.at(0).text, "web.example.test");
  EXPECT_EQ(ask("_25._tcp.mx-a.example.test", DnsType::Tlsa).records.at(0).raw.size(), 35u);
}

TEST_F(NsdResolver, JoinsTheStringsOfEachTxtRecord) {
  const DnsAnswer txt = ask("txt.example.test", DnsType::Txt);
  std::vector<std::string> texts;
  for (const DnsRecord& record : txt.records) texts.push_back(record.text);
  EXPECT_THAT(texts, UnorderedElementsAre("v=DKIM1; k=rsa; p=abc", "second"));
}

TEST_F(NsdResolver, FollowsAliases) {
  const DnsAnswer web = ask("www.example.test", DnsType::A);
  ASSERT_TRUE(web.ok()) << web.error;
  EXPECT_EQ(web.records.at(0).owner, "web.example.test");
  EXPECT_EQ(web.ttl, 200u);
  EXPECT_EQ(ask("dangling.example.test", DnsType::A).status, DnsStatus::NxDomain);
  EXPECT_FALSE(ask("loop1.example.test", DnsType::A).ok());
}

TEST_F(NsdResolver, TellsAbsences) {
  const DnsAnswer gone = ask("gone.example.test", DnsType::A);
  EXPECT_EQ(gone.status, DnsStatus::NxDomain);
  EXPECT_EQ(gone.ttl, 45u);
  const DnsAnswer empty = ask("mx-b.example.test", DnsType::Aaaa);
  EXPECT_EQ(empty.status, DnsStatus::NoData);
  EXPECT_EQ(empty.ttl, 45u);
  EXPECT_EQ(ask("elsewhere.invalid", DnsType::A).status, DnsStatus::Refused);
}

TEST_F(NsdResolver, TakesALargeAnswerOverTcp) {
  const DnsAnswer big = ask("big.example.test", DnsType::Txt);
  ASSERT_TRUE(big.ok()) << big.error;
  std::set<std::string> texts;
  for (const DnsRecord& record : big.records) texts.insert(record.text);
  EXPECT_EQ(texts.size(), static_cast<std::size_t>(kBigTxtRecords));
}

asio::awaitable<void> ask_once(Resolver& resolver, std::string name, int& answered) {
  const DnsAnswer answer = co_await resolver.query(std::move(name), DnsType::A);
  if (answer.status == DnsStatus::NxDomain) ++answered;
}

// More at once than a socket holds: what the server's kernel drops would have to be sent again.
TEST_F(NsdResolver, ABurstOverrunsNoSocket) {
  constexpr int kQuestions = 3000;
  int answered = 0;
  TaskScope scope(io_.get_executor());
  for (int i = 0; i < kQuestions; ++i) {
    scope.spawn("ask", ask_once(resolver_, "gone" + std::to_string(i) + ".example.test", answered));
  }
  run(io_, scope.join());
  EXPECT_EQ(answered, kQuestions);
  EXPECT_LT(resolver_.stats().sent, kQuestions * 11 / 10);
}

TEST_F(NsdResolver, FindsMxHosts) {
  const MxLookup mx = run(io_, lookup_mx(resolver_, "Example.Test"));
  EXPECT_EQ(mx.status, MxLookup::Status::Ok) << mx.error;
  EXPECT_THAT(mx.hosts, ElementsAre(MxHost{10, "mx-a.example.test"}, MxHost{10, "mx-b.example.test"},
                                    MxHost{20, "mx2.example.test"}));
  EXPECT_EQ(mx.ttl, 300u);
  struct Case {
    std::string domain;
    MxLookup::Status want;
    std::vector<MxHost> hosts;
  };
  for (const Case& c : {
           Case{"nullmx.example.test", MxLookup::Status::NullMx, {}},
           Case{"gone.example.test", MxLookup::Status::NxDomain, {}},
           Case{"noaddress.example.test", MxLookup::Status::NoAddress, {}},
           Case{"Implicit.example.test.", MxLookup::Status::Ok, {{0, "implicit.example.test"}}},
           Case{"implicit6.example.test", MxLookup::Status::Ok, {{0, "implicit6.example.test"}}},
           Case{"mxalias.example.test", MxLookup::Status::Ok, {{5, "mx-a.example.test"}}},
           Case{"elsewhere.invalid", MxLookup::Status::Temporary, {}},
           Case{"not..a.name", MxLookup::Status::NxDomain, {}},
       }) {
    SCOPED_TRACE(c.domain);
    const MxLookup lookup = run(io_, lookup_mx(resolver_, c.domain));
    EXPECT_EQ(lookup.status, c.want) << lookup.error;
    EXPECT_EQ(lookup.hosts, c.hosts);
  }
}

TEST_F(NsdResolver, FindsTheAddressesOfAHost) {
  const auto addresses = [&](std::string name, bool ipv4, bool ipv6) {
    std::vector<std::string> texts;
    for (const auto& address : run(io_, lookup_host(resolver_, name, ipv4, ipv6)).addresses) {
      texts.push_back(address.to_string());
    }
    return texts;
  };
  EXPECT_THAT(addresses("mx-a.example.test", true, true), ElementsAre("192.0.2.1", "2001:db8::1"));
  EXPECT_THAT(addresses("mx-a.example.test", true, false), ElementsAre("192.0.2.1"));
  EXPECT_THAT(addresses("mx-a.example.test", false, true), ElementsAre("2001:db8::1"));
  EXPECT_THAT(addresses("mx-b.example.test", true, true), ElementsAre("192.0.2.2"));
  EXPECT_EQ(run(io_, lookup_host(resolver_, "mx-a.example.test", true, true)).ttl, 120u);
  EXPECT_EQ(run(io_, lookup_host(resolver_, "gone.example.test", true, true)).status, DnsStatus::NxDomain);
  EXPECT_EQ(run(io_, lookup_host(resolver_, "mx-b.example.test", false, true)).status, DnsStatus::NoData);
  EXPECT_EQ(run(io_, lookup_host(resolver_, "mx-a.example.test", false, false)).status, DnsStatus::Failed);
}

/// Answers with an RCODE per type; types that are not named get an address record.
ScriptedDns::Script by_type(std::map<DnsType, unsigned> rcodes) {
  return [rcodes](const AskedQuestion& q) {
    test::DnsReply reply{.id = q.id, .question_name = q.name};
    reply.question_type = static_cast<DnsType>(q.type);
    const auto found = rcodes.find(reply.question_type);
    if (found != rcodes.end()) {
      reply.rcode = found->second;
    } else {
      reply.answers = {test::record(q.name, DnsType::A, 60, "abcd")};
    }
    return std::vector<std::string>{reply.octets()};
  };
}

TEST(LookupMx, TroubleIsNotAbsence) {
  struct Case {
    std::string name;
    std::map<DnsType, unsigned> rcodes;
    MxLookup::Status want;
  };
  for (const Case& c : {
           Case{"MX fails", {{DnsType::Mx, 2}}, MxLookup::Status::Temporary},
           Case{"MX refused", {{DnsType::Mx, 5}}, MxLookup::Status::Temporary},
           Case{"no MX, A fails", {{DnsType::Mx, 0}, {DnsType::A, 2}, {DnsType::Aaaa, 0}}, MxLookup::Status::Temporary},
           Case{"no MX, no A, AAAA fails",
                {{DnsType::Mx, 0}, {DnsType::A, 0}, {DnsType::Aaaa, 2}},
                MxLookup::Status::Temporary},
           Case{"no MX, AAAA fails, A is there", {{DnsType::Mx, 0}, {DnsType::Aaaa, 2}}, MxLookup::Status::Ok},
           Case{"nothing", {{DnsType::Mx, 0}, {DnsType::A, 0}, {DnsType::Aaaa, 0}}, MxLookup::Status::NoAddress},
       }) {
    SCOPED_TRACE(c.name);
    ScriptedDns server(by_type(c.rcodes));
    asio::io_context io;
    const SystemClock clock;
    DnsOptions options;
    options.servers = {server.address()};
    options.timeout = milliseconds(5000);
    Resolver resolver(io.get_executor(), options, clock);
    const MxLookup lookup = run(io, lookup_mx(resolver, "a.test"));
    EXPECT_EQ(lookup.status, c.want);
    EXPECT_EQ(lookup.error.empty(), c.want == MxLookup::Status::Ok);
  }
}

}  // namespace
}  // namespace danki::net
