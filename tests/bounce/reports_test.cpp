#include "mta/bounce/reports.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::bounce {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr TimePoint kNow{std::chrono::milliseconds(1'795'412'979'120)};

std::shared_ptr<queue::Message> message_from(mail::Address reverse_path) {
  mail::Envelope envelope;
  envelope.reverse_path = std::move(reverse_path);
  envelope.recipients.push_back({.address = {.local = "bob", .domain = "example.net"}, .orcpt = {}, .notify = 0});
  envelope.tenant = "letters";
  envelope.klass = mail::MailClass::Bulk;
  envelope.pool = "launch";
  envelope.from_domain = "example.com";
  envelope.session = "s42";
  envelope.arrived_at = kNow - 1h;
  return std::make_shared<queue::Message>(queue::MessageId{0x123456789abcdef}, std::move(envelope));
}

std::vector<mail::DsnRecipient> failed(const queue::Message& message) {
  mail::DsnRecipient recipient;
  recipient.recipient = message.envelope.recipients.front();
  recipient.action = mail::DsnRecipient::Action::Failed;
  recipient.status = {5, 1, 1};
  recipient.remote_mta = "mx1.example.net";
  recipient.reply = mail::Reply{550, mail::EnhancedStatus{5, 1, 1}, "no such user"};
  recipient.last_attempt_at = kNow;
  return {recipient};
}

const ReportOptions kOptions{.hostname = "relay1.example.com", .expiry = 72h};
constexpr std::string_view kContent = "From: news@example.com\r\nSubject: Hello\r\n\r\nsecret body\r\n";

TEST(ComposeReport, TellsTheReversePathFromTheNullSender) {  // RFC 5321 section 6.1, RFC 3464
  auto message = message_from({.local = "bounces", .domain = "example.com"});
  auto report = compose_report(*message, kContent, failed(*message), kOptions, kNow);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->envelope.reverse_path.is_null());
  ASSERT_EQ(report->envelope.recipients.size(), 1u);
  EXPECT_EQ(report->envelope.recipients[0].address.to_string(), "bounces@example.com");
  // RFC 3461 section 5.2.8 wants no report about a report.
  EXPECT_EQ(report->envelope.recipients[0].notify, mail::kNotifyNever);
  for (std::string_view part :
       {"From: Mail Delivery System <MAILER-DAEMON@relay1.example.com>\r\n", "To: <bounces@example.com>\r\n",
        "Content-Type: multipart/report; report-type=delivery-status;", "Auto-Submitted: auto-replied\r\n",
        "Content-Type: message/delivery-status\r\n", "Reporting-MTA: dns; relay1.example.com\r\n",
        "Final-Recipient: rfc822; bob@example.net\r\n", "Action: failed\r\n", "Status: 5.1.1\r\n",
        "Remote-MTA: dns; mx1.example.net\r\n", "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Content-Type: text/rfc822-headers\r\n", "Subject: Hello\r\n"}) {
    EXPECT_THAT(report->content, HasSubstr(part));
  }
  EXPECT_THAT(report->content, Not(HasSubstr("secret body")));
}

TEST(ComposeReport, TravelsAsTheMessageDid) {
  auto message = message_from({.local = "bounces", .domain = "example.com"});
  auto report = compose_report(*message, kContent, failed(*message), kOptions, kNow);
  ASSERT_TRUE(report);
  const mail::Envelope& envelope = report->envelope;
  EXPECT_EQ(envelope.tenant, "letters");
  EXPECT_EQ(envelope.klass, mail::MailClass::Bulk);
  EXPECT_EQ(envelope.pool, "launch");
  EXPECT_EQ(envelope.session, "s42");
  EXPECT_EQ(envelope.from_domain, "relay1.example.com");
  EXPECT_EQ(envelope.size, report->content.size());
  EXPECT_EQ(envelope.arrived_at, kNow);
  EXPECT_EQ(envelope.expires_at, kNow + 72h);
  EXPECT_FALSE(envelope.smtputf8);
  EXPECT_EQ(envelope.body, mail::BodyType::SevenBit);
}

TEST(ComposeReport, NeverAnswersAReport) {
  auto message = message_from({});
  EXPECT_FALSE(compose_report(*message, kContent, failed(*message), kOptions, kNow));
}

TEST(ComposeReport, HasNothingToSayOfNobody) {
  auto message = message_from({.local = "bounces", .domain = "example.com"});
  EXPECT_FALSE(compose_report(*message, kContent, {}, kOptions, kNow));
}

TEST(ComposeReport, GoesWithoutTheOriginalIfThatCannotBeRead) {
  auto message = message_from({.local = "bounces", .domain = "example.com"});
  auto report = compose_report(*message, "", failed(*message), kOptions, kNow);
  ASSERT_TRUE(report);
  EXPECT_THAT(report->content, HasSubstr("Action: failed\r\n"));
}

TEST(ComposeReport, NeedsSmtpUtf8OnlyWhereSomethingIsNotAscii) {  // RFC 6533
  mail::Envelope wide = message_from({.local = "bounces", .domain = "example.com"})->envelope;
  wide.smtputf8 = true;
  wide.recipients[0].address.local = "josé";
  auto message = std::make_shared<queue::Message>(queue::MessageId{7}, wide);
  auto report = compose_report(*message, kContent, failed(*message), kOptions, kNow);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->envelope.smtputf8);
  EXPECT_EQ(report->envelope.body, mail::BodyType::EightBitMime);
  EXPECT_THAT(report->content, HasSubstr("message/global-delivery-status"));

  // The sender could use it and did not need it: neither does the report, so that every host on the way back takes it.
  wide.recipients[0].address.local = "jose";
  message = std::make_shared<queue::Message>(queue::MessageId{8}, wide);
  report = compose_report(*message, kContent, failed(*message), kOptions, kNow);
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->envelope.smtputf8);
  EXPECT_EQ(report->envelope.body, mail::BodyType::SevenBit);
}

}  // namespace
}  // namespace danki::bounce
