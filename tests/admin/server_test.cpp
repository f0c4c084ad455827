#include "admin/server.hpp"

#include "admin/queue_listing.hpp"
#include "tests/admin/admin_world.hpp"
#include "tests/admin/raw_http.hpp"

#include <latch>
#include <set>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace danki::admin {
namespace {

namespace json = boost::json;

class AdminServerTest : public testing::Test {
 protected:
  RawConnection connect() { return RawConnection(world.options.socket.string()); }
  RawAnswer ask(const std::string& method, const std::string& target, const std::string& body = {}) {
    RawConnection connection = connect();
    connection.send(
        fmt::format("{} {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", method, target, body.size(), body));
    return connection.read_answer();
  }
  RawAnswer get(const std::string& target) { return ask("GET", target); }
  json::object get_object(const std::string& target) {
    const RawAnswer answer = get(target);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body).as_object();
  }
  std::vector<std::string> listed_domains(const std::string& query) {
    std::vector<std::string> domains;
    const json::object page = get_object("/v1/queue/messages" + query);
    for (const json::value& message : page.at("messages").as_array()) {
      domains.emplace_back(message.at("domain").as_string());
    }
    return domains;
  }

  AdminWorld world;
};

TEST_F(AdminServerTest, TellsItsStatus) {
  const json::object status = get_object("/v1/status");
  EXPECT_EQ(status.at("hostname").as_string(), "relay.example.com");
  EXPECT_EQ(status.at("messages").to_number<int>(), 12345);
  EXPECT_EQ(status.at("started_at").as_string(), "2026-11-23T05:49:39.120Z");
  EXPECT_TRUE(status.at("taking_mail").as_bool());
  EXPECT_FALSE(status.contains("refusing"));
  EXPECT_EQ(status.at("sources").as_array().size(), 2u);
  EXPECT_EQ(status.at("sources").at(1).at("reason").as_string(), "bind failed");
  EXPECT_EQ(status.at("listeners").at(0).as_string(), "127.0.0.1:2525");
  EXPECT_TRUE(status.at("spool").as_object().contains("disk_free_bytes"));
}

TEST_F(AdminServerTest, SummarisesTheQueueBySite) {
  const json::object queue = get_object("/v1/queue");
  const json::object& site = queue.at("sites").at(0).as_object();
  EXPECT_EQ(site.at("site").as_string(), "mx.example.net");
  EXPECT_EQ(site.at("bulk").to_number<int>(), 40);
  EXPECT_EQ(site.at("last_reply").as_string(), "451 4.7.1 caf\xEF\xBF\xBD \x1b[2J")
      << "valid UTF-8 whatever a host said";
}

TEST_F(AdminServerTest, ListsEntriesWithTheirEnvelope) {
  auto envelope =
      AdminWorld::envelope({"a@one.example", "b@one.example", "c@two.example"}, "news", mail::MailClass::Bulk);
  envelope.campaign = "launch";
  const auto id = world.accept(envelope);
  const json::object page = get_object("/v1/queue/messages");
  ASSERT_EQ(page.at("messages").as_array().size(), 2u);
  const json::object& first = page.at("messages").at(0).as_object();
  EXPECT_EQ(first.at("id").as_string(), id.to_string());
  EXPECT_EQ(first.at("domain").as_string(), "one.example");
  EXPECT_EQ(first.at("site").as_string(), "mx.one.example");
  EXPECT_EQ(first.at("recipients").to_number<int>(), 2);
  EXPECT_EQ(first.at("to").as_string(), "a@one.example");
  EXPECT_EQ(first.at("from").as_string(), "bounce@example.com");
  EXPECT_EQ(first.at("class").as_string(), "bulk");
  EXPECT_EQ(first.at("tenant").as_string(), "news");
  EXPECT_EQ(first.at("campaign").as_string(), "launch");
  EXPECT_EQ(first.at("attempts").to_number<int>(), 0);
  EXPECT_FALSE(first.contains("last_reply"));
  EXPECT_FALSE(page.contains("next_cursor"));
}

TEST_F(AdminServerTest, ListsOnlyWhatIsSelected) {
  auto old = AdminWorld::envelope({"x@a.example"}, "signup");
  old.arrived_at = world.clock.now() - std::chrono::hours(2);
  const auto old_id = world.accept(old);
  auto news = AdminWorld::envelope({"x@b.example", "x@c.example"}, "news", mail::MailClass::Bulk);
  news.campaign = "launch day";
  world.accept(news);
  using Domains = std::vector<std::string>;
  EXPECT_EQ(listed_domains(""), (Domains{"a.example", "b.example", "c.example"}));
  EXPECT_EQ(listed_domains("?domain=b.example"), (Domains{"b.example"}));
  EXPECT_EQ(listed_domains("?domain=nowhere.example"), Domains{});
  EXPECT_EQ(listed_domains("?site=mx.c.example"), (Domains{"c.example"}));
  EXPECT_EQ(listed_domains("?tenant=news"), (Domains{"b.example", "c.example"}));
  EXPECT_EQ(listed_domains("?class=transactional"), (Domains{"a.example"}));
  EXPECT_EQ(listed_domains("?campaign=launch+day&domain=c.example"), (Domains{"c.example"}));
  EXPECT_EQ(listed_domains("?older_than_seconds=3600"), (Domains{"a.example"}));
  EXPECT_EQ(listed_domains("?id=" + old_id.to_string()), (Domains{"a.example"}));
  EXPECT_EQ(listed_domains("?id=" + old_id.to_string() + "&tenant=news"), Domains{});
}

TEST_F(AdminServerTest, PagesByCursorWithoutLossOrRepetition) {
  constexpr int kMessages = 1234;
  std::latch stored(kMessages);
  for (int i = 0; i < kMessages; ++i) {
    auto envelope = AdminWorld::envelope({fmt::format("x@d{}.example", i % 7)}, i % 2 == 0 ? "even" : "odd");
    world.spool->accept({std::move(envelope), "x\r\n"}, [&](const Result<queue::MessageId>&) { stored.count_down(); });
  }
  stored.wait();
  for (const std::string selector : {"", "&tenant=odd"}) {
    std::set<std::string> seen;
    std::string cursor;
    do {
      const json::object page =
          get_object("/v1/queue/messages?limit=100" + selector + (cursor.empty() ? "" : "&cursor=" + cursor));
      ASSERT_LE(page.at("messages").as_array().size(), 100u);
      for (const json::value& message : page.at("messages").as_array()) {
        EXPECT_TRUE(seen.insert(std::string(message.at("id").as_string())).second) << "listed twice";
      }
      cursor = page.contains("next_cursor") ? std::string(page.at("next_cursor").as_string()) : std::string();
    } while (!cursor.empty());
    EXPECT_EQ(seen.size(), selector.empty() ? 1234u : 617u);
  }
}

TEST_F(AdminServerTest, ShowsOneMessageWithEachRecipient) {
  const auto id = world.accept(AdminWorld::envelope({"a@one.example", "b@two.example"}));
  const json::object message = get_object("/v1/queue/messages/" + id.to_string());
  EXPECT_EQ(message.at("id").as_string(), id.to_string());
  EXPECT_EQ(message.at("pool").as_string(), "main");
  const json::array& recipients = message.at("recipients").as_array();
  ASSERT_EQ(recipients.size(), 2u);
  EXPECT_EQ(recipients[1].at("to").as_string(), "b@two.example");
  EXPECT_EQ(recipients[1].at("state").as_string(), "pending");
  EXPECT_EQ(recipients[1].at("site").as_string(), "mx.two.example");
  EXPECT_TRUE(recipients[1].as_object().contains("next_attempt_at"));
}

TEST_F(AdminServerTest, ShowsWhatAnAttemptLeft) {
  std::promise<std::vector<queue::Accepted>> sink;
  const auto id = world.accept(AdminWorld::envelope({"a@one.example"}));
  auto loaded = world.spool->load(id);
  ASSERT_TRUE(loaded);
  const auto stored = world.spool->show(id);
  ASSERT_TRUE(stored);
  queue::RecipientProgress progress;
  progress.attempts = 2;
  progress.last_attempt_at = world.clock.now();
  progress.last_source = "out01";
  progress.last_mx = "mx1.one.example";
  progress.last_reply = mail::Reply{451, mail::EnhancedStatus{4, 7, 1}, "later \xFF"};
  queue::Outcome outcome{.message = *loaded, .entry = stored->entries.at(0)};
  outcome.changes.push_back({0, progress});
  queue::DueEntry later = outcome.entry;
  later.due = world.clock.now() + std::chrono::minutes(5);
  outcome.remaining.push_back(later);
  std::promise<void> applied;
  std::vector<queue::Outcome> outcomes;
  outcomes.push_back(std::move(outcome));
  world.spool->record(std::move(outcomes), [&] { applied.set_value(); });
  applied.get_future().wait();

  const json::object page = get_object("/v1/queue/messages");
  const json::object& entry = page.at("messages").at(0).as_object();
  EXPECT_EQ(entry.at("attempts").to_number<int>(), 2);
  EXPECT_EQ(entry.at("last_source").as_string(), "out01");
  EXPECT_EQ(entry.at("last_reply").at("enhanced").as_string(), "4.7.1");
  EXPECT_EQ(entry.at("last_reply").at("text").as_string(), "later \xEF\xBF\xBD");
  EXPECT_EQ(entry.at("next_attempt_at").as_string(), to_rfc3339(later.due));
  const json::object message = get_object("/v1/queue/messages/" + id.to_string());
  EXPECT_EQ(message.at("recipients").at(0).at("last_mx").as_string(), "mx1.one.example");
}

TEST_F(AdminServerTest, GivesTheContentAsItWouldBeSent) {
  const std::string content = "Subject: caf\xE9\r\n\r\n" + std::string(3'000'000, 'x') + "\r\n.\r\n";
  world.ports.prepared = "DKIM-Signature: v=1\r\n";
  const auto id = world.accept(AdminWorld::envelope({"a@one.example"}), content);
  const RawAnswer answer = get("/v1/queue/messages/" + id.to_string() + "/content");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.head.find("Content-Type: message/rfc822\r\n"), std::string::npos);
  EXPECT_TRUE(answer.body == "DKIM-Signature: v=1\r\n" + content);
}

TEST_F(AdminServerTest, MakesMailDue) {
  RawAnswer answer = ask("POST", "/v1/queue/retry", R"({"domain":"one.example"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"matched":7})");
  ASSERT_EQ(world.ports.retried.size(), 1u);
  EXPECT_EQ(world.ports.retried[0].domain, "one.example");
  EXPECT_EQ(ask("POST", "/v1/queue/retry", "{}").status, 400);
  EXPECT_EQ(world.ports.retried.size(), 1u);
}

TEST_F(AdminServerTest, ReloadsTheConfiguration) {
  EXPECT_EQ(ask("POST", "/v1/config/reload").status, 200);
  world.ports.reload_result =
      std::unexpected(Error{std::errc::invalid_argument, "danki.toml:3:1: node.hostnam: unknown key"});
  const RawAnswer answer = ask("POST", "/v1/config/reload");
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(json::parse(answer.body).at("error").as_string(), "danki.toml:3:1: node.hostnam: unknown key");
}

TEST_F(AdminServerTest, IsHealthyAndReadyOnlyWhileItTakesMail) {
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/readyz").status, 200);
  {
    std::lock_guard lock(world.ports.mutex);
    world.ports.status_view.refusing = "disk reserve";
  }
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/readyz").status, 503);
  const json::object status = get_object("/v1/status");
  EXPECT_EQ(status.at("refusing").as_string(), "disk reserve");
}

TEST_F(AdminServerTest, RefusesWhatItDoesNotKnowWithAReason) {
  struct Case {
    std::string method, target;
    int status;
  };
  for (const Case& c :
       {Case{"GET", "/", 404}, Case{"GET", "/v1/nothing", 404}, Case{"GET", "/v1/queue/messages/a/b/c", 404},
        Case{"DELETE", "/v1/status", 405}, Case{"POST", "/v1/queue/messages", 405}, Case{"HEAD", "/v1/status", 405},
        Case{"GET", "/v1/queue/retry", 405}, Case{"GET", "/v1/queue/messages/short", 400},
        Case{"GET", "/v1/queue/messages/0000000000001", 404},
        Case{"GET", "/v1/queue/messages/0000000000001/content", 404}, Case{"GET", "/v1/queue/messages?limit=0", 400},
        Case{"GET", "/v1/queue/messages?limit=501", 400}, Case{"GET", "/v1/queue/messages?limit=x", 400},
        Case{"GET", "/v1/queue/messages?colour=red", 400}, Case{"GET", "/v1/queue/messages?cursor=zz", 400},
        Case{"GET", "/v1/queue/messages?class=junk", 400}, Case{"GET", "/%zz", 400}, Case{"GET", "*", 400}}) {
    SCOPED_TRACE(c.method + " " + c.target);
    const RawAnswer answer = ask(c.method, c.target);
    EXPECT_EQ(answer.status, c.status);
    if (c.method != "HEAD") {
      EXPECT_FALSE(json::parse(answer.body).at("error").as_string().empty());
    }
  }
  EXPECT_NE(ask("DELETE", "/v1/status").head.find("Allow: GET\r\n"), std::string::npos);
}

TEST_F(AdminServerTest, AnswersSeveralRequestsOnOneConnection) {
  RawConnection connection = connect();
  connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(connection.read_answer().status, 200);
  EXPECT_EQ(connection.read_answer().status, 404);
  connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(connection.read_answer().status, 200);
  EXPECT_TRUE(connection.wait_for_close());
}

TEST_F(AdminServerTest, AnswersExpectContinueBeforeTheBody) {
  RawConnection connection = connect();
  connection.send("POST /v1/queue/retry HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n");
  EXPECT_EQ(connection.read_answer().status, 100);
  connection.send(R"({"all":true})");
  EXPECT_EQ(connection.read_answer().status, 200);
}

TEST_F(AdminServerTest, OpensTcpOnlyToATokenOfTheFile) {
  const auto ask_tcp = [&](const std::string& target, const std::string& header) {
    RawConnection connection(world.server->tcp_port());
    connection.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + header + "\r\n");
    return connection.read_answer();
  };
  const std::string token = AdminWorld::kToken;
  EXPECT_EQ(ask_tcp("/v1/status", "").status, 401);
  EXPECT_EQ(ask_tcp("/v1/status", "Authorization: Bearer " + token + "x\r\n").status, 401);
  EXPECT_EQ(ask_tcp("/v1/status", "Authorization: Bearer \r\n").status, 401);
  EXPECT_EQ(ask_tcp("/v1/status", "Authorization: Basic " + token + "\r\n").status, 401);
  EXPECT_EQ(ask_tcp("/v1/status", "Authorization: Bearer # the only one\r\n").status, 401);
  EXPECT_EQ(ask_tcp("/v1/status", "Authorization: Bearer " + token + "\r\n").status, 200);
  EXPECT_EQ(ask_tcp("/v1/status", "authorization: bearer " + token + "\r\n").status, 200);
  EXPECT_EQ(ask_tcp("/healthz", "").status, 200) << "probes of load balancers";
  EXPECT_EQ(ask_tcp("/healthz/../v1/status", "").status, 401);
  EXPECT_NE(ask_tcp("/v1/status", "").head.find("WWW-Authenticate: Bearer\r\n"), std::string::npos);
}

TEST_F(AdminServerTest, ItsSocketHasTheModeAndGoesWithIt) {
  struct stat status {};
  ASSERT_EQ(::stat(world.options.socket.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0660u);
  world.server->stop();
  EXPECT_NE(::stat(world.options.socket.c_str(), &status), 0);
  world.server->stop();
}

TEST_F(AdminServerTest, MakesTheFolderOfItsSocketAndLeavesOneThatIsThere) {
  AdminOptions fresh;
  fresh.socket = world.directory / "run" / "danki" / "admin.sock";
  const auto mode_of_folder = [&] {
    struct stat status {};
    EXPECT_EQ(::stat(fresh.socket.parent_path().c_str(), &status), 0);
    return status.st_mode & 0777u;
  };
  for (const unsigned mode : {0750u, 0711u}) {
    Server server(world.ports, *world.spool, world.clock, fresh);
    const auto started = server.start();
    ASSERT_TRUE(started) << started.error().message();
    EXPECT_EQ(mode_of_folder(), mode);
    server.stop();
    ASSERT_EQ(::chmod(fresh.socket.parent_path().c_str(), 0711), 0);
  }
  world.write_file("file", "");
  fresh.socket = world.directory / "file" / "danki" / "admin.sock";
  const auto refused = Server(world.ports, *world.spool, world.clock, fresh).start();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("cannot make " + fresh.socket.parent_path().string()), std::string::npos)
      << refused.error().message();
}

TEST_F(AdminServerTest, DoesNotPushAnotherDaemonAside) {
  AdminOptions same = world.options;
  same.listen.clear();
  Server second(world.ports, *world.spool, world.clock, same);
  const auto started = second.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, std::errc::address_in_use);
  EXPECT_EQ(get("/healthz").status, 200);
}

TEST_F(AdminServerTest, ReplacesASocketThatNobodyListensAtButNoOtherFile) {
  world.server->stop();
  {  // what a killed daemon leaves
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, world.options.socket.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
  }
  AdminOptions again = world.options;
  again.listen.clear();
  {
    Server second(world.ports, *world.spool, world.clock, again);
    ASSERT_TRUE(second.start());
    EXPECT_EQ(get("/healthz").status, 200);
  }
  world.write_file("admin.sock", "precious");
  Server third(world.ports, *world.spool, world.clock, again);
  EXPECT_FALSE(third.start());
  EXPECT_EQ(std::filesystem::file_size(world.options.socket), 8u);
}

TEST_F(AdminServerTest, RefusesToStartOnTcpWithoutGoodTokens) {
  AdminOptions tcp;
  tcp.listen = "127.0.0.1:0";
  const auto start = [&] { return Server(world.ports, *world.spool, world.clock, tcp).start(); };
  EXPECT_FALSE(start()) << "no token_file";
  tcp.token_file = world.directory / "missing";
  EXPECT_FALSE(start());
  tcp.token_file = world.directory / "tokens";
  world.write_file("tokens", "# none\n\n");
  EXPECT_FALSE(start());
  world.write_file("tokens", "short\n");
  const auto refused = start();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("tokens:1:"), std::string::npos);
  EXPECT_EQ(refused.error().message().find("short\n"), std::string::npos);
  world.write_file("tokens", "0123456789abcdef\r\n");
  EXPECT_TRUE(start());
  for (const mode_t open : {0604u, 0602u, 0640u, 0620u}) {
    ASSERT_EQ(::chmod(tcp.token_file.c_str(), open), 0);
    const auto exposed = start();
    ASSERT_FALSE(exposed) << open;
    EXPECT_NE(exposed.error().message().find("run: chmod 600 "), std::string::npos) << exposed.error().message();
  }
  ASSERT_EQ(::chmod(tcp.token_file.c_str(), 0600), 0);
  for (const char* wrong : {"localhost:80", "127.0.0.1", "127.0.0.1:99999", "::1:80x", ""}) {
    tcp.listen = wrong;
    EXPECT_EQ(start().has_value(), tcp.listen.empty()) << wrong;
  }
}

TEST_F(AdminServerTest, StopsWhileClientsWaitAndAnswersAreOut) {
  world.ports.is_silent = true;
  RawConnection asking = connect(), idle = connect(), half = connect();
  asking.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
  half.send("GET /v1/sta");
  while (true) {
    std::lock_guard lock(world.ports.mutex);
    if (!world.ports.withheld.empty()) break;
  }
  world.server->stop();
  EXPECT_TRUE(asking.wait_for_close());
  EXPECT_TRUE(idle.wait_for_close());
  EXPECT_TRUE(half.wait_for_close());
  world.server.reset();
  for (const auto& late : world.ports.withheld) late();  // must meet nothing that is gone
  world.ports.withheld.clear();
}

TEST(AdminServerLimits, AnswersForADaemonThatDoesNot) {
  AdminWorld world(HttpLimits{.request = std::chrono::milliseconds(50)});
  world.ports.is_silent = true;
  RawConnection connection(world.options.socket.string());
  connection.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(connection.read_answer().status, 503);
}

TEST(AdminServerLimits, ClosesOnClientsThatAreTooSlow) {
  AdminWorld world(HttpLimits{.request = std::chrono::milliseconds(50)});
  for (const char* start : {"", "GET /v1/st", "GET / HTTP/1.1\r\nA: b\r\n",
                            "POST /v1/queue/retry HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"}) {
    RawConnection connection(world.options.socket.string());
    connection.send(start);
    EXPECT_TRUE(connection.wait_for_close()) << start;
  }
}

TEST(AdminServerLimits, ClosesOnAClientThatDripsItsHeader) {
  AdminWorld world(HttpLimits{.request = std::chrono::milliseconds(200)});
  RawConnection connection(world.options.socket.string());
  connection.send("GET /healthz HTTP/1.1\r\n");
  const auto start = std::chrono::steady_clock::now();
  // Octets on their own never reach a time limit that starts anew with each.
  while (!connection.closes_within(std::chrono::milliseconds(5))) {
    connection.send("x");
    ASSERT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  }
}

TEST_F(AdminServerTest, BoundsHeaderAndBody) {
  {
    RawConnection connection = connect();
    connection.send("GET /healthz HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
    EXPECT_EQ(connection.read_answer().status, 431);
    EXPECT_TRUE(connection.wait_for_close());
  }
  {
    RawConnection connection = connect();
    connection.send("GET /" + std::string(100'000, 'x') + " HTTP/1.1\r\n\r\n");
    EXPECT_EQ(connection.read_answer().status, 431);
  }
  {
    RawConnection connection = connect();
    connection.send("POST /v1/queue/retry HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n");
    EXPECT_EQ(connection.read_answer().status, 413);
  }
  {
    RawConnection connection = connect();
    connection.send("POST /v1/queue/retry HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
    for (int i = 0; i < 17 && connection.send(chunk); ++i) continue;
    EXPECT_EQ(connection.read_answer().status, 413);
  }
  {
    const std::string body = R"({"domain":")" + std::string(900'000, 'x') + R"("})";
    EXPECT_EQ(ask("POST", "/v1/queue/retry", body).status, 400) << "within the limit, refused by what it says";
  }
}

TEST_F(AdminServerTest, RefusesGarbage) {
  for (const std::string& garbage :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), std::string("GET\r\n\r\n"),
        std::string("EHLO there\r\n\r\n"), std::string("GET / HTTP/9.9\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nno colon\r\n\r\n"), std::string(1000, '\0'),
        std::string("POST /v1/queue/retry HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        std::string("POST /v1/queue/retry HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        std::string("POST /v1/queue/retry HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        std::string(
            "POST /v1/queue/retry HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")}) {
    RawConnection connection = connect();
    connection.send(garbage);
    const RawAnswer answer = connection.read_answer();
    EXPECT_TRUE(answer.status == 400 || answer.status == 0 || answer.status == 413) << answer.head << garbage;
    EXPECT_TRUE(connection.wait_for_close()) << garbage;
  }
  EXPECT_EQ(get("/healthz").status, 200);
}

TEST_F(AdminServerTest, TwoHundredIdleConnectionsKeepNobodyOut) {
  std::vector<RawConnection> idle;
  for (int i = 0; i < 200; ++i) {
    idle.push_back(connect());
    if (i % 2 == 0) idle.back().send("GET /v1/st");
    if (i % 50 == 0) {
      EXPECT_EQ(get("/healthz").status, 200);
    }
  }
  EXPECT_EQ(get("/v1/status").status, 200);
  EXPECT_TRUE(idle.front().wait_for_close()) << "the oldest made room";
  idle.back().send("atus HTTP/1.1\r\n\r\n");
}

TEST(Cursor, RoundTripsAndRefusesOthers) {
  queue::DueEntry entry;
  entry.lane = {"example.com", mail::MailClass::Bulk, "a tenant"};
  entry.due = from_millis(1'795'412'979'120);
  entry.id.value = 0xFEDCBA9876543210;
  EXPECT_EQ(parse_cursor(make_cursor(entry)), entry);
  const std::string good = make_cursor(entry);
  for (const std::string& bad : {std::string("x"), std::string("00"), good.substr(2), good.substr(0, good.size() - 40),
                                 good + "zz", good + "61", "-1" + good.substr(2)}) {
    EXPECT_TRUE(!parse_cursor(bad) || parse_cursor(bad) != entry) << bad;
  }
}

}  // namespace
}  // namespace danki::admin
