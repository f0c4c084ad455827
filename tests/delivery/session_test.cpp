#include "mta/delivery/session.hpp"

#include "net/tls.hpp"
#include "tests/fakes/scripted_server.hpp"
#include "tests/net/run_coroutine.hpp"
#include "tests/net/test_certificate.hpp"

#include <algorithm>
#include <numeric>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/resource.h>

namespace danki::delivery {
namespace {

namespace asio = boost::asio;
using fakes::Break;
using fakes::ScriptedServer;
using fakes::ServerScript;
using net::test::run;
using std::chrono::milliseconds;
using Kind = RecipientResult::Kind;

HostTarget at(const ScriptedServer& server, std::string name = "mx.test") {
  return {std::move(name), {asio::ip::address_v4::loopback(), server.port()}};
}

SessionOptions in_the_clear() {
  SessionOptions options;
  options.ehlo = "out01.example.com";
  options.tls = TlsPolicy::None;
  return options;
}

queue::MessagePtr message_to(std::size_t recipients) {
  mail::Envelope envelope;
  envelope.reverse_path = {"news", "example.com"};
  for (std::size_t i = 0; i < recipients; ++i) {
    envelope.recipients.push_back({.address = {"r" + std::to_string(i), "example.net"}, .orcpt = {}});
  }
  return std::make_shared<queue::Message>(queue::MessageId{1}, std::move(envelope));
}

TransactionRequest request_for(const queue::MessagePtr& message, std::string content, std::string header_lines = {}) {
  TransactionRequest request;
  request.message = message;
  request.content = std::make_shared<const std::string>(std::move(content));
  if (!header_lines.empty()) {
    auto prepared = std::make_shared<queue::Message::Prepared>();
    prepared->header_lines = std::move(header_lines);
    request.prepared = std::move(prepared);
  }
  request.recipients.resize(message->envelope.recipients.size());
  std::iota(request.recipients.begin(), request.recipients.end(), 0u);
  return request;
}

const std::string kContent = "Subject: hello\r\n\r\n.dot\r\n..two\r\nend\r\n";

std::vector<Kind> kinds(const TransactionResult& result) {
  std::vector<Kind> list;
  for (const RecipientResult& recipient : result.recipients) list.push_back(recipient.kind);
  return list;
}

/// A session on an io_context of its own, driven step by step.
class Client {
 public:
  explicit Client(std::vector<HostTarget> targets, SessionOptions options = in_the_clear()) {
    run(context_, open(std::move(targets), std::move(options)));
  }
  explicit Client(const ScriptedServer& server, SessionOptions options = in_the_clear())
      : Client(std::vector<HostTarget>{at(server)}, std::move(options)) {}

  explicit operator bool() const { return session_.has_value(); }
  SmtpSession& operator*() { return *session_; }
  SmtpSession* operator->() { return &*session_; }
  const SessionFailure& failure() const { return failure_; }

  TransactionResult deliver(TransactionRequest request) {
    run(context_, deliver_one(std::move(request)));
    return std::move(result_);
  }
  TransactionResult deliver(std::size_t recipients = 1) {
    return deliver(request_for(message_to(recipients), kContent));
  }
  void quit() { run(context_, session_->quit()); }
  void wait_closed() { run(context_, session_->wait_closed()); }
  /// Waits, and is told to stop as soon as it does.
  void wait_and_stop() { run(context_, wait_until_stopped()); }

 private:
  asio::awaitable<void> open(std::vector<HostTarget> targets, SessionOptions options) {
    auto opened = co_await SmtpSession::open(context_.get_executor(), std::move(targets), std::move(options));
    if (opened) {
      session_.emplace(std::move(*opened));
    } else {
      failure_ = opened.error();
    }
  }
  asio::awaitable<void> deliver_one(TransactionRequest request) {
    result_ = co_await session_->deliver(std::move(request));
  }

  asio::awaitable<void> wait_until_stopped() {
    asio::post(context_, [this] { session_->stop_waiting(); });  // comes to run when the wait has begun
    co_await session_->wait_closed();
  }

  asio::io_context context_;
  std::optional<SmtpSession> session_;
  SessionFailure failure_;
  TransactionResult result_;
};

TEST(SmtpSession, DeliversSeveralMessagesOnOneConnection) {
  ScriptedServer server;
  Client client(server);
  ASSERT_TRUE(client) << client.failure().error;
  EXPECT_TRUE(client->extensions().pipelining);
  EXPECT_EQ(client->extensions().max_size, 50000000u);
  for (int i = 0; i < 3; ++i) {
    const TransactionResult result = client.deliver(2);
    EXPECT_EQ(kinds(result), (std::vector<Kind>{Kind::Delivered, Kind::Delivered}));
    EXPECT_TRUE(result.session_usable);
    EXPECT_EQ(result.recipients[1].reply->text, "taken");
  }
  client.quit();
  EXPECT_FALSE(client->usable());
  EXPECT_EQ(server.connections(), 1u);
  EXPECT_EQ(server.commands().front(), "EHLO out01.example.com");
  EXPECT_EQ(server.commands().back(), "QUIT");
  ASSERT_EQ(server.messages().size(), 3u);
  EXPECT_EQ(server.messages()[2].content, kContent);
  EXPECT_EQ(server.messages()[2].reverse_path, "news@example.com");
  EXPECT_EQ(server.messages()[2].recipients, (std::vector<std::string>{"r0@example.net", "r1@example.net"}));
}

std::string of_lines(const std::string& line, std::size_t size) {
  std::string content;
  while (content.size() < size) content += line;
  content.resize(size);
  return content;
}

TEST(SmtpSession, DeliversNastyContentByteForByte) {
  constexpr std::size_t kBlock = 64 * 1024;
  ScriptedServer server;
  Client client(server);
  ASSERT_TRUE(client);
  const std::string header_lines = "DKIM-Signature: v=1; a=rsa-sha256;\r\n\tb=abc\r\n";
  std::vector<std::size_t> sizes{0, 1, 2, 3, 4, 5, 4096};
  for (const std::size_t border :
       {kBlock / 2, kBlock - header_lines.size(), kBlock, 2 * kBlock - header_lines.size(), 2 * kBlock}) {
    for (std::size_t size = border - 4; size <= border + 4; ++size) sizes.push_back(size);
  }
  const auto message = message_to(1);
  std::size_t sent = 0;
  const auto send = [&](const std::string& content, bool is_signed) {
    const TransactionResult result = client.deliver(request_for(message, content, is_signed ? header_lines : ""));
    ASSERT_EQ(kinds(result), (std::vector<Kind>{Kind::Delivered}));
    std::string whole = (is_signed ? header_lines : "") + content;
    if (!whole.empty() && !whole.ends_with("\r\n")) whole += "\r\n";
    ASSERT_EQ(server.message_count(), ++sent);
    // Compared by hand: a difference of 128 KiB is no good to print.
    ASSERT_TRUE(server.last_message().content == whole) << content.size();
  };
  for (const std::size_t size : sizes) {
    for (const std::string line : {"plain text line\r\n", ".\r\n", "..\r\n.a\r\n", "no line end at all ", "."}) {
      SCOPED_TRACE(testing::Message() << size << " octets of " << testing::PrintToString(line));
      send(of_lines(line, size), size % 2 == 0);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  // A lone dot line wherever it falls around the border of a block, in content without any other dot.
  for (std::size_t begin = kBlock - 6; begin <= kBlock + 2; ++begin) {
    std::string content(2 * kBlock, 'x');
    content.replace(begin, 5, "\r\n.\r\n");
    send(content, false);
    if (testing::Test::HasFatalFailure()) return;
  }
}

struct Harm {
  Break how;
  std::string_view name;
};
const std::vector<Harm> kHarms{{Break::Close, "close"},
                               {Break::Stall, "stall"},
                               {Break::Trickle, "trickle"},
                               {Break::Garbage, "garbage"},
                               {Break::HalfLine, "half a line"}};

SessionOptions impatient() {
  SessionOptions options = in_the_clear();
  Timeouts& t = options.timeouts;
  t.connect = milliseconds(5000);
  t.banner = t.ehlo = t.tls = t.mail = t.rcpt = t.data = t.block = t.dot = t.quit = milliseconds(200);
  return options;
}

/// Breaks a conversation at each of its replies in each way, then sends again to everybody who was not delivered, as
/// the queue would: nobody is lost, and nobody gets it twice but where the host had taken it and its 250 was lost.
TEST(SmtpSession, LosesNobodyAndRepeatsNobodyWhateverBreaksWhere) {
  for (const bool pipelining : {true, false}) {
    for (const Harm& harm : kHarms) {
      // banner, EHLO, MAIL, three RCPTs, DATA, final dot
      for (std::size_t reply = 0; reply < 8; ++reply) {
        SCOPED_TRACE(testing::Message() << harm.name << " at reply " << reply
                                        << (pipelining ? ", pipelined" : ", lock-step"));
        ServerScript script;
        if (!pipelining) std::erase(script.ehlo, "PIPELINING");
        script.to_recipient["r1@example.net"] = "550 5.1.1 unknown";
        script.how = harm.how;
        script.break_at = reply;
        ScriptedServer server(script);
        const auto message = message_to(3);
        std::vector<std::uint32_t> left{0, 1, 2};
        {
          Client broken(server, impatient());
          ASSERT_EQ(static_cast<bool>(broken), reply > 1);
          if (!broken) {
            EXPECT_EQ(broken.failure().stage, reply == 0 ? Stage::Banner : Stage::Ehlo);
          } else {
            const TransactionResult result = broken.deliver(request_for(message, kContent));
            EXPECT_FALSE(result.session_usable);
            ASSERT_TRUE(result.failure);
            EXPECT_FALSE(result.failure->error.empty());
            const Kind rest = reply == 2 ? Kind::Untouched : Kind::Transient;
            const Kind bounced = reply > 4 ? Kind::Permanent : rest;
            EXPECT_EQ(kinds(result), (std::vector<Kind>{rest, bounced, rest}));
            left.clear();
            for (const RecipientResult& recipient : result.recipients) {
              if (recipient.kind != Kind::Permanent) left.push_back(recipient.recipient);
            }
          }
        }
        Client again(server);
        ASSERT_TRUE(again);
        TransactionRequest request = request_for(message, kContent);
        request.recipients = left;
        const TransactionResult result = again.deliver(std::move(request));
        for (const RecipientResult& recipient : result.recipients) {
          EXPECT_EQ(recipient.kind, recipient.recipient == 1 ? Kind::Permanent : Kind::Delivered);
        }
        const bool taken_before = reply == 7;
        ASSERT_EQ(server.messages().size(), taken_before ? 2u : 1u);
        EXPECT_TRUE(server.messages().back().acknowledged);
        EXPECT_EQ(server.messages().back().recipients, (std::vector<std::string>{"r0@example.net", "r2@example.net"}));
      }
    }
  }
}

TEST(SmtpSession, TriesTheNextHostWhenOneDoesNotServe) {
  for (const auto& [stage, reply] : std::vector<std::pair<std::string, std::string>>{{"banner", "554 5.7.1 not you"},
                                                                                     {"banner", "421 4.3.2 later"},
                                                                                     {"banner", "450 later"},
                                                                                     {"ehlo", "421 later"},
                                                                                     {"ehlo", "450 later"}}) {
    SCOPED_TRACE(reply);
    ServerScript script;
    script.replies[stage] = {reply};
    ScriptedServer refusing(script), serving;
    Client client(std::vector<HostTarget>{at(refusing, "mx1.test"), at(serving, "mx2.test")});
    ASSERT_TRUE(client);
    EXPECT_EQ(client->target().name, "mx2.test");
    EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));

    ServerScript again;
    again.replies[stage] = {reply};
    ScriptedServer alone(again);
    Client refused(alone);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.failure().stage, stage == "banner" ? Stage::Banner : Stage::Ehlo);
    ASSERT_TRUE(refused.failure().reply);
    EXPECT_EQ(refused.failure().reply->code, std::stoi(reply.substr(0, 3)));
    EXPECT_FALSE(refused.failure().source_at_fault);
  }
}

HostTarget nobody_listens() {
  asio::io_context context;
  asio::ip::tcp::acceptor taken(context, {asio::ip::address_v4::loopback(), 0});
  return {"closed.test", taken.local_endpoint()};
}

TEST(SmtpSession, TriesTheNextHostWhenOneCannotBeReached) {
  ScriptedServer server;
  Client client(std::vector<HostTarget>{nobody_listens(), at(server)});
  EXPECT_TRUE(client);
  Client failed(std::vector<HostTarget>{nobody_listens()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().stage, Stage::Connect);
  EXPECT_EQ(failed.failure().target.name, "closed.test");
  EXPECT_FALSE(failed.failure().error.empty());
}

TEST(SmtpSession, BlamesTheSourceWhenItsAddressCannotBeBound) {
  ScriptedServer server;
  SessionOptions options = in_the_clear();
  options.local_address = asio::ip::make_address("192.0.2.1");  // RFC 5737: nobody's
  Client client(std::vector<HostTarget>{at(server), at(server)}, options);
  ASSERT_FALSE(client);
  EXPECT_TRUE(client.failure().source_at_fault);
  EXPECT_EQ(client.failure().stage, Stage::Bind);
  EXPECT_EQ(server.connections(), 0u);
}

TEST(SmtpSession, LeavesFromTheSourcesAddressToHostsOfItsFamily) {
  ScriptedServer server;
  SessionOptions options = in_the_clear();
  options.local_address = asio::ip::make_address("127.0.0.9");
  const HostTarget v6{"v6.test", {asio::ip::address_v6::loopback(), server.port()}};
  Client client(std::vector<HostTarget>{v6, at(server)}, options);
  ASSERT_TRUE(client) << client.failure().error;
  EXPECT_EQ(client->local_endpoint().address().to_string(), "127.0.0.9");
  Client none(std::vector<HostTarget>{v6}, options);
  ASSERT_FALSE(none);
  EXPECT_FALSE(none.failure().source_at_fault);
}

TEST(SmtpSession, SaysHeloToAHostThatKnowsNoEhlo) {
  ServerScript script;
  script.replies["ehlo"] = {"502 5.5.1 not implemented"};
  ScriptedServer server(script);
  Client client(server);
  ASSERT_TRUE(client);
  EXPECT_EQ(client->extensions(), Extensions{});
  EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
  const auto commands = server.commands();
  EXPECT_EQ(commands[1], "HELO out01.example.com");
  EXPECT_EQ(commands[2], "MAIL FROM:<news@example.com>");  // no parameter: none was offered
}

TEST(SmtpSession, ResetsAfterARefusedTransactionInTheNextFlight) {
  for (const bool pipelining : {true, false}) {
    ServerScript script;
    if (!pipelining) std::erase(script.ehlo, "PIPELINING");
    script.replies["rcpt"] = {"550 5.1.1 unknown"};
    ScriptedServer server(script);
    Client client(server);
    ASSERT_TRUE(client);
    EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Permanent}));
    EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
    EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
    const auto commands = server.commands();
    EXPECT_EQ(std::count(commands.begin(), commands.end(), "RSET"), 1);
    EXPECT_EQ(std::count(commands.begin(), commands.end(), "DATA"), pipelining ? 3 : 2);
  }
}

TEST(SmtpSession, SendsALoneDotWhenTheHostTakesDataForNobody) {
  ServerScript script;
  script.replies["rcpt"] = {"550 5.1.1 unknown"};
  script.replies["data"] = {"354 go ahead all the same"};
  script.replies["dot"] = {"554 5.5.1 nobody"};
  ScriptedServer server(script);
  Client client(server);
  const TransactionResult refused = client.deliver();
  EXPECT_EQ(kinds(refused), (std::vector<Kind>{Kind::Permanent}));
  EXPECT_EQ(refused.recipients[0].reply->code, 550);
  EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
  EXPECT_EQ(server.messages().size(), 1u);
}

TEST(SmtpSession, HearsARefusalInTheMiddleOfALargeMessage) {
  for (const auto& [refusal, kind] : std::vector<std::pair<std::string, Kind>>{{"552 5.3.4 too large", Kind::Permanent},
                                                                               {"451 4.3.0 disk", Kind::Transient},
                                                                               {"421 4.3.0 disk", Kind::Untouched},
                                                                               {"250 2.0.0 fine", Kind::Transient}}) {
    SCOPED_TRACE(refusal);
    ServerScript script;
    script.refuse_content_after = 100000;
    script.refusal = refusal;
    ScriptedServer server(script);
    Client client(server);
    ASSERT_TRUE(client);
    const TransactionResult result = client.deliver(request_for(message_to(1), of_lines("much text\r\n", 30'000'000)));
    EXPECT_EQ(kinds(result), (std::vector<Kind>{kind})) << result.recipients[0].error;
    EXPECT_FALSE(result.session_usable);
    EXPECT_TRUE(result.failure);
    EXPECT_TRUE(server.messages().empty());
  }
}

TEST(SmtpSession, LeavesMailUntouchedWhenTheIdleConnectionWasClosed) {
  ServerScript script;
  script.how = Break::Close;
  script.break_at = 2;
  ScriptedServer server(script);
  Client client(server);
  const TransactionResult result = client.deliver(2);
  EXPECT_EQ(kinds(result), (std::vector<Kind>{Kind::Untouched, Kind::Untouched}));
  EXPECT_EQ(result.failure->stage, Stage::Mail);
}

TEST(SmtpSession, WillNotTakeAnUnaskedReplyForAnAnswer) {
  struct Case {
    std::string unasked;
    bool closing;
  };
  for (const Case& c : {Case{"250 2.0.0 once more", false}, Case{"421 4.4.2 closing", true}}) {
    SCOPED_TRACE(c.unasked);
    ServerScript script;
    script.unasked_after_dot = c.unasked;
    ScriptedServer server(script);
    Client client(server);
    EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
    const TransactionResult result = client.deliver();
    EXPECT_EQ(kinds(result), (std::vector<Kind>{Kind::Untouched}));
    EXPECT_FALSE(result.session_usable);
    EXPECT_EQ(result.failure->reply.has_value(), c.closing);
    EXPECT_EQ(server.messages().size(), 1u);
  }
}

TEST(SmtpSession, NoticesWhileIdleThatTheHostHasGone) {
  auto server = std::make_unique<ScriptedServer>();
  Client client(*server);
  ASSERT_TRUE(client);
  EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
  client.wait_and_stop();
  EXPECT_TRUE(client->usable());
  EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
  server.reset();
  client.wait_closed();
  EXPECT_FALSE(client->usable());
  const TransactionResult late = client.deliver(2);
  EXPECT_EQ(kinds(late), (std::vector<Kind>{Kind::Untouched, Kind::Untouched}));
  EXPECT_FALSE(late.session_usable);
}

/// No more files are opened while it lives.
class NoMoreFiles {
 public:
  NoMoreFiles() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none{.rlim_cur = 3, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreFiles() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(SmtpSession, WhatThisHostLacksIsToldFromWhatTheOtherDoes) {
  ScriptedServer server;
  asio::io_context context;
  const asio::steady_timer has_a_reactor(context);  // which needs files of its own
  std::optional<SessionFailure> failure;
  auto open = [&]() -> asio::awaitable<void> {
    std::vector<HostTarget> targets{{"mx.test", {asio::ip::address_v4::loopback(), server.port()}}};
    auto opened = co_await SmtpSession::open(context.get_executor(), std::move(targets), in_the_clear());
    if (!opened) failure = opened.error();
  };
  {
    const NoMoreFiles limit;
    run(context, open());
  }
  ASSERT_TRUE(failure);
  EXPECT_TRUE(failure->no_descriptor) << failure->error;
  EXPECT_FALSE(failure->source_at_fault);
}

class SmtpSessionTls : public testing::Test {
 protected:
  net::test::TempFolder folder_;
  net::test::TestCertificate certificate_{folder_, "mx.test"};
  net::TlsContext server_context_ = *net::server_tls_context(certificate_.certificate_file, certificate_.key_file);
  net::TlsContext any_ = *net::client_tls_context(false);
  net::TlsContext verifying_ = *net::client_tls_context(true);

  ServerScript script() const {
    ServerScript script;
    script.tls = server_context_.get();
    return script;
  }
  SessionOptions options(TlsPolicy policy) const {
    SessionOptions options = in_the_clear();
    options.tls = policy;
    options.tls_context = any_.get();
    options.verifying_context = verifying_.get();
    return options;
  }
  void trust_the_server() {
    ASSERT_EQ(SSL_CTX_load_verify_locations(verifying_.get(), certificate_.certificate_file.c_str(), nullptr), 1);
  }
};

TEST_F(SmtpSessionTls, IsUsedWhereOffered) {
  ScriptedServer server(script());
  Client client(server, options(TlsPolicy::Opportunistic));
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->tls_info());
  EXPECT_EQ(client->tls_info()->version, "TLSv1.3");
  EXPECT_FALSE(client->extensions().starttls);  // EHLO was said again
  EXPECT_EQ(kinds(client.deliver(request_for(message_to(2), of_lines(".text\r\n", 200'000)))),
            (std::vector<Kind>{Kind::Delivered, Kind::Delivered}));
  EXPECT_EQ(server.messages()[0].content, of_lines(".text\r\n", 200'000) + "\r\n");
  client.quit();
}

TEST_F(SmtpSessionTls, IsLeftAloneByPolicyNone) {
  ScriptedServer server(script());
  Client client(server, options(TlsPolicy::None));
  ASSERT_TRUE(client);
  EXPECT_FALSE(client->tls_info());
}

TEST_F(SmtpSessionTls, FallsBackToTheClearAtTheSameHostWhenTheHandshakeBreaks) {
  ServerScript broken = script();
  broken.break_handshake = true;
  ScriptedServer server(broken), other;
  Client client(std::vector<HostTarget>{at(server, "mx1.test"), at(other, "mx2.test")},
                options(TlsPolicy::Opportunistic));
  ASSERT_TRUE(client) << client.failure().error;
  EXPECT_EQ(client->target().name, "mx1.test");
  EXPECT_FALSE(client->tls_info());
  EXPECT_EQ(server.connections(), 2u);
  EXPECT_EQ(kinds(client.deliver()), (std::vector<Kind>{Kind::Delivered}));
}

TEST_F(SmtpSessionTls, GoesOnInTheClearWhenStarttlsIsRefused) {
  ServerScript refusing = script();
  refusing.replies["starttls"] = {"454 4.7.0 not now"};
  ScriptedServer server(refusing);
  Client client(server, options(TlsPolicy::Opportunistic));
  ASSERT_TRUE(client);
  EXPECT_FALSE(client->tls_info());
  EXPECT_EQ(server.connections(), 1u);
}

TEST_F(SmtpSessionTls, DiscardsWhatCameInTheClearBehindStarttls) {  // RFC 3207 section 4.2
  ServerScript injecting = script();
  injecting.replies["starttls"] = {"220 go ahead\r\n250-mx.test\r\n250 SIZE 1"};
  ScriptedServer server(injecting);
  Client client(server, options(TlsPolicy::Opportunistic));
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->tls_info());
  EXPECT_EQ(client->extensions().max_size, 50000000u);
}

TEST_F(SmtpSessionTls, RequiredMeansVerified) {
  {
    ScriptedServer server(script());
    Client unverified(server, options(TlsPolicy::Require));
    ASSERT_FALSE(unverified);
    EXPECT_EQ(unverified.failure().stage, Stage::Tls);
    EXPECT_EQ(server.connections(), 1u);  // no second try in the clear
  }
  trust_the_server();
  ScriptedServer server(script());
  Client client(server, options(TlsPolicy::Require));
  ASSERT_TRUE(client) << client.failure().error;
  EXPECT_TRUE(client->tls_info()->peer_verified);
  Client other_name(std::vector<HostTarget>{at(server, "other.test")}, options(TlsPolicy::Require));
  ASSERT_FALSE(other_name);
  EXPECT_EQ(other_name.failure().stage, Stage::Tls);
}

TEST_F(SmtpSessionTls, RequiredFailsWhereNotOffered) {
  ScriptedServer server;
  Client client(server, options(TlsPolicy::Require));
  ASSERT_FALSE(client);
  EXPECT_EQ(client.failure().stage, Stage::Tls);
  ServerScript refusing = script();
  refusing.replies["starttls"] = {"454 4.7.0 not now"};
  ScriptedServer refuses(refusing);
  Client refused(refuses, options(TlsPolicy::Require));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().reply->code, 454);
}

}  // namespace
}  // namespace danki::delivery
