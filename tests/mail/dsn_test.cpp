#include "mail/dsn.hpp"

#include "base/utf8.hpp"
#include "mail/header_block.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::mail {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Action = DsnRecipient::Action;

const TimePoint kArrived = from_millis(1'795'412'979'120);  // Mon, 23 Nov 2026 05:49:39 UTC
constexpr std::string_view kOriginal =
    "From: News <news@example.com>\r\nTo: joe@example.net\r\nSubject: =?utf-8?B?5pqW5rCX?=\r\n\r\nHello\r\n";

Reply reply_of(std::string_view bytes) {
  ReplyParser parser;
  EXPECT_EQ(parser.feed(bytes).status, ReplyParser::Status::Complete) << parser.problem();
  return parser.reply();
}

struct Report {
  Envelope envelope;
  DsnRequest request;

  Report() {
    envelope.reverse_path = {"news", "example.com"};
    envelope.arrived_at = kArrived;
    request = {.reporting_mta = "relay1.example.com",
               .id = "0a1b2c",
               .envelope = &envelope,
               .recipients = {},
               .original = kOriginal,
               .now = kArrived,
               .boundary = "b7f3"};
  }
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  DsnRecipient& add(Address address, Action action = Action::Failed) {
    DsnRecipient recipient;
    recipient.recipient.address = std::move(address);
    recipient.action = action;
    request.recipients.push_back(std::move(recipient));
    return request.recipients.back();
  }
  std::string build() const { return build_dsn(request); }
};

/// The parts of a multipart message, each with its header.
std::vector<std::string> parts_of(const std::string& message, const std::string& boundary = "b7f3") {
  std::vector<std::string> parts;
  const std::string delimiter = "\r\n--" + boundary;
  std::size_t begin = message.find(delimiter);
  while (begin != std::string::npos && message.compare(begin + delimiter.size(), 2, "--") != 0) {
    begin += delimiter.size() + 2;
    const std::size_t end = message.find(delimiter, begin);
    parts.push_back(message.substr(begin, end == std::string::npos ? end : end - begin));
    begin = end;
  }
  return parts;
}

std::size_t longest_line(std::string_view message) {
  std::size_t longest = 0;
  while (!message.empty()) {
    const std::size_t end = std::min(message.find("\r\n"), message.size());
    longest = std::max(longest, end);
    message.remove_prefix(std::min(end + 2, message.size()));
  }
  return longest;
}

bool has_bare_line_end(std::string_view message) {
  for (std::size_t i = 0; i < message.size(); ++i) {
    if (message[i] == '\n' && (i == 0 || message[i - 1] != '\r')) return true;
    if (message[i] == '\r' && (i + 1 == message.size() || message[i + 1] != '\n')) return true;
  }
  return false;
}

TEST(Dsn, ReportsAFailureAsRfc3464Says) {
  Report report;
  report.envelope.envid = "QQ314159+20x";
  DsnRecipient& joe = report.add({"joe", "example.net"});
  joe.recipient.orcpt = "rfc822;Joe+2BNews@Example.NET";
  joe.remote_mta = "mx.example.net";
  joe.reply = reply_of("550 5.1.1 No such user\r\n");
  joe.last_attempt_at = kArrived + std::chrono::seconds(3);

  const std::string message = report.build();
  const HeaderBlock header = HeaderBlock::parse(message);
  EXPECT_EQ(unfold(header.first("From")->value), "Mail Delivery System <MAILER-DAEMON@relay1.example.com>");
  EXPECT_EQ(unfold(header.first("To")->value), "<news@example.com>");
  EXPECT_EQ(unfold(header.first("Auto-Submitted")->value), "auto-replied");
  EXPECT_EQ(unfold(header.first("Subject")->value), "Your message could not be delivered");
  EXPECT_EQ(unfold(header.first("Date")->value), "Mon, 23 Nov 2026 05:49:39 +0000");
  EXPECT_EQ(unfold(header.first("Message-ID")->value), "<0a1b2c.b7f3@relay1.example.com>");
  EXPECT_EQ(unfold(header.first("Content-Type")->value),
            "multipart/report; report-type=delivery-status; boundary=\"b7f3\"");
  EXPECT_EQ(header.first("Content-Transfer-Encoding"), nullptr);
  EXPECT_TRUE(message.ends_with("\r\n--b7f3--\r\n"));
  EXPECT_FALSE(has_bare_line_end(message));

  const auto parts = parts_of(message);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_THAT(parts[0],
              AllOf(HasSubstr("Content-Type: text/plain; charset=us-ascii\r\n"), HasSubstr("<joe@example.net>"),
                    HasSubstr("The mail server mx.example.net answered:\r\n    550 5.1.1 No such user\r\n")));
  EXPECT_EQ(parts[1],
            "Content-Description: Delivery status\r\n"
            "Content-Type: message/delivery-status\r\n"
            "\r\n"
            "Original-Envelope-Id: QQ314159 x\r\n"
            "Reporting-MTA: dns; relay1.example.com\r\n"
            "Arrival-Date: Mon, 23 Nov 2026 05:49:39 +0000\r\n"
            "\r\n"
            "Original-Recipient: rfc822; Joe+News@Example.NET\r\n"
            "Final-Recipient: rfc822; joe@example.net\r\n"
            "Action: failed\r\n"
            "Status: 5.1.1\r\n"
            "Remote-MTA: dns; mx.example.net\r\n"
            "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
            "Last-Attempt-Date: Mon, 23 Nov 2026 05:49:42 +0000\r\n"
            "Final-Log-ID: 0a1b2c\r\n");
  EXPECT_EQ(parts[2],
            "Content-Description: Header of your message\r\n"
            "Content-Type: text/rfc822-headers\r\n"
            "\r\n"
            "From: News <news@example.com>\r\nTo: joe@example.net\r\nSubject: =?utf-8?B?5pqW5rCX?=\r\n");
}

TEST(Dsn, ReportsEachRecipientWithItsOwnOutcome) {
  Report report;
  report.envelope.expires_at = kArrived + std::chrono::hours(24);
  report.add({"a", "x.test"}).reason = "expired after 24 h";
  report.add({"b", "x.test"}, Action::Delayed).reply = reply_of("451-4.7.1 slow\r\n451 4.7.1 down\r\n");
  report.add({"c", "x.test"}, Action::Relayed);
  report.add({"d", "x.test"}).status = {4, 4, 7};

  const std::string message = report.build();
  EXPECT_THAT(message, HasSubstr("Subject: Delivery status of your message\r\n"));
  const std::string status = parts_of(message).at(1);
  EXPECT_THAT(status, HasSubstr("Final-Recipient: rfc822; a@x.test\r\nAction: failed\r\nStatus: 5.0.0\r\n"
                                "Diagnostic-Code: X-Danki; expired after 24 h\r\n"));
  EXPECT_THAT(status, HasSubstr("\r\n\r\nFinal-Recipient: rfc822; b@x.test\r\nAction: delayed\r\nStatus: 4.7.1\r\n"
                                "Diagnostic-Code: smtp; 451 4.7.1 slow\r\n down\r\n"));
  EXPECT_THAT(status, HasSubstr("Will-Retry-Until: Tue, 24 Nov 2026 05:49:39 +0000\r\n"));
  EXPECT_THAT(status, HasSubstr("Final-Recipient: rfc822; c@x.test\r\nAction: relayed\r\nStatus: 2.0.0\r\nFinal-Log"));
  EXPECT_THAT(status, HasSubstr("Final-Recipient: rfc822; d@x.test\r\nAction: failed\r\nStatus: 4.4.7\r\n"));
  EXPECT_THAT(status, Not(HasSubstr("Remote-MTA")));
  EXPECT_THAT(status, Not(HasSubstr("Last-Attempt-Date")));
}

TEST(Dsn, NamesWhatHappenedInTheSubject) {
  struct Case {
    Action action;
    std::string_view want;
  };
  for (const Case& c : {Case{Action::Failed, "could not be delivered"}, Case{Action::Delayed, "is delayed"},
                        Case{Action::Delivered, "was delivered"}, Case{Action::Relayed, "was delivered"}}) {
    Report report;
    report.add({"a", "x.test"}, c.action);
    EXPECT_THAT(report.build(), HasSubstr("Subject: Your message " + std::string(c.want) + "\r\n"));
  }
}

TEST(Dsn, ReturnsWhatRetAsksFor) {  // RFC 3461 section 4.3
  struct Case {
    std::string_view name;
    DsnReturn ret;
    Action action;
    std::size_t body_bytes;
    bool whole;
  };
  for (const Case& c : {Case{"unset", DsnReturn::Unset, Action::Failed, 10, false},
                        Case{"headers", DsnReturn::Headers, Action::Failed, 10, false},
                        Case{"full", DsnReturn::Full, Action::Failed, 10, true},
                        Case{"full, but no failure", DsnReturn::Full, Action::Delivered, 10, false},
                        Case{"full, but large", DsnReturn::Full, Action::Failed, 64 * 1024, false}}) {
    SCOPED_TRACE(c.name);
    Report report;
    report.envelope.ret = c.ret;
    std::string original(kOriginal);
    while (original.size() < c.body_bytes) original += "a line of the body\r\n";
    report.request.original = original;
    report.add({"a", "x.test"}, c.action);
    const std::string returned = parts_of(report.build()).at(2);
    EXPECT_THAT(returned,
                HasSubstr(c.whole ? "Content-Type: message/rfc822\r\n" : "Content-Type: text/rfc822-headers\r\n"));
    EXPECT_EQ(returned.ends_with(original), c.whole);
    EXPECT_EQ(returned.find("Hello") != std::string::npos, c.whole);
  }
}

TEST(Dsn, KeepsLinesShortWhateverTheRemoteSaid) {
  Report report;
  report.envelope.ret = DsnReturn::Full;
  DsnRecipient& joe = report.add({"joe", "example.net"});
  joe.remote_mta = "mx.example.net";
  joe.reply = reply_of("550-5.7.1 " + std::string(2'000, 'x') + "\r\n550-5.7.1 " + std::string(900, ' ') +
                       "\r\n550 5.7.1 \xFF\x1b[31m" + std::string(1'500, '\xE6') + "\r\n");
  DsnRecipient& second = report.add({"second", "example.net"});
  second.reason = std::string(3'000, 'y');
  const std::string original = "Subject: a\r\nX-Long: " + std::string(2'000, 'z') + "\r\nFrom: b\r\n\r\nbody\r\n";
  report.request.original = original;

  const std::string message = report.build();
  EXPECT_LE(longest_line(message), 998u);
  EXPECT_FALSE(has_bare_line_end(message));
  EXPECT_TRUE(is_ascii(message));
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_TRUE(parts_of(message).at(2).ends_with("\r\n\r\nSubject: a\r\nFrom: b\r\n"))
      << "a line of no mail is left out";
}

TEST(Dsn, ReturnsOnlyProperLines) {
  Report report;
  report.envelope.ret = DsnReturn::Full;
  const std::string original = "Subject: a\r\nX-Bare: b\nX-Bare: c\rd\r\nTo: e\r\n\r\nbody\n";
  report.request.original = original;
  report.add({"joe", "example.net"});
  const std::string message = report.build();
  EXPECT_FALSE(has_bare_line_end(message));
  EXPECT_TRUE(parts_of(message).at(2).ends_with("text/rfc822-headers\r\n\r\nSubject: a\r\nTo: e\r\n"));
}

TEST(Dsn, NoReplyForgesAFieldOrAPart) {
  Report report;
  DsnRecipient& joe = report.add({"joe", "example.net"});
  joe.reply = reply_of("550-5.1.1 no\r\n550-Status: 2.0.0\r\n550---b7f3--\r\n550 \rAction: delivered\r\n");
  joe.reason = "line\r\nAction: delivered";
  joe.remote_mta = "mx\r\nAction: delivered";
  const auto parts = parts_of(report.build());
  ASSERT_EQ(parts.size(), 3u);
  const std::string status = parts[1].substr(parts[1].find("Final-Recipient"));
  const HeaderBlock fields = HeaderBlock::parse(status);
  EXPECT_EQ(fields.count("Action"), 1u);
  EXPECT_EQ(fields.count("Status"), 1u);
  EXPECT_EQ(fields.size(), status.size());
}

TEST(Dsn, KeepsSpacesInAddresses) {
  Report report;
  report.envelope.reverse_path = {"\"a  b\"", "example.com"};
  report.add(
      {"\"" + std::string(20, 'x') + "   " + std::string(30, 'y') + "\"", "mail.some-long-host-name.example.net"});
  const std::string message = report.build();
  EXPECT_EQ(unfold(HeaderBlock::parse(message).first("To")->value), "<\"a  b\"@example.com>");
  const std::string part = parts_of(message).at(1);
  const std::string status = part.substr(part.find("Final-Recipient"));
  EXPECT_EQ(unfold(HeaderBlock::parse(status).first("Final-Recipient")->value),
            "rfc822; " + report.request.recipients[0].recipient.address.to_string());
}

TEST(Dsn, IsInternationalOnlyWhenItMustBe) {  // RFC 6533
  const std::string utf8_header = "Subject: 暖気\r\nFrom: a@b.test\r\n\r\n本文\r\n";
  {
    Report report;
    report.envelope.smtputf8 = true;
    report.envelope.reverse_path = {"送信", "example.com"};
    report.request.original = utf8_header;
    DsnRecipient& user = report.add({"用户", "xn--r8jz45g.jp"});
    user.recipient.orcpt = "utf-8;用户@例え.jp";
    user.reply = reply_of("550 5.1.1 宛先\r\n");
    EXPECT_TRUE(needs_smtputf8(report.request));
    const std::string message = report.build();
    EXPECT_THAT(message, HasSubstr("To: <送信@example.com>\r\n"));
    EXPECT_THAT(message, HasSubstr("\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b7f3"));
    const auto parts = parts_of(message);
    EXPECT_THAT(parts.at(1), AllOf(HasSubstr("message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"),
                                   HasSubstr("Original-Recipient: utf-8; 用户@例え.jp\r\n"),
                                   HasSubstr("Final-Recipient: utf-8; 用户@xn--r8jz45g.jp\r\n"),
                                   HasSubstr("Diagnostic-Code: smtp; 550 5.1.1 宛先\r\n")));
    EXPECT_THAT(parts.at(2),
                AllOf(HasSubstr("Content-Type: message/global-headers\r\n"), HasSubstr("Subject: 暖気\r\n")));
  }
  {
    Report report;  // the remote speaks Japanese, nothing else does
    report.envelope.smtputf8 = true;
    report.add({"joe", "example.net"}).reply = reply_of("550 5.1.1 宛先\r\n");
    EXPECT_FALSE(needs_smtputf8(report.request));
    const auto parts = parts_of(report.build());
    EXPECT_THAT(parts.at(0), AllOf(HasSubstr("charset=utf-8"), HasSubstr("宛先")));
    EXPECT_THAT(parts.at(1), HasSubstr("Content-Type: message/delivery-status\r\n\r\n"));
    EXPECT_TRUE(is_ascii(parts.at(1)));
  }
  {
    Report report;  // 8-bit header without SMTPUTF8: returned as it came
    report.request.original = utf8_header;
    report.add({"joe", "example.net"});
    EXPECT_FALSE(needs_smtputf8(report.request));
    EXPECT_THAT(parts_of(report.build()).at(2),
                HasSubstr("Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 8bit\r\n"));
  }
}

TEST(Dsn, ChoosesABoundaryThatTheOriginalDoesNotHold) {
  Report report;
  report.envelope.ret = DsnReturn::Full;
  const std::string original = std::string(kOriginal) + "--b7f3\r\n--b7f3a--\r\n";
  report.request.original = original;
  report.add({"joe", "example.net"});
  const std::string message = report.build();
  EXPECT_THAT(message, HasSubstr("boundary=\"b7f3ab\""));
  EXPECT_EQ(parts_of(message, "b7f3ab").size(), 3u);
}

TEST(Dsn, BoundsAHugeHeader) {
  Report report;
  std::string original;
  for (int i = 0; i < 1'500; ++i) original += "X-Filler: " + std::string(100, 'x') + "\r\n";
  report.request.original = original;
  report.add({"joe", "example.net"});
  EXPECT_LT(report.build().size(), 70'000u);
}

}  // namespace
}  // namespace danki::mail
