#include "base/task_scope.hpp"
#include "net/dns.hpp"
#include "tests/fakes/clock.hpp"
#include "tests/net/dns_builder.hpp"
#include "tests/net/run_coroutine.hpp"
#include "tests/net/scripted_dns.hpp"

#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <gmock/gmock.h>

namespace danki::net {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::AskedQuestion;
using test::DnsReply;
using test::record;
using test::run;
using test::ScriptedDns;
using testing::HasSubstr;

using Replies = std::vector<std::string>;

DnsReply reply_to(const AskedQuestion& question) {
  DnsReply reply{.id = question.id, .question_name = question.name};
  reply.question_type = static_cast<DnsType>(question.type);
  return reply;
}

std::string address_reply(const AskedQuestion& question, std::uint32_t ttl = 60) {
  DnsReply reply = reply_to(question);
  reply.answers = {record(question.name, DnsType::A, ttl, std::string("\xC0\0\2\1", 4))};
  return reply.octets();
}

std::string rcode_reply(const AskedQuestion& question, unsigned rcode) {
  DnsReply reply = reply_to(question);
  reply.rcode = rcode;
  return reply.octets();
}

/// A resolver that asks scripted servers, on the thread of the test and on a clock that stands still.
class ScriptedResolver : public testing::Test {
 protected:
  static DnsOptions options(std::vector<std::string> servers) {
    DnsOptions o;
    o.servers = std::move(servers);
    o.timeout = milliseconds(100);
    o.tries = 2;
    return o;
  }

  DnsAnswer ask(Resolver& resolver, std::string name, DnsQuery how = {}, DnsType type = DnsType::A) {
    return run(io_, resolver.query(std::move(name), type, how));
  }

  asio::io_context io_;
  fakes::FakeClock clock_;
};

TEST_F(ScriptedResolver, KeepsTheWaysToFailApart) {
  struct Case {
    std::string name;
    ScriptedDns::Script script;
    DnsStatus want;
    int want_questions;
  };
  const auto garbage = [](const AskedQuestion& q) {
    DnsReply reply = reply_to(q);
    reply.answers = {record(q.name, DnsType::A, 60, "abc")};
    return Replies{reply.octets()};
  };
  const auto wrong_id = [](const AskedQuestion& q) {
    AskedQuestion other = q;
    other.id ^= 1;
    return Replies{address_reply(other)};
  };
  const auto other_name = [](const AskedQuestion& q) {
    AskedQuestion other = q;
    other.name = "b.test";
    return Replies{address_reply(other)};
  };
  for (const Case& c : {
           Case{"SERVFAIL", [](const AskedQuestion& q) { return Replies{rcode_reply(q, 2)}; }, DnsStatus::ServFail, 1},
           Case{"REFUSED", [](const AskedQuestion& q) { return Replies{rcode_reply(q, 5)}; }, DnsStatus::Refused, 1},
           Case{"NXDOMAIN", [](const AskedQuestion& q) { return Replies{rcode_reply(q, 3)}; }, DnsStatus::NxDomain, 1},
           Case{"no data", [](const AskedQuestion& q) { return Replies{rcode_reply(q, 0)}; }, DnsStatus::NoData, 1},
           Case{"NOTIMP", [](const AskedQuestion& q) { return Replies{rcode_reply(q, 4)}; }, DnsStatus::Failed, 1},
           Case{"malformed", garbage, DnsStatus::Failed, 1},
           Case{"silence", [](const AskedQuestion&) { return Replies{}; }, DnsStatus::Timeout, 2},
           Case{"wrong id", wrong_id, DnsStatus::Timeout, 2},
           Case{"another question", other_name, DnsStatus::Timeout, 2},
           Case{"noise",
                [](const AskedQuestion&) {
                  return Replies{"", "x", std::string(600, '\xff')};
                },
                DnsStatus::Timeout, 2},
       }) {
    SCOPED_TRACE(c.name);
    ScriptedDns server(c.script);
    Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
    const DnsAnswer answer = ask(resolver, "a.test");
    EXPECT_EQ(answer.status, c.want) << answer.error;
    EXPECT_NE(answer.error, "");
    EXPECT_EQ(server.questions(), c.want_questions);
    EXPECT_EQ(resolver.stats().cached, 0u);  // there was no SOA either
  }
}

TEST_F(ScriptedResolver, TheRightAnswerCountsAmongWrongOnes) {
  ScriptedDns server([](const AskedQuestion& q) {
    AskedQuestion other = q;
    other.id ^= 0x100;
    return Replies{"noise", address_reply(other), address_reply(q)};
  });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  EXPECT_TRUE(ask(resolver, "a.test").ok());
}

TEST_F(ScriptedResolver, ALostQuestionIsAskedAgain) {
  int seen = 0;
  ScriptedDns server([&](const AskedQuestion& q) { return ++seen == 1 ? Replies{} : Replies{address_reply(q)}; });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  EXPECT_TRUE(ask(resolver, "a.test").ok());
  EXPECT_EQ(resolver.stats().sent, 2u);
}

TEST_F(ScriptedResolver, ATruncatedAnswerWithoutTcpFails) {
  ScriptedDns server([](const AskedQuestion& q) {
    DnsReply reply = reply_to(q);
    reply.flags |= 0x0200;
    return Replies{reply.octets()};
  });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  const DnsAnswer answer = ask(resolver, "a.test");
  EXPECT_FALSE(answer.ok() || answer.negative());
  EXPECT_NE(answer.error, "");
}

TEST_F(ScriptedResolver, AsksTheNextServerWhenOneFails) {
  struct Case {
    std::string name;
    ScriptedDns::Script first;
  };
  for (const Case& c : {Case{"silence", [](const AskedQuestion&) { return Replies{}; }},
                        Case{"REFUSED", [](const AskedQuestion& q) { return Replies{rcode_reply(q, 5)}; }}}) {
    SCOPED_TRACE(c.name);
    ScriptedDns bad(c.first);
    ScriptedDns good([](const AskedQuestion& q) { return Replies{address_reply(q)}; });
    Resolver resolver(io_.get_executor(), options({bad.address(), good.address()}), clock_);
    EXPECT_TRUE(ask(resolver, "a.test").ok());
    EXPECT_TRUE(ask(resolver, "b.test").ok());
    EXPECT_EQ(bad.questions(), 1);  // the next question begins with the server that works
  }
}

TEST_F(ScriptedResolver, TheMostTellingFailureOfAllServersIsReported) {
  ScriptedDns silent([](const AskedQuestion&) { return Replies{}; });
  ScriptedDns failing([](const AskedQuestion& q) { return Replies{rcode_reply(q, 2)}; });
  Resolver resolver(io_.get_executor(), options({failing.address(), silent.address()}), clock_);
  EXPECT_EQ(ask(resolver, "a.test").status, DnsStatus::ServFail);
  EXPECT_EQ(failing.questions(), 1);
  EXPECT_EQ(silent.questions(), 2);
}

TEST_F(ScriptedResolver, AClosedPortFails) {
  std::string address;
  {
    ScriptedDns gone([](const AskedQuestion&) { return Replies{}; });
    address = gone.address();
  }
  Resolver resolver(io_.get_executor(), options({address}), clock_);
  const DnsAnswer answer = ask(resolver, "a.test");
  EXPECT_FALSE(answer.ok() || answer.negative());
}

TEST_F(ScriptedResolver, KeepsAnswersForTheirTtl) {
  ScriptedDns server([](const AskedQuestion& q) { return Replies{address_reply(q, 60)}; });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  EXPECT_EQ(ask(resolver, "a.test").ttl, 60u);
  clock_.advance(seconds(59));
  const DnsAnswer kept = ask(resolver, "A.Test.");
  EXPECT_EQ(kept.ttl, 1u);
  EXPECT_EQ(kept.records.at(0).ttl, 60u);
  EXPECT_EQ(server.questions(), 1);
  clock_.advance(seconds(1));
  EXPECT_EQ(ask(resolver, "a.test").ttl, 60u);
  EXPECT_EQ(server.questions(), 2);
  EXPECT_EQ(resolver.stats().cache_hits, 1u);
}

TEST_F(ScriptedResolver, KeepsAbsenceByTheSoa) {  // RFC 2308 section 5
  ScriptedDns server([](const AskedQuestion& q) {
    DnsReply reply = reply_to(q);
    reply.rcode = q.name == "gone.test" ? 3 : 0;
    const std::uint32_t minimum = q.name == "long.test" ? 100000 : 30;
    reply.authorities = {record("test", DnsType::Soa, 200000, test::soa_rdata("ns.test", minimum))};
    return Replies{reply.octets()};
  });
  DnsOptions o = options({server.address()});
  o.max_negative_ttl = 900;
  Resolver resolver(io_.get_executor(), o, clock_);
  EXPECT_EQ(ask(resolver, "gone.test").ttl, 30u);
  EXPECT_EQ(ask(resolver, "gone.test").status, DnsStatus::NxDomain);
  EXPECT_EQ(ask(resolver, "empty.test").status, DnsStatus::NoData);
  EXPECT_EQ(ask(resolver, "empty.test").status, DnsStatus::NoData);
  EXPECT_EQ(ask(resolver, "long.test").ttl, 900u);
  EXPECT_EQ(server.questions(), 3);
  clock_.advance(seconds(30));
  EXPECT_EQ(ask(resolver, "gone.test").ttl, 30u);
  EXPECT_EQ(server.questions(), 4);
}

TEST_F(ScriptedResolver, ServfailIsNotKept) {
  int seen = 0;
  ScriptedDns server(
      [&](const AskedQuestion& q) { return ++seen == 1 ? Replies{rcode_reply(q, 2)} : Replies{address_reply(q)}; });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  EXPECT_EQ(ask(resolver, "a.test").status, DnsStatus::ServFail);
  EXPECT_TRUE(ask(resolver, "a.test").ok());
}

TEST_F(ScriptedResolver, AQuestionCanBypassTheCache) {
  ScriptedDns server([](const AskedQuestion& q) { return Replies{address_reply(q)}; });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  ask(resolver, "a.test");
  EXPECT_TRUE(ask(resolver, "a.test", {.bypass_cache = true}).ok());
  EXPECT_EQ(server.questions(), 2);
  ask(resolver, "a.test");
  EXPECT_EQ(server.questions(), 2);
}

TEST_F(ScriptedResolver, AsksForAndKeepsTheAdBit) {
  ScriptedDns server([](const AskedQuestion& q) {
    DnsReply reply = reply_to(q);
    if (q.wants_ad) reply.flags |= 0x20;
    reply.answers = {record(q.name, DnsType::A, 60, "abcd")};
    return Replies{reply.octets()};
  });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  EXPECT_FALSE(ask(resolver, "a.test").authenticated);
  EXPECT_TRUE(ask(resolver, "a.test", {.want_dnssec = true}).authenticated);
  EXPECT_TRUE(ask(resolver, "a.test", {.want_dnssec = true}).authenticated);  // from the cache
  EXPECT_EQ(server.questions(), 2);
}

TEST_F(ScriptedResolver, RefusesNamesThatCannotBeAsked) {
  ScriptedDns server([](const AskedQuestion& q) { return Replies{address_reply(q)}; });
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  for (const std::string& name : {std::string("a..b"), std::string(64, 'a') + ".test", std::string("a b.test")}) {
    EXPECT_EQ(ask(resolver, name).status, DnsStatus::Failed);
  }
  EXPECT_EQ(server.questions(), 0);
}

asio::awaitable<void> ask_once(Resolver& resolver, std::string name, std::vector<DnsAnswer>& answers) {
  answers.push_back(co_await resolver.query(std::move(name), DnsType::A));
}

TEST_F(ScriptedResolver, EqualQuestionsUnderWayShareOne) {
  ScriptedDns server([](const AskedQuestion& q) { return Replies{address_reply(q, 0)}; });  // TTL 0: nothing is kept
  Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
  std::vector<DnsAnswer> answers;
  TaskScope scope(io_.get_executor());
  for (int i = 0; i < 20; ++i) scope.spawn("ask", ask_once(resolver, i % 2 != 0 ? "a.test" : "A.TEST", answers));
  run(io_, scope.join());
  ASSERT_EQ(answers.size(), 20u);
  for (const DnsAnswer& answer : answers) EXPECT_TRUE(answer.ok());
  EXPECT_EQ(server.questions(), 1);
  EXPECT_EQ(resolver.stats().coalesced, 19u);
}

TEST_F(ScriptedResolver, HundredsAtOnceWaitForTheirPlace) {
  ScriptedDns server([](const AskedQuestion& q) { return Replies{address_reply(q)}; });
  DnsOptions o = options({server.address()});
  o.max_in_flight = 3;
  o.cache_entries = 50;
  Resolver resolver(io_.get_executor(), o, clock_);
  std::vector<DnsAnswer> answers;
  TaskScope scope(io_.get_executor());
  for (int i = 0; i < 300; ++i) scope.spawn("ask", ask_once(resolver, "n" + std::to_string(i) + ".test", answers));
  run(io_, scope.join());
  ASSERT_EQ(answers.size(), 300u);
  for (const DnsAnswer& answer : answers) EXPECT_TRUE(answer.ok()) << answer.error;
  EXPECT_EQ(resolver.stats().cached, 50u);
}

TEST_F(ScriptedResolver, CancellationEndsTheWaitOnly) {
  ScriptedDns server([](const AskedQuestion&) { return Replies{}; });
  DnsOptions o = options({server.address()});
  o.timeout = seconds(20);
  Resolver resolver(io_.get_executor(), o, clock_);
  std::vector<DnsAnswer> answers;
  TaskScope scope(io_.get_executor());
  scope.spawn("ask", ask_once(resolver, "a.test", answers));
  auto wait_and_stop = [](ScriptedDns& dns, TaskScope& tasks) -> asio::awaitable<void> {
    while (dns.questions() == 0) co_await asio::post(asio::use_awaitable);
    tasks.request_stop();
    co_await tasks.join();
  };
  const auto begin = std::chrono::steady_clock::now();
  run(io_, wait_and_stop(server, scope));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
}

TEST_F(ScriptedResolver, StoppingAnswersEveryone) {
  ScriptedDns server([](const AskedQuestion&) { return Replies{}; });
  DnsOptions o = options({server.address()});
  o.timeout = seconds(20);
  o.max_in_flight = 1;
  Resolver resolver(io_.get_executor(), o, clock_);
  std::vector<DnsAnswer> answers;
  TaskScope scope(io_.get_executor());
  for (const char* name : {"a.test", "b.test", "c.test"}) scope.spawn("ask", ask_once(resolver, name, answers));
  auto wait_and_stop = [](ScriptedDns& dns, Resolver& dying, TaskScope& tasks) -> asio::awaitable<void> {
    while (dns.questions() == 0) co_await asio::post(asio::use_awaitable);
    dying.stop();
    co_await tasks.join();
  };
  run(io_, wait_and_stop(server, resolver, scope));
  ASSERT_EQ(answers.size(), 3u);
  for (const DnsAnswer& answer : answers) EXPECT_EQ(answer.status, DnsStatus::Failed);
  EXPECT_EQ(ask(resolver, "d.test").status, DnsStatus::Failed);
}

TEST_F(ScriptedResolver, AnswersOnTheThreadOfTheOneWhoAsked) {
  ScriptedDns server([](const AskedQuestion& q) { return Replies{address_reply(q)}; });
  asio::io_context own;
  auto work = asio::make_work_guard(own);
  const SystemClock real;
  Resolver resolver(own.get_executor(), options({server.address()}), real);
  std::thread thread([&] { own.run(); });
  auto task = [](Resolver& r, bool& same) -> asio::awaitable<void> {
    const auto me = std::this_thread::get_id();
    for (int i = 0; i < 200; ++i) {
      const DnsAnswer answer = co_await r.query("n" + std::to_string(i % 100) + ".test", DnsType::A);
      EXPECT_TRUE(answer.ok());
      same = same && std::this_thread::get_id() == me;
    }
  };
  bool same = true;
  run(io_, task(resolver, same));
  EXPECT_TRUE(same);
  EXPECT_EQ(server.questions(), 100);
  resolver.stop();
  work.reset();
  thread.join();
}

TEST_F(ScriptedResolver, GoesAwayWhileQuestionsAreUnderWay) {
  ScriptedDns server([](const AskedQuestion&) { return Replies{}; });
  {
    Resolver resolver(io_.get_executor(), options({server.address()}), clock_);
    resolver.prefetch("a.test", DnsType::A);
    auto wait = [](ScriptedDns& dns) -> asio::awaitable<void> {
      while (dns.questions() == 0) co_await asio::post(asio::use_awaitable);
    };
    run(io_, wait(server));
  }
  io_.restart();
  io_.run_for(seconds(10));
  EXPECT_TRUE(io_.stopped());  // nothing is left to wait for
}

TEST_F(ScriptedResolver, RefusesAServerThatIsNoAddress) {
  EXPECT_THROW(Resolver(io_.get_executor(), options({"dns.example"}), clock_), std::invalid_argument);
  EXPECT_NO_THROW(Resolver(io_.get_executor(), options({"[::1]:5353", "127.0.0.1"}), clock_));
  EXPECT_NO_THROW(Resolver(io_.get_executor(), options({}), clock_));
}

}  // namespace
}  // namespace danki::net
