#include "mta/submission/conversation.hpp"

#include "queue/errc.hpp"
#include "tests/submission/talk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::submission {
namespace {

using test::FakeSurroundings;
using test::Talk;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view kPlain = "AUTH PLAIN AHNpZ251cABzZWNyZXQ=";
const std::string kMessage =
    "From: a@example.com\r\nDate: Mon, 23 Nov 2026 05:49:39 +0000\r\nMessage-ID: <x@y>\r\n\r\nhello\r\n";

ListenerOptions plain_listener() {
  ListenerOptions listener;
  listener.tls = ListenerTls::None;
  listener.auth_without_tls = true;
  listener.check_recipient_domain = false;
  return listener;
}

class ConversationTest : public testing::Test {
 protected:
  /// Greeted and authenticated.
  Talk authenticated(ListenerOptions listener = plain_listener()) {
    Talk talk(surroundings_, std::move(listener));
    talk.line("EHLO client.example");
    EXPECT_EQ(talk.code(kPlain), "235 2.7.0");
    return talk;
  }
  /// With a transaction that has one recipient.
  Talk in_transaction(ListenerOptions listener = plain_listener()) {
    Talk talk = authenticated(std::move(listener));
    EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "250 2.1.0");
    EXPECT_EQ(talk.code("RCPT TO:<b@other.example>"), "250 2.1.5");
    return talk;
  }
  FakeSurroundings surroundings_;
};

TEST_F(ConversationTest, AnnouncesWhatTheStateAllows) {
  Talk talk(surroundings_);  // STARTTLS required before AUTH
  EXPECT_THAT(talk.banner, StartsWith("220 relay.example.com "));
  const std::string before = talk.line("EHLO client.example");
  for (const char* extension :
       {"PIPELINING", "SIZE 36700160", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN", "STARTTLS"}) {
    EXPECT_THAT(before, HasSubstr(std::string(extension) + "|"));
  }
  EXPECT_THAT(before, Not(HasSubstr("AUTH")));
  EXPECT_EQ(talk.code("STARTTLS"), "220 2.0.0");
  const std::string after = talk.line("EHLO client.example");
  EXPECT_THAT(after, HasSubstr("AUTH PLAIN LOGIN|"));
  EXPECT_THAT(after, Not(HasSubstr("STARTTLS")));
  EXPECT_EQ(talk.line("HELO client.example"), "250 relay.example.com|");
}

TEST_F(ConversationTest, TakesAMessage) {
  Talk talk = in_transaction();
  EXPECT_THAT(talk.line("DATA"), StartsWith("354 "));
  EXPECT_EQ(talk.send(kMessage + "..dots\r\n.\r\n"), "250 2.0.0 queued as id1|");
  ASSERT_EQ(talk.messages.size(), 1u);
  const auto& [envelope, content] = talk.messages.front();
  EXPECT_EQ(content,
            "Received: from client.example ([192.0.2.1])\r\n\tby relay.example.com with ESMTPA id s1.1\r\n"
            "\tfor <b@other.example>;\r\n\tMon, 23 Nov 2026 05:49:39 +0000\r\n" +
                kMessage + ".dots\r\n");
  EXPECT_EQ(envelope.reverse_path.to_string(), "a@example.com");
  ASSERT_EQ(envelope.recipients.size(), 1u);
  EXPECT_EQ(envelope.recipients[0].address.to_string(), "b@other.example");
  EXPECT_EQ(envelope.tenant, "signup");
  EXPECT_EQ(envelope.pool, "main");
  EXPECT_EQ(envelope.from_domain, "example.com");
  EXPECT_EQ(envelope.session, "s1");
  EXPECT_EQ(envelope.size, content.size());
  EXPECT_EQ(envelope.arrived_at, surroundings_.clock.now());
  EXPECT_EQ(envelope.expires_at, surroundings_.clock.now() + std::chrono::hours(24));
  EXPECT_EQ(envelope.body, mail::BodyType::SevenBit);
  EXPECT_EQ(talk.line("QUIT"), "221 2.0.0 bye|");
  EXPECT_TRUE(talk.closed);
  EXPECT_EQ(surroundings_.budget.used(), 0u);
}

TEST_F(ConversationTest, KeepsWhatTheEnvelopeSays) {
  Talk talk = authenticated();
  talk.line("MAIL FROM:<a@example.com> RET=HDRS ENVID=abc SMTPUTF8 BODY=8BITMIME");
  talk.line("RCPT TO:<b@other.example> NOTIFY=FAILURE ORCPT=rfc822;c@other.example");
  talk.line("RCPT TO:<\xE6\x9C\x88@other.example>");
  talk.line("DATA");
  talk.send("X-Danki-Campaign: launch\r\n" + kMessage + "\xE6\x9C\x88\r\n.\r\n");
  ASSERT_EQ(talk.messages.size(), 1u);
  const auto& [envelope, content] = talk.messages.front();
  EXPECT_EQ(envelope.ret, mail::DsnReturn::Headers);
  EXPECT_EQ(envelope.envid, "abc");
  EXPECT_TRUE(envelope.smtputf8);
  EXPECT_EQ(envelope.recipients[0].notify, mail::kNotifyFailure);
  EXPECT_EQ(envelope.recipients[0].orcpt, "rfc822;c@other.example");
  EXPECT_EQ(envelope.campaign, "launch");
  EXPECT_THAT(content, HasSubstr("with UTF8SMTPA id"));
  EXPECT_THAT(content, Not(HasSubstr("\tfor <")));
  EXPECT_THAT(content, EndsWith("+0000\r\n" + kMessage + "\xE6\x9C\x88\r\n"));
}

TEST_F(ConversationTest, CallsEightBitContentByItsName) {
  Talk talk = in_transaction();
  talk.line("DATA");
  talk.send(kMessage + "\xFF\r\n.\r\n");
  EXPECT_EQ(talk.messages.front().envelope.body, mail::BodyType::EightBitMime);
}

TEST_F(ConversationTest, SaysNoInOrder) {
  struct Case {
    std::string_view line;
    std::string_view code;
  };
  Talk talk(surroundings_, plain_listener());
  for (const Case& c :
       {Case{"MAIL FROM:<a@example.com>", "503 5.5.1"}, Case{"RCPT TO:<a@example.com>", "503 5.5.1"},
        Case{"DATA", "503 5.5.1"}, Case{kPlain, "503 5.5.1"}, Case{"EHLO", "501 5.5.4"}, Case{"HELO", "501 5.5.4"},
        Case{"EHLO a b", "501 5.5.4"}, Case{"FROB", "500 5.5.2"}, Case{"", "500 5.5.2"}, Case{"EXPN list", "502 5.5.1"},
        Case{"VRFY", "501 5.5.4"}, Case{"VRFY a", "252 2.1.5"}, Case{"NOOP", "250 2.0.0"}, Case{"HELP", "214 2.0.0"},
        Case{"RSET", "250 2.0.0"}, Case{"RSET x", "501 5.5.4"}, Case{"STARTTLS", "502 5.5.1"},
        Case{"BDAT", "501 5.5.4"}, Case{"BDAT 0 LAST", "503 5.5.1"}}) {
    EXPECT_EQ(talk.code(c.line), c.code) << c.line;
  }
  surroundings_.change_options([](Options& o) { o.limits.errors = 1000; });
  talk.line("EHLO client.example");
  for (const Case& c : {Case{"MAIL FROM:<a@example.com>", "530 5.7.0"},
                        Case{"AUTH", "501 5.5.4"},
                        Case{"AUTH FROB", "504 5.5.4"},
                        Case{"AUTH PLAIN AHNpZ251cAB3cm9uZw==", "535 5.7.8"},
                        Case{kPlain, "235 2.7.0"},
                        Case{kPlain, "503 5.5.1"},
                        Case{"MAIL", "501 5.5.4"},
                        Case{"MAIL FROM:<a@b", "501 5.1.7"},
                        Case{"MAIL FROM:<a@other.example>", "550 5.7.1"},
                        Case{"MAIL FROM:<>", "550 5.7.1"},
                        Case{"MAIL FROM:<a@example.com> SIZE=36700161", "552 5.3.4"},
                        Case{"MAIL FROM:<\xC3\xBC@example.com>", "553 5.6.7"},
                        Case{"MAIL FROM:<a@example.com> FROB", "555 5.5.4"},
                        Case{"MAIL FROM:<a@sub.example.com> SIZE=36700160", "250 2.1.0"},
                        Case{"MAIL FROM:<a@example.com>", "503 5.5.1"},
                        Case{kPlain, "503 5.5.1"},
                        Case{"DATA", "554 5.5.1"},
                        Case{"BDAT 0 LAST", "554 5.5.1"},
                        Case{"RCPT TO:<b>", "501 5.1.3"},
                        Case{"RCPT TO:<suppressed@other.example>", "550 5.1.1"},
                        Case{"RCPT TO:<\xE6\x9C\x88@other.example>", "553 5.6.7"},
                        Case{"DATA now", "501 5.5.4"},
                        Case{"RCPT TO:<b@other.example>", "250 2.1.5"},
                        Case{"BDAT 0", "250 2.0.0"},
                        Case{"DATA", "503 5.5.1"},
                        Case{"RCPT TO:<b@other.example>", "503 5.5.1"},
                        Case{"RSET", "250 2.0.0"},
                        Case{"DATA", "503 5.5.1"}}) {
    EXPECT_EQ(talk.code(c.line), c.code) << c.line;
  }
}

TEST_F(ConversationTest, NamesTheDomainItRefuses) {
  Talk talk = in_transaction();
  EXPECT_THAT(authenticated().line("MAIL FROM:<a@evil.example>"), HasSubstr("evil.example"));
  talk.line("DATA");
  const std::string said = talk.send("From: a@evil.example\r\n\r\n.\r\n");
  EXPECT_THAT(said, StartsWith("550 5.7.1 "));
  EXPECT_THAT(said, HasSubstr("evil.example"));
}

TEST_F(ConversationTest, AllowsTheNullReversePathIfTheTenantMay) {
  surroundings_.change_options([](Options& o) { o.tenants["signup"].allow_null_sender = true; });
  EXPECT_EQ(authenticated().code("MAIL FROM:<>"), "250 2.1.0");
}

TEST_F(ConversationTest, DeliversPostmasterWithoutDomainToItsOwn) {  // RFC 5321 section 4.5.1
  Talk talk = in_transaction();
  EXPECT_EQ(talk.code("RCPT TO:<Postmaster>"), "250 2.1.5");
  talk.line("DATA");
  talk.send(kMessage + ".\r\n");
  EXPECT_EQ(talk.messages.front().envelope.recipients[1].address.to_string(), "Postmaster@relay.example.com");
}

TEST_F(ConversationTest, WantsTlsBeforeAuth) {
  ListenerOptions listener = plain_listener();
  listener.tls = ListenerTls::StartTls;
  listener.auth_without_tls = false;
  Talk talk(surroundings_, listener);
  talk.line("EHLO client.example");
  EXPECT_EQ(talk.code(kPlain), "530 5.7.0");
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "530 5.7.0");
  EXPECT_EQ(talk.code("STARTTLS now"), "501 5.5.4");
  EXPECT_EQ(talk.send("STARTTLS\r\nEHLO injected.example\r\nMAIL FROM:<a@example.com>\r\n").substr(0, 3), "220");
  EXPECT_EQ(talk.send(""), "");
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "503 5.5.1");  // EHLO is forgotten
  talk.line("EHLO client.example");
  EXPECT_EQ(talk.code("STARTTLS"), "503 5.5.1");
  EXPECT_EQ(talk.code(kPlain), "235 2.7.0");
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "250 2.1.0");
  talk.line("RCPT TO:<b@other.example>");
  talk.line("DATA");
  talk.send(kMessage + ".\r\n");
  EXPECT_THAT(talk.messages.front().content, HasSubstr("with ESMTPSA id"));
}

TEST_F(ConversationTest, RunsAuthLoginLineByLine) {
  Talk talk(surroundings_, plain_listener());
  talk.line("EHLO client.example");
  EXPECT_EQ(talk.line("AUTH LOGIN"), "334 VXNlcm5hbWU6|");
  EXPECT_EQ(talk.line("c2lnbnVw"), "334 UGFzc3dvcmQ6|");
  EXPECT_EQ(talk.code("c2VjcmV0"), "235 2.7.0");
  Talk cancelled(surroundings_, plain_listener());
  cancelled.line("EHLO client.example");
  EXPECT_EQ(cancelled.line("AUTH PLAIN"), "334 |");
  EXPECT_EQ(cancelled.code("*"), "501 5.7.0");
  EXPECT_EQ(cancelled.code("NOOP"), "250 2.0.0");
}

TEST_F(ConversationTest, PassesOnWhatBecameOfThePassword) {
  Talk busy(surroundings_, plain_listener());
  busy.line("EHLO client.example");
  busy.password_verdict = AuthVerdict::Busy;
  EXPECT_EQ(busy.code(kPlain), "454 4.7.0");
  EXPECT_EQ(busy.code("MAIL FROM:<a@example.com>"), "530 5.7.0");
  busy.password_verdict = AuthVerdict::TooManyFailures;
  EXPECT_EQ(busy.code(kPlain), "421 4.7.0");
  EXPECT_TRUE(busy.closed);
}

TEST_F(ConversationTest, LetsTrustedNetworksRelayAsTheirTenant) {
  ListenerOptions listener = plain_listener();
  listener.tenant_for_trusted = "signup";
  Talk trusted(surroundings_, listener, true);
  trusted.line("EHLO client.example");
  EXPECT_EQ(trusted.code("MAIL FROM:<a@example.com>"), "250 2.1.0");
  EXPECT_EQ(trusted.code("RCPT TO:<b@other.example>"), "250 2.1.5");
  trusted.line("DATA");
  trusted.send(kMessage + ".\r\n");
  EXPECT_EQ(trusted.messages.front().envelope.tenant, "signup");
  EXPECT_THAT(trusted.messages.front().content, HasSubstr("with ESMTP id"));

  Talk stranger(surroundings_, listener, false);
  stranger.line("EHLO client.example");
  EXPECT_EQ(stranger.code("MAIL FROM:<a@example.com>"), "530 5.7.0");
  listener.require_auth = false;
  Talk open(surroundings_, listener, false);
  open.line("EHLO client.example");
  EXPECT_EQ(open.code("MAIL FROM:<a@example.com>"), "250 2.1.0");
  EXPECT_EQ(open.code("RCPT TO:<b@other.example>"), "550 5.7.1");
  EXPECT_EQ(open.code("DATA"), "554 5.5.1");
}

TEST_F(ConversationTest, ForgetsATenantThatIsGone) {
  Talk talk = authenticated();
  surroundings_.change_options([](Options& o) { o.tenants.clear(); });
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "530 5.7.0");
}

TEST_F(ConversationTest, AsksForDomainsInOrder) {
  ListenerOptions listener = plain_listener();
  listener.check_recipient_domain = true;
  Talk talk = authenticated(listener);
  surroundings_.domains = {{"gone.example", DomainVerdict::NotFound},
                           {"null.example", DomainVerdict::NullMx},
                           {"ours.example", DomainVerdict::Loop}};
  EXPECT_EQ(talk.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<a@one.example>\r\nRCPT TO:<a@gone.example>\r\n"
                      "RCPT TO:<a@null.example>\r\nRCPT TO:<a@ours.example>\r\nRCPT TO:<a@two.example>\r\n"),
            "250 2.1.0 sender ok|250 2.1.5 recipient ok|550 5.1.2 domain gone.example does not exist|"
            "556 5.1.10 domain null.example accepts no mail (null MX)|"
            "554 5.4.6 mail for ours.example leads back to this relay|250 2.1.5 recipient ok|");
  EXPECT_EQ(talk.asked_domains, (std::vector<std::string>{"one.example", "two.example"}));
  talk.domain_verdict = DomainVerdict::NotFound;
  EXPECT_EQ(talk.code("RCPT TO:<a@three.example>"), "550 5.1.2");
}

TEST_F(ConversationTest, KeepsToTheTenantsRate) {
  surroundings_.recipients_left = 1;
  Talk talk = in_transaction();
  EXPECT_EQ(talk.line("RCPT TO:<c@other.example>"),
            "451 4.7.1 signup sends at its rate limit, room again at 2026-11-23T05:49:44.120Z|");
  talk.line("RSET");
  EXPECT_EQ(surroundings_.recipients_left, 1u) << "what was not sent is given back";
  talk.line("MAIL FROM:<a@example.com>");
  talk.line("RCPT TO:<b@other.example>");
  talk.line("DATA");
  talk.send(kMessage + ".\r\n");
  EXPECT_EQ(surroundings_.recipients_left, 0u);
}

TEST_F(ConversationTest, LimitsRecipientsButNeverBelowAHundred) {  // RFC 5321 section 4.5.3.1.8
  surroundings_.change_options([](Options& o) { o.limits.recipients = 1; });
  Talk talk = in_transaction();
  for (int i = 1; i < 100; ++i) ASSERT_EQ(talk.code("RCPT TO:<b@other.example>"), "250 2.1.5");
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(talk.code("RCPT TO:<b@other.example>"), "452 4.5.3");
  EXPECT_FALSE(talk.closed);
}

TEST_F(ConversationTest, SendsOneCopyToARecipientNamedSeveralTimes) {
  surroundings_.recipients_left = 3;
  Talk talk = authenticated();
  talk.line("MAIL FROM:<a@example.com>");
  for (const char* path : {"<b@other.example> NOTIFY=FAILURE ORCPT=rfc822;c@other.example", "<B@other.example>",
                           "<b@sub.other.example>", "<b@other.example> NOTIFY=NEVER", "<b@OTHER.example>"}) {
    EXPECT_EQ(talk.code(std::string("RCPT TO:") + path), "250 2.1.5") << path;
  }
  EXPECT_EQ(surroundings_.recipients_left, 0u);
  EXPECT_EQ(talk.code("RCPT TO:<c@other.example>"), "451 4.7.1");
  surroundings_.recipients_left = 1;
  EXPECT_EQ(talk.code("RCPT TO:<c@other.example>"), "250 2.1.5") << "refused by the rate is not named before";
  talk.line("DATA");
  talk.send(kMessage + ".\r\n");
  ASSERT_EQ(talk.messages.size(), 1u);
  const auto& recipients = talk.messages.front().envelope.recipients;
  ASSERT_EQ(recipients.size(), 4u);
  EXPECT_EQ(recipients[0].address.to_string(), "b@other.example");
  EXPECT_EQ(recipients[0].notify, mail::kNotifyFailure);
  EXPECT_EQ(recipients[0].orcpt, "rfc822;c@other.example");
  EXPECT_EQ(recipients[1].address.to_string(), "B@other.example");
  EXPECT_EQ(recipients[2].address.to_string(), "b@sub.other.example");
  EXPECT_EQ(recipients[3].address.to_string(), "c@other.example");

  Talk next = authenticated();
  surroundings_.recipients_left = 2;
  for (int i = 0; i < 2; ++i) {  // each transaction for itself
    next.line("MAIL FROM:<a@example.com>");
    next.line("RCPT TO:<b@other.example>");
    EXPECT_EQ(next.line("DATA").substr(0, 3), "354");
    next.send(kMessage + ".\r\n");
    EXPECT_EQ(next.messages.back().envelope.recipients.size(), 1u);
  }
}

TEST_F(ConversationTest, EndsASessionThatHearsNoAndGoesOnWithoutEnd) {
  surroundings_.change_options([](Options& o) { o.limits.recipients = 100; });
  const auto codes = [](Talk& talk, int count) {
    std::map<std::string, int> heard;
    for (int i = 0; i < count && !talk.closed; ++i) ++heard[talk.code("RCPT TO:<b@other.example>")];
    return heard;
  };
  using Codes = std::map<std::string, int>;
  {
    Talk talk = authenticated();
    talk.line("MAIL FROM:<a@example.com>");
    EXPECT_EQ(codes(talk, 20'000), (Codes{{"250 2.1.5", 100}, {"452 4.5.3", 10'020}, {"421 4.7.0", 1}}));
    EXPECT_TRUE(talk.closed);
  }
  {
    Talk talk = authenticated();
    surroundings_.recipients_left = 0;
    talk.line("MAIL FROM:<a@example.com>");
    EXPECT_EQ(codes(talk, 20'000), (Codes{{"451 4.7.1", 10'020}, {"421 4.7.0", 1}}));
    surroundings_.recipients_left = 1'000'000;
  }
  // A client that sends a long list in one go and then takes what was left of it in its next transaction.
  Talk talk = authenticated();
  for (int i = 0; i < 10; ++i) {
    talk.line("MAIL FROM:<a@example.com>");
    EXPECT_EQ(codes(talk, 5'000), (Codes{{"250 2.1.5", 100}, {"452 4.5.3", 4'900}}));
    EXPECT_EQ(talk.line("DATA").substr(0, 3), "354");
    EXPECT_EQ(talk.send(kMessage + ".\r\n").substr(0, 9), "250 2.0.0");
  }
}

TEST_F(ConversationTest, RefusesMailTheSpoolCannotTake) {
  Talk talk = authenticated();
  surroundings_.refusal = queue::Refusal::DiskReserve;
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "452 4.3.1");
  surroundings_.refusal = queue::Refusal::MemoryLimit;
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "452 4.3.1");
  surroundings_.refusal = queue::Refusal::WriteFailed;
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "451 4.3.0");
  surroundings_.refusal = queue::Refusal::None;
  for (const auto& [error, code] : {std::pair{Error(queue::Errc::WriteFailed), "451 4.3.0"},
                                    std::pair{Error(queue::Errc::DiskReserve), "452 4.3.1"}}) {
    talk.store_error = error;
    talk.line("MAIL FROM:<a@example.com>");
    talk.line("RCPT TO:<b@other.example>");
    talk.line("DATA");
    EXPECT_EQ(talk.send(kMessage + ".\r\n").substr(0, 9), code);
  }
  EXPECT_EQ(surroundings_.recipients_left, 1'000'000u);
}

TEST_F(ConversationTest, ForgivesWhatWasPipelinedBehindARefusedMail) {
  Talk talk = authenticated();
  surroundings_.refusal = queue::Refusal::DiskReserve;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(talk.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@other.example>\r\nDATA\r\n"),
              "452 4.3.1 no room on disk for new mail now|503 5.5.1 MAIL was refused|503 5.5.1 MAIL was refused|");
  }
}

TEST_F(ConversationTest, RefusesContentAfterItsEnd) {
  surroundings_.change_options([](Options& o) {
    o.limits.message_bytes = 10'000;
    o.limits.header_bytes = 1'000;
  });
  std::string received;
  for (int i = 0; i < 51; ++i) received += "Received: x\r\n";
  std::string big;
  for (int i = 0; i < 10'000; ++i) big += "x\r\n";
  struct Case {
    std::string_view name;
    std::string content;
    std::string_view code;
  };
  Talk talk = authenticated();
  for (const Case& c :
       {Case{"bare LF", kMessage + "a\nb\r\n", "550 5.6.0"}, Case{"bare CR", kMessage + "a\rb\r\n", "550 5.6.0"},
        Case{"NUL", kMessage + std::string("a\0b\r\n", 5), "550 5.6.0"},
        Case{"long line", kMessage + std::string(999, 'x') + "\r\n", "550 5.6.0"},
        Case{"too large", kMessage + big, "552 5.3.4"},
        Case{"too large and malformed", kMessage + "a\nb\r\n" + big, "552 5.3.4"},
        Case{"header too large", "From: a@example.com\r\n" + big + "\r\n", "552 5.3.4"},
        Case{"header without end too large", "From: a@example.com\r\n" + big.substr(0, 3000), "552 5.3.4"},
        Case{"loop", received + kMessage, "554 5.4.6"}, Case{"no From", "Subject: x\r\n\r\n", "550 5.7.1"},
        Case{"nothing", "", "550 5.7.1"}, Case{"foreign pool", "X-Danki-Pool: x\r\n" + kMessage, "550 5.7.1"},
        Case{"gate", "From: a@unsigned.example.com\r\n\r\n", "550 5.7.1"}}) {
    SCOPED_TRACE(c.name);
    for (const bool in_chunks : {false, true}) {
      ASSERT_EQ(talk.code("MAIL FROM:<a@example.com>"), "250 2.1.0");
      ASSERT_EQ(talk.code("RCPT TO:<b@other.example>"), "250 2.1.5");
      if (in_chunks) {
        EXPECT_EQ(talk.send("BDAT " + std::to_string(c.content.size()) + " LAST\r\n" + c.content).substr(0, 9), c.code);
      } else {
        EXPECT_EQ(talk.line("DATA").substr(0, 3), "354");
        EXPECT_EQ(talk.send(c.content + ".\r\n").substr(0, 9), c.code);
      }
      EXPECT_EQ(talk.code("NOOP"), "250 2.0.0");
      EXPECT_EQ(surroundings_.budget.used(), 0u);
    }
  }
  EXPECT_TRUE(talk.messages.empty());
}

TEST_F(ConversationTest, EncodesLongLinesWhereTheListenerSaysSo) {
  ListenerOptions listener = plain_listener();
  listener.long_lines = LongLines::Encode;
  Talk talk = authenticated(listener);
  const auto submit = [&](const std::string& content, bool in_chunks = false) {
    talk.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@other.example>\r\n");
    if (in_chunks) return talk.send("BDAT " + std::to_string(content.size()) + " LAST\r\n" + content).substr(0, 9);
    talk.line("DATA");
    return talk.send(content + ".\r\n").substr(0, 9);
  };
  const std::string line(999, 'x');
  for (const bool in_chunks : {false, true}) {
    EXPECT_EQ(submit("X-Danki-Campaign: spring\r\n" + kMessage + line + "\xFF\r\n", in_chunks), "250 2.0.0");
    const queue::NewMessage& message = talk.messages.back();
    EXPECT_THAT(message.content, HasSubstr("\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"));
    EXPECT_THAT(message.content, EndsWith("xxx=FF\r\n"));
    EXPECT_THAT(message.content, Not(HasSubstr("X-Danki")));
    EXPECT_EQ(message.envelope.size, message.content.size());
    EXPECT_EQ(message.envelope.body, mail::BodyType::SevenBit);
    EXPECT_EQ(message.envelope.campaign, "spring");
    EXPECT_EQ(surroundings_.budget.used(), 0u);
  }
  EXPECT_EQ(submit("X-Danki-Expire-After:" + std::string(1000, ' ') + "5m\r\n" + kMessage), "250 2.0.0");
  EXPECT_THAT(talk.messages.back().content, EndsWith("\r\n" + kMessage));  // its long line has gone with the field
  EXPECT_EQ(submit("Subject: " + line + "\r\n" + kMessage), "550 5.6.0");
  EXPECT_EQ(submit(kMessage + line + "\n\r\n"), "550 5.6.0");
  EXPECT_EQ(submit("X-Danki-Pool: x\r\n" + kMessage + line + "\r\n"), "550 5.7.1");
  EXPECT_EQ(submit("Content-Type: multipart/signed; boundary=b\r\n" + kMessage + line + "\r\n"), "550 5.6.0");
  EXPECT_EQ(submit(kMessage + "\r\n"), "250 2.0.0");
  EXPECT_THAT(talk.messages.back().content, Not(HasSubstr("Transfer")));
  EXPECT_EQ(surroundings_.budget.used(), 0u);

  std::string large;
  while (large.size() < (3u << 20)) large += line + "\r\n";  // as it is it fits the 4 MiB there are
  EXPECT_EQ(submit(kMessage + large), "452 4.3.1");
  EXPECT_EQ(surroundings_.budget.used(), 0u);
}

TEST_F(ConversationTest, RefusesWhenMemoryIsUsedUp) {
  MemoryShare others(surroundings_.budget);
  ASSERT_TRUE(others.grow_to((1 << 22) - 100));
  Talk talk = in_transaction();
  talk.line("DATA");
  EXPECT_EQ(talk.send(kMessage + ".\r\n").substr(0, 9), "452 4.3.1");
}

TEST_F(ConversationTest, AddsWhatIsMissing) {
  Talk talk = in_transaction();
  talk.line("DATA");
  talk.send("From: a@example.com\r\n\r\nbody\r\n.\r\n");
  EXPECT_THAT(talk.messages.front().content,
              EndsWith("+0000\r\nDate: Mon, 23 Nov 2026 05:49:39 +0000\r\nMessage-ID: <s1.1@relay.example.com>\r\n"
                       "From: a@example.com\r\n\r\nbody\r\n"));
  EXPECT_EQ(talk.messages.front().envelope.size, talk.messages.front().content.size());
}

TEST_F(ConversationTest, TakesChunks) {  // RFC 3030
  Talk talk = in_transaction();
  const std::string first = kMessage.substr(0, 30), second = kMessage.substr(30);
  EXPECT_EQ(talk.send("BDAT 30\r\n" + first + "BDAT 0\r\nBDAT " + std::to_string(second.size()) + " LAST\r\n" + second +
                      "NOOP\r\n"),
            "250 2.0.0 chunk ok|250 2.0.0 chunk ok|250 2.0.0 queued as id1|250 2.0.0 ok|");
  EXPECT_THAT(talk.messages.front().content, EndsWith("+0000\r\n" + kMessage));
  EXPECT_EQ(talk.send("BDAT 4\r\nNOOPBDAT 4 LAST\r\nQUIT"), "503 5.5.1 MAIL first|503 5.5.1 MAIL first|");
  EXPECT_FALSE(talk.closed);
}

TEST_F(ConversationTest, ResetsBetweenChunks) {
  Talk talk = in_transaction();
  talk.send("BDAT 7\r\nFrom: x");
  EXPECT_EQ(talk.code("RSET"), "250 2.0.0");
  EXPECT_EQ(talk.send("BDAT 2 LAST\r\nab").substr(0, 9), "503 5.5.1");
  EXPECT_EQ(surroundings_.budget.used(), 0u);
}

TEST_F(ConversationTest, StopsAnOversizedMessageAtItsChunk) {
  surroundings_.change_options([](Options& o) { o.limits.message_bytes = 100; });
  Talk talk = in_transaction();
  const std::string chunk(60, 'x');
  EXPECT_EQ(talk.send("BDAT 60\r\n" + chunk).substr(0, 9), "250 2.0.0");
  EXPECT_EQ(talk.send("BDAT 60\r\n" + chunk + "BDAT 60 LAST\r\n" + chunk),
            "552 5.3.4 over 100 octets|503 5.5.1 MAIL first|");
  EXPECT_EQ(talk.code("MAIL FROM:<a@example.com>"), "250 2.1.0");
  EXPECT_THAT(talk.line("BDAT 18446744073709551615"), HasSubstr("421 4.7.0"));
  EXPECT_TRUE(talk.closed);
}

TEST_F(ConversationTest, SkipsLongLinesInBoundedMemory) {
  Talk talk(surroundings_, plain_listener());
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(talk.send(std::string(1000, 'x')), "");
    ASSERT_LT(talk.unconsumed(), Conversation::kMaxLineBytes);
  }
  EXPECT_EQ(talk.send("\r\n").substr(0, 9), "500 5.5.2");
  EXPECT_EQ(talk.code("NOOP"), "250 2.0.0");
  EXPECT_EQ(talk.send("NOOP\n").substr(0, 9), "500 5.5.2");
  EXPECT_EQ(talk.send("NO").size() + talk.send("OP").size() + talk.send("\r").size(), 0u);
  EXPECT_EQ(talk.send("\n").substr(0, 9), "250 2.0.0");
  EXPECT_EQ(talk.code(std::string("NOOP \0", 6)), "500 5.5.2");
}

TEST_F(ConversationTest, HangsUpAfterTooManyErrors) {
  Talk talk(surroundings_, plain_listener());
  for (int i = 0; i < 20; ++i) ASSERT_EQ(talk.code("FROB"), "500 5.5.2");
  EXPECT_EQ(talk.code("FROB"), "421 4.7.0");
  EXPECT_TRUE(talk.closed);
}

TEST_F(ConversationTest, DoesNotHangUpOnMistypedRecipients) {
  Talk talk = in_transaction();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(talk.code("RCPT TO:<a..b@other.example>"), "501 5.1.3");
  for (int i = 0; i < 100; ++i) ASSERT_EQ(talk.code("RCPT TO:<suppressed@other.example>"), "550 5.1.1");
  EXPECT_FALSE(talk.closed);
}

TEST_F(ConversationTest, SendsRepliesBeforeTheyPileUp) {
  Talk talk(surroundings_, plain_listener());
  std::string flood;
  for (int i = 0; i < 10'000; ++i) flood += "EHLO x\r\n";
  std::size_t most = 0, used = 0;
  while (used < flood.size()) {
    used += talk.conversation().advance(std::string_view(flood).substr(used)).consumed;
    most = std::max(most, talk.conversation().replies().size());
    talk.conversation().replies().clear();
  }
  EXPECT_LT(most, 20'000u);
}

TEST_F(ConversationTest, EndsWithTheReasonItIsGiven) {
  Talk idle = in_transaction();
  idle.conversation().on_idle();
  EXPECT_EQ(idle.send(""), "421 4.4.2 relay.example.com too slow|");
  Talk stopping = in_transaction();
  stopping.conversation().on_stopping();
  stopping.conversation().on_stopping();
  EXPECT_EQ(stopping.send(""), "421 4.3.2 relay.example.com shutting down|");
  Talk past_the_end = in_transaction();
  past_the_end.line("DATA");
  past_the_end.conversation().stop_after_storage();
  EXPECT_EQ(past_the_end.send(kMessage + ".\r\nNOOP\r\n"),
            "250 2.0.0 queued as id1|421 4.3.2 relay.example.com shutting down|");
}

TEST_F(ConversationTest, WritesNoClientsNameIntoTheTraceThatCouldForgeIt) {
  Talk talk(surroundings_, plain_listener());
  talk.line("EHLO evil(comment");
  talk.line(kPlain);
  talk.line("MAIL FROM:<a@example.com>");
  talk.line("RCPT TO:<b@other.example>");
  talk.line("DATA");
  talk.send(kMessage + ".\r\n");
  EXPECT_THAT(talk.messages.front().content, StartsWith("Received: from unknown ([192.0.2.1])"));
}

TEST_F(ConversationTest, SurvivesGarbageAfterEveryCommand) {
  const std::vector<std::string> script{"EHLO client.example", std::string(kPlain), "MAIL FROM:<a@example.com>",
                                        "RCPT TO:<b@other.example>", "DATA"};
  const std::string garbage("\x80\xFF\0\r\r\x01 garbage ( < > \"\r\n", 24);
  for (std::size_t at = 0; at < script.size(); ++at) {
    Talk talk(surroundings_, plain_listener());
    std::string said;
    for (std::size_t i = 0; i < script.size(); ++i) {
      if (i == at) said += talk.send(garbage);
      said += talk.line(script[i]);
    }
    EXPECT_THAT(said, HasSubstr("500 5.5.2"));
    EXPECT_EQ(talk.send(kMessage + ".\r\n"), "250 2.0.0 queued as id1|");
  }
}

TEST_F(ConversationTest, DoesNotDependOnHowTheClientSplitsItsOctets) {
  const std::string all = "EHLO client.example\r\n" + std::string(kPlain) +
                          "\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@other.example>\r\nDATA\r\n" + kMessage +
                          "..\r\n.\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@other.example>\r\nBDAT " +
                          std::to_string(kMessage.size()) + " LAST\r\n" + kMessage + "QUIT\r\n";
  const auto run = [&](std::size_t piece) {
    Talk talk(surroundings_, plain_listener());
    std::string said;
    for (std::size_t at = 0; at < all.size(); at += piece) said += talk.send(all.substr(at, piece));
    for (const auto& message : talk.messages) said += message.content;
    EXPECT_TRUE(talk.closed);
    return said;
  };
  const std::string whole = run(all.size());
  for (std::size_t piece = 1; piece < 200; ++piece) ASSERT_EQ(run(piece), whole) << piece;
}

}  // namespace
}  // namespace danki::submission
