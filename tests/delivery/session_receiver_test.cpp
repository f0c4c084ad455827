#include "mta/delivery/session.hpp"
#include "tests/fakes/receiver_process.hpp"
#include "tests/net/run_coroutine.hpp"

#include <numeric>

#include <boost/asio/io_context.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

namespace danki::delivery {
namespace {

namespace asio = boost::asio;
using fakes::ReceiverProcess;
using testing::HasSubstr;
using Kind = RecipientResult::Kind;

/// The session against the bundled receiver, which shares no code with it and notes each breach of the protocol.
class SmtpSessionWithReceiver : public testing::Test {
 protected:
  void SetUp() override {
    if (!ReceiverProcess::is_built()) GTEST_SKIP() << ReceiverProcess::program() << " is not built";
  }

  /// One message on a connection of its own.
  std::vector<Kind> deliver(const ReceiverProcess& receiver, mail::Envelope envelope, std::string content) {
    std::vector<Kind> kinds;
    net::test::run(io_, deliver_into(kinds, receiver.port(), std::move(envelope), std::move(content)));
    return kinds;
  }

  static mail::Envelope envelope_to(std::vector<std::string> locals) {
    mail::Envelope envelope;
    envelope.reverse_path = {"news", "example.com"};
    for (std::string& local : locals) {
      envelope.recipients.push_back({.address = {std::move(local), "example.net"}, .orcpt = {}});
    }
    return envelope;
  }

 private:
  asio::awaitable<void> deliver_into(std::vector<Kind>& kinds, std::uint16_t port, mail::Envelope envelope,
                                     std::string content) {
    SessionOptions options;
    options.ehlo = "out01.example.com";
    options.tls = TlsPolicy::None;
    options.timeouts.mail = options.timeouts.rcpt = options.timeouts.data = options.timeouts.dot =
        std::chrono::milliseconds(300);
    std::vector<HostTarget> targets{{"mx.test", {asio::ip::address_v4::loopback(), port}}};
    auto session = co_await SmtpSession::open(io_.get_executor(), std::move(targets), std::move(options));
    if (!session) throw std::runtime_error(session.error().error);
    TransactionRequest request;
    request.recipients.resize(envelope.recipients.size());
    std::iota(request.recipients.begin(), request.recipients.end(), 0u);
    request.message = std::make_shared<queue::Message>(queue::MessageId{1}, std::move(envelope));
    request.content = std::make_shared<const std::string>(std::move(content));
    TransactionResult result = co_await session->deliver(std::move(request));
    for (const RecipientResult& recipient : result.recipients) kinds.push_back(recipient.kind);
    if (result.session_usable) co_await session->quit();
  }

  asio::io_context io_;
};

TEST_F(SmtpSessionWithReceiver, SendsContentByteForByteWithoutABreach) {
  ReceiverProcess receiver;
  const std::string header = "Subject: test\r\n\r\n";
  std::vector<std::string> contents{header, header + ".\r\n..\r\n...\r\n.a\r\n"};
  for (const std::size_t size : {65'535u, 65'536u, 65'537u, 131'072u, 1'000'000u}) {
    for (const std::string& line :
         {std::string(78, 'x') + "\r\n", std::string(".\r\n"), std::string(998, '.') + "\r\n"}) {
      std::string content = header;
      while (content.size() + line.size() <= size) content += line;
      contents.push_back(content);
      contents.push_back(content + std::string(size - content.size(), 'y') + "\r\n");
    }
  }
  int n = 0;
  for (const std::string& content : contents) {
    SCOPED_TRACE(content.size());
    ASSERT_EQ(deliver(receiver, envelope_to({"user"}), content), (std::vector<Kind>{Kind::Delivered}));
    ++n;
    ASSERT_TRUE(receiver.content(n) == content);
    EXPECT_THAT(receiver.record(n), HasSubstr("\"violations\":[]"));
  }
}

TEST_F(SmtpSessionWithReceiver, SaysOnlyWhatIsAnnounced) {
  mail::Envelope envelope = envelope_to({"user", "other"});
  envelope.envid = "QQ314159";
  envelope.ret = mail::DsnReturn::Headers;
  envelope.recipients[0].notify = mail::kNotifySuccess | mail::kNotifyFailure;
  envelope.recipients[0].orcpt = "rfc822;user@example.org";
  envelope.body = mail::BodyType::EightBitMime;
  const std::string content = "Subject: test\r\nMIME-Version: 1.0\r\n\r\ncaf\xC3\xA9\r\n";
  for (const std::string_view without : {"", "DSN", "SIZE", "PIPELINING", "SMTPUTF8", "ENHANCEDSTATUSCODES"}) {
    SCOPED_TRACE(without);
    const std::string scenario = without.empty() ? "" : fmt::format("[[announce]]\nwithout = [\"{}\"]\n", without);
    ReceiverProcess receiver(scenario);
    ASSERT_EQ(deliver(receiver, envelope, content), (std::vector<Kind>{Kind::Delivered, Kind::Delivered}));
    EXPECT_EQ(receiver.content(1), content);
    const std::string record = receiver.record(1);
    EXPECT_THAT(record, HasSubstr("\"violations\":[]"));
    EXPECT_THAT(record, HasSubstr("BODY=8BITMIME"));
    EXPECT_EQ(record.find("ENVID=QQ314159") == std::string::npos, without == "DSN");
    EXPECT_EQ(record.find("ORCPT=rfc822;user@example.org") == std::string::npos, without == "DSN");
    EXPECT_EQ(record.find("SIZE=") == std::string::npos, without == "SIZE");
  }
}

TEST_F(SmtpSessionWithReceiver, SpeaksUtf8WhereItIsUnderstoodAndBouncesWhereNot) {
  mail::Envelope envelope = envelope_to({"暖気", "plain"});
  envelope.smtputf8 = true;
  const std::string content = "Subject: test\r\n\r\ntext\r\n";
  ReceiverProcess understands, does_not("[[announce]]\nwithout = [\"SMTPUTF8\"]\n");
  EXPECT_EQ(deliver(understands, envelope, content), (std::vector<Kind>{Kind::Delivered, Kind::Delivered}));
  EXPECT_THAT(understands.record(1), HasSubstr("\"violations\":[]"));
  EXPECT_EQ(deliver(does_not, envelope, content), (std::vector<Kind>{Kind::Permanent, Kind::Delivered}));
  EXPECT_THAT(does_not.record(1), HasSubstr("\"violations\":[]"));
}

TEST_F(SmtpSessionWithReceiver, RepeatsOnlyWhoWasNotTaken) {
  for (const std::string_view stage : {"mail", "rcpt", "data", "content", "dot"}) {
    for (const std::string_view action : {"drop", "half-reply", "stall", "close"}) {
      if (stage == "content" && action == "half-reply") continue;
      if (stage == "content" && action == "stall")
        continue;  // small content is in the socket's buffer: seen at the dot
      SCOPED_TRACE(testing::Message() << action << " at " << stage);
      ReceiverProcess receiver(fmt::format("[[rule]]\nstage = \"{}\"\naction = \"{}\"\ntimes = 1\n", stage, action));
      const mail::Envelope envelope = envelope_to({"a", "b"});
      const std::string content = "Subject: test\r\n\r\n.text\r\n";
      const std::vector<Kind> first = deliver(receiver, envelope, content);
      // "close" says 421, which is trouble of the path but for the final dot.
      const bool is_untouched = stage == "mail" || (action == "close" && stage != "dot" && stage != "content");
      const Kind expected = is_untouched ? Kind::Untouched : Kind::Transient;
      EXPECT_EQ(first, (std::vector<Kind>{expected, expected}));
      EXPECT_EQ(receiver.messages(), 0);
      EXPECT_EQ(deliver(receiver, envelope, content), (std::vector<Kind>{Kind::Delivered, Kind::Delivered}));
      EXPECT_EQ(receiver.messages(), 1);
      EXPECT_THAT(receiver.record(1), HasSubstr("\"violations\":[]"));
    }
  }
}

}  // namespace
}  // namespace danki::delivery
