#include "mta/delivery/egress_connection.hpp"

#include "tests/fakes/scripted_server.hpp"
#include "tests/net/run_coroutine.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

namespace asio = boost::asio;
using fakes::Break;
using fakes::ScriptedServer;
using fakes::ServerScript;
using std::chrono::milliseconds;
using testing::ElementsAre;

/// A connection to a scripted host; notes what it tells, in order.
class EgressConnectionTest : public testing::Test, public EgressConnection::Owner {
 protected:
  void start(ScriptedServer& server) {
    ConnectionPlan plan;
    plan.id = 1;
    plan.targets = {{"mx.test", {asio::ip::address_v4::loopback(), server.port()}}};
    plan.session.ehlo = "out01.example.com";
    plan.session.tls = TlsPolicy::None;
    plan.session.timeouts.idle = idle_;
    plan.session.timeouts.quit = milliseconds(200);
    server_ = &server;
    connection_.emplace(context_.get_executor(), std::move(plan), *this);
    net::test::run(context_, connection_->run());
  }
  static std::vector<WorkItem> work(std::size_t count) {
    std::vector<WorkItem> items;
    for (std::size_t i = 1; i <= count; ++i) {
      mail::Envelope envelope;
      envelope.reverse_path = {"news", "example.com"};
      envelope.recipients.push_back({.address = {"user", "example.net"}, .orcpt = {}});
      auto message = std::make_shared<queue::Message>(queue::MessageId{i}, std::move(envelope));
      message->set_content(std::make_shared<const std::string>("Subject: test\r\n\r\ntext\r\n"));
      items.push_back({.item = i, .message = std::move(message), .recipients = {0}});
    }
    return items;
  }
  bool said_quit() const {
    const auto commands = server_->commands();
    return std::find(commands.begin(), commands.end(), "QUIT") != commands.end();
  }
  /// The host may read it after the connection is gone on our side.
  bool will_have_said_quit() const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!said_quit() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return said_quit();
  }

  void connected(ConnectionId) override { note("connected", on_connected_); }
  void connect_failed(ConnectionId, SessionFailure) override { note("connect failed", {}); }
  void report(AttemptReport report) override { note("report " + std::to_string(report.item), on_report_); }
  void ending(ConnectionId) override { note("ending", on_ending_); }
  void closed(ConnectionId) override { note("closed", {}); }
  asio::awaitable<Result<std::shared_ptr<const std::string>>> read_content(queue::MessagePtr) override {
    co_return std::unexpected(Error{std::errc::no_such_file_or_directory, "no spool here"});
  }

  asio::io_context context_;
  ScriptedServer* server_ = nullptr;
  std::optional<EgressConnection> connection_;
  std::function<void()> on_connected_, on_report_, on_ending_;
  std::vector<std::string> told_;
  milliseconds idle_{20};

 private:
  void note(std::string what, const std::function<void()>& then) {
    told_.push_back(std::move(what));
    if (then) then();
  }
};

TEST_F(EgressConnectionTest, TellsThatItEndsBeforeItSaysQuit) {
  ServerScript script;
  script.how = Break::Stall;
  script.break_at = 2;  // after banner and EHLO: QUIT is not answered
  ScriptedServer server(script);
  on_ending_ = [&] {
    EXPECT_FALSE(said_quit());
    // Assigned before its owner heard of it: it is not begun, its owner gives it to another one.
    connection_->assign(work(1));
  };
  start(server);
  EXPECT_THAT(told_, ElementsAre("connected", "ending", "closed"));
  EXPECT_TRUE(will_have_said_quit());
  EXPECT_EQ(server.message_count(), 0u);
}

TEST_F(EgressConnectionTest, NoticesThatTheHostClosesAnIdleConnection) {
  auto server = std::make_unique<ScriptedServer>();
  idle_ = std::chrono::seconds(20);
  on_connected_ = [&] { server.reset(); };
  start(*server);
  EXPECT_THAT(told_, ElementsAre("connected", "closed"));
}

TEST_F(EgressConnectionTest, NoticesThatTheHostSaysGoodbye) {
  ServerScript script;
  script.unasked_after_dot = "421 4.4.2 idle";
  ScriptedServer server(script);
  idle_ = std::chrono::seconds(20);
  on_connected_ = [&] { connection_->assign(work(1)); };
  start(server);
  EXPECT_THAT(told_, ElementsAre("connected", "report 1", "closed"));
}

TEST_F(EgressConnectionTest, AnIdleConnectionTakesWork) {
  ScriptedServer server;
  idle_ = std::chrono::seconds(20);
  on_connected_ = [&] { asio::post(context_, [&] { connection_->assign(work(2)); }); };  // it waits by then
  std::size_t reported = 0;
  on_report_ = [&] {
    if (++reported == 2) asio::post(context_, [&] { connection_->close_when_done(); });
  };
  start(server);
  EXPECT_THAT(told_, ElementsAre("connected", "report 1", "report 2", "ending", "closed"));
  EXPECT_EQ(server.message_count(), 2u);
}

TEST_F(EgressConnectionTest, SendsWhatItHoldsBeforeItEnds) {
  ScriptedServer server;
  on_connected_ = [&] {
    connection_->assign(work(2));
    connection_->close_when_done();
  };
  start(server);
  EXPECT_THAT(told_, ElementsAre("connected", "report 1", "report 2", "ending", "closed"));
  EXPECT_EQ(server.message_count(), 2u);
}

TEST_F(EgressConnectionTest, EndsAfterTheTransactionUnderWay) {
  ScriptedServer server;
  on_connected_ = [&] { connection_->assign(work(3)); };
  on_report_ = [&] { connection_->finish_current(); };
  start(server);
  EXPECT_THAT(told_, ElementsAre("connected", "report 1", "ending", "closed"));
  EXPECT_EQ(server.message_count(), 1u);
}

TEST_F(EgressConnectionTest, ABrokenOneOnlyTellsThatItIsClosed) {
  ServerScript script;
  script.how = Break::Close;
  script.break_at = 2;
  ScriptedServer server(script);
  on_connected_ = [&] { connection_->assign(work(2)); };
  start(server);
  EXPECT_THAT(told_, ElementsAre("connected", "report 1", "closed"));
}

}  // namespace
}  // namespace danki::delivery
