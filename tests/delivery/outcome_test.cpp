#include "mta/delivery/outcome.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using Kind = RecipientResult::Kind;
using State = queue::RecipientProgress::State;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr TimePoint kNow{std::chrono::milliseconds(1'795'412'979'120)};
const std::vector<std::chrono::seconds> kTransactional{30s, 60s, 120s};
const std::vector<std::chrono::seconds> kBulk{300s, 600s};
const mail::Reply kOk{250, mail::EnhancedStatus{2, 0, 0}, "ok"};
const mail::Reply kLater{451, mail::EnhancedStatus{4, 7, 1}, "later"};
const mail::Reply kNoUser{550, mail::EnhancedStatus{5, 1, 1}, "no such user"};

struct OutcomeTest : ::testing::Test {
  explicit OutcomeTest(std::size_t recipients = 3) {
    envelope.reverse_path = {.local = "bounces", .domain = "example.com"};
    for (std::size_t i = 0; i < recipients; ++i) {
      envelope.recipients.push_back(
          {.address = {.local = "user" + std::to_string(i), .domain = "a.example"}, .orcpt = {}, .notify = 0});
    }
    envelope.tenant = "signup";
    envelope.pool = "main";
    envelope.arrived_at = kNow - 1min;
    envelope.expires_at = kNow + 24h;
    context.site = "mx.a.example";
    context.source = "out01";
    context.mx = "mx1.a.example";
  }
  queue::MessagePtr message() {
    if (!made) made = std::make_shared<queue::Message>(queue::MessageId{77}, envelope);
    return made;
  }
  queue::DueEntry entry() {
    queue::DueEntry all{
        .lane = {"a.example", envelope.klass, "signup"}, .due = kNow - 10s, .id = {77}, .recipients = {}};
    for (std::uint32_t i = 0; i < envelope.recipients.size(); ++i) all.recipients.push_back(i);
    return all;
  }
  static RecipientResult result(std::uint32_t index, Kind kind, std::optional<mail::Reply> reply,
                                Stage stage = Stage::Rcpt) {
    return {.recipient = index, .kind = kind, .stage = stage, .reply = reply, .error = reply ? "" : "connection lost"};
  }
  JudgedAttempt judged(const std::vector<RecipientResult>& results) {
    return judge(message(), entry(), results, context, kNow, {&kTransactional, &kBulk}, random);
  }

  mail::Envelope envelope;
  AttemptContext context;
  SeededRandom random{3};
  queue::MessagePtr made;
};

TEST_F(OutcomeTest, EachRecipientEndsByItsOwnReply) {
  JudgedAttempt attempt = judged({result(0, Kind::Delivered, kOk, Stage::FinalDot), result(1, Kind::Transient, kLater),
                                  result(2, Kind::Permanent, kNoUser)});
  EXPECT_EQ(attempt.delivered, 1u);
  EXPECT_EQ(attempt.deferred, 1u);
  EXPECT_EQ(attempt.bounced, 1u);
  ASSERT_THAT(attempt.outcome.changes, SizeIs(3));
  EXPECT_EQ(attempt.outcome.changes[0].progress.state, State::Delivered);
  EXPECT_EQ(attempt.outcome.changes[1].progress.state, State::Pending);
  EXPECT_EQ(attempt.outcome.changes[1].progress.attempts, 1u);
  EXPECT_EQ(attempt.outcome.changes[1].progress.last_source, "out01");
  EXPECT_EQ(attempt.outcome.changes[1].progress.last_mx, "mx1.a.example");
  EXPECT_EQ(attempt.outcome.changes[2].progress.state, State::Bounced);
  ASSERT_THAT(attempt.outcome.remaining, SizeIs(1));
  EXPECT_THAT(attempt.outcome.remaining[0].recipients, ElementsAre(1u));
  EXPECT_GE(attempt.outcome.remaining[0].due, kNow + 27s);
  EXPECT_LE(attempt.outcome.remaining[0].due, kNow + 33s);
  ASSERT_THAT(attempt.events, SizeIs(3));
  EXPECT_EQ(attempt.events[0].type, events::Type::Delivered);
  EXPECT_EQ(attempt.events[1].type, events::Type::Deferred);
  EXPECT_EQ(attempt.events[2].type, events::Type::Bounced);
  EXPECT_EQ(attempt.events[2].to, "user2@a.example");
  EXPECT_EQ(attempt.events[2].reply, kNoUser);
  ASSERT_THAT(attempt.dsn, SizeIs(1));
  EXPECT_EQ(attempt.dsn[0].recipient.address.local, "user2");
  EXPECT_EQ(attempt.dsn[0].status, (mail::EnhancedStatus{5, 1, 1}));
}

TEST_F(OutcomeTest, WhatWasNotTriedKeepsItsTimeAndItsAttempts) {
  JudgedAttempt attempt = judged(
      {result(0, Kind::Delivered, kOk), result(1, Kind::Untouched, std::nullopt), result(2, Kind::Transient, kLater)});
  EXPECT_TRUE(attempt.untouched);
  EXPECT_THAT(attempt.outcome.changes, SizeIs(2));
  EXPECT_THAT(attempt.events, SizeIs(2));
  ASSERT_THAT(attempt.outcome.remaining, SizeIs(2));
  EXPECT_THAT(attempt.outcome.remaining[0].recipients, ElementsAre(2u));
  EXPECT_THAT(attempt.outcome.remaining[1].recipients, ElementsAre(1u));
  EXPECT_EQ(attempt.outcome.remaining[1].due, entry().due);
}

TEST_F(OutcomeTest, NothingIsRecordedIfNobodyWasTried) {
  JudgedAttempt attempt = judged({result(0, Kind::Untouched, std::nullopt), result(1, Kind::Untouched, std::nullopt),
                                  result(2, Kind::Untouched, std::nullopt)});
  EXPECT_TRUE(attempt.untouched);
  EXPECT_THAT(attempt.outcome.changes, IsEmpty());
  EXPECT_THAT(attempt.outcome.remaining, IsEmpty());
  EXPECT_THAT(attempt.events, IsEmpty());
}

TEST_F(OutcomeTest, AStatedTimeOverridesAShorterStep) {
  const mail::Reply stated{451, mail::EnhancedStatus{4, 7, 1}, "Greylisted, try again in 600 seconds"};
  JudgedAttempt attempt = judged(
      {result(0, Kind::Transient, stated), result(1, Kind::Transient, stated), result(2, Kind::Transient, stated)});
  ASSERT_THAT(attempt.outcome.remaining, SizeIs(1));
  EXPECT_GE(attempt.outcome.remaining[0].due, kNow + 600s);
  EXPECT_LE(attempt.outcome.remaining[0].due, kNow + 660s);
}

TEST_F(OutcomeTest, WhoWasGivenATimeIsNotBroughtBackByOthers) {
  const mail::Reply stated{451, mail::EnhancedStatus{4, 7, 1}, "Greylisted, try again in 600 seconds"};
  JudgedAttempt attempt = judged(
      {result(0, Kind::Transient, stated), result(1, Kind::Transient, kLater), result(2, Kind::Transient, stated)});
  ASSERT_THAT(attempt.outcome.remaining, SizeIs(2));
  EXPECT_THAT(attempt.outcome.remaining[0].recipients, ElementsAre(1u));
  EXPECT_LE(attempt.outcome.remaining[0].due, kNow + 33s);
  EXPECT_THAT(attempt.outcome.remaining[1].recipients, ElementsAre(0u, 2u));
  EXPECT_GE(attempt.outcome.remaining[1].due, kNow + 600s);
}

TEST_F(OutcomeTest, StepsGoOnWithTheAttemptsOfTheClass) {
  for (auto& progress : message()->progress) progress.attempts = 1;
  JudgedAttempt attempt = judged(
      {result(0, Kind::Transient, kLater), result(1, Kind::Transient, kLater), result(2, Kind::Transient, kLater)});
  EXPECT_GE(attempt.outcome.remaining[0].due, kNow + 54s);
  EXPECT_LE(attempt.outcome.remaining[0].due, kNow + 66s);
  made.reset();
  envelope.klass = mail::MailClass::Bulk;
  attempt = judged(
      {result(0, Kind::Transient, kLater), result(1, Kind::Transient, kLater), result(2, Kind::Transient, kLater)});
  EXPECT_GE(attempt.outcome.remaining[0].due, kNow + 270s);
}

TEST_F(OutcomeTest, A552ToRcptWaitsAsA452Would) {  // RFC 5321 section 4.5.3.1.10
  const mail::Reply full{552, mail::EnhancedStatus{5, 2, 2}, "too many recipients"};
  JudgedAttempt attempt =
      judged({result(0, Kind::Delivered, kOk), result(1, Kind::Delivered, kOk), result(2, Kind::Transient, full)});
  EXPECT_EQ(attempt.deferred, 1u);
  EXPECT_THAT(attempt.dsn, IsEmpty());
  EXPECT_EQ(attempt.outcome.changes[2].progress.state, State::Pending);
  EXPECT_EQ(attempt.outcome.changes[2].progress.last_reply, full);
}

TEST_F(OutcomeTest, TheNextAttemptIsNeverPlannedBeyondExpiry) {
  envelope.expires_at = kNow + 10s;
  JudgedAttempt attempt = judged(
      {result(0, Kind::Transient, kLater), result(1, Kind::Transient, kLater), result(2, Kind::Transient, kLater)});
  EXPECT_EQ(attempt.outcome.remaining[0].due, kNow + 10s);
}

TEST_F(OutcomeTest, ALastRefusalAfterExpiryEndsIt) {
  envelope.expires_at = kNow;
  JudgedAttempt attempt = judged(
      {result(0, Kind::Delivered, kOk), result(1, Kind::Transient, kLater), result(2, Kind::Untouched, std::nullopt)});
  EXPECT_EQ(attempt.delivered, 1u);
  EXPECT_EQ(attempt.expired, 1u);
  EXPECT_EQ(attempt.outcome.changes[1].progress.state, State::Expired);
  EXPECT_EQ(attempt.outcome.changes[1].progress.attempts, 1u);
  ASSERT_THAT(attempt.dsn, SizeIs(1));
  EXPECT_EQ(attempt.dsn[0].status, (mail::EnhancedStatus{5, 4, 7}));
  EXPECT_EQ(attempt.dsn[0].reply, kLater);
}

TEST_F(OutcomeTest, ReportsAreForWhoAskedAndHasAnAddress) {
  struct Case {
    std::string_view name;
    std::uint8_t notify;
    bool null_sender, host_has_dsn;
    Kind kind;
    std::size_t want;
  };
  for (const Case& c : {Case{"failure by default", mail::kNotifyUnset, false, false, Kind::Permanent, 1},
                        Case{"failure asked for", mail::kNotifyFailure, false, false, Kind::Permanent, 1},
                        Case{"never", mail::kNotifyNever, false, false, Kind::Permanent, 0},
                        Case{"success only", mail::kNotifySuccess, false, false, Kind::Permanent, 0},
                        Case{"null sender", mail::kNotifyFailure, true, false, Kind::Permanent, 0},
                        Case{"no success by default", mail::kNotifyUnset, false, false, Kind::Delivered, 0},
                        Case{"success asked for", mail::kNotifySuccess, false, false, Kind::Delivered, 1},
                        Case{"the next host reports", mail::kNotifySuccess, false, true, Kind::Delivered, 0},
                        Case{"success to the null sender", mail::kNotifySuccess, true, false, Kind::Delivered, 0}}) {
    SCOPED_TRACE(c.name);
    made.reset();
    envelope.recipients.resize(1);
    envelope.recipients[0].notify = c.notify;
    envelope.reverse_path = c.null_sender ? mail::Address{} : mail::Address{.local = "b", .domain = "example.com"};
    context.host_has_dsn = c.host_has_dsn;
    JudgedAttempt attempt = judged({result(0, c.kind, c.kind == Kind::Delivered ? kOk : kNoUser)});
    EXPECT_THAT(attempt.dsn, SizeIs(c.want));
    if (c.want && c.kind == Kind::Delivered) {
      EXPECT_EQ(attempt.dsn[0].action, mail::DsnRecipient::Action::Relayed);
    }
  }
}

TEST_F(OutcomeTest, AReportOfFailureNeverCarriesATransientStatus) {
  const mail::Reply odd{554, std::nullopt, "4.3.2 closed"};
  envelope.recipients.resize(1);
  JudgedAttempt attempt = judged({result(0, Kind::Permanent, odd)});
  ASSERT_THAT(attempt.dsn, SizeIs(1));
  EXPECT_EQ(attempt.dsn[0].status.klass, 5);
}

TEST_F(OutcomeTest, ExpiryTellsTheLastReply) {
  message()->progress[0].last_reply = kLater;
  message()->progress[0].attempts = 4;
  message()->progress[0].last_source = "out02";
  JudgedAttempt attempt = expire(message(), entry(), {}, kNow + 25h);
  EXPECT_EQ(attempt.expired, 3u);
  EXPECT_THAT(attempt.outcome.remaining, IsEmpty());
  ASSERT_THAT(attempt.events, SizeIs(3));
  EXPECT_EQ(attempt.events[0].type, events::Type::Expired);
  EXPECT_EQ(attempt.events[0].reply, kLater);
  EXPECT_EQ(attempt.events[0].source, "out02");
  EXPECT_EQ(attempt.events[0].attempt, 4);
  EXPECT_THAT(attempt.dsn, SizeIs(3));
  EXPECT_EQ(attempt.outcome.changes[1].progress.reason, "expired before an attempt was possible");
}

TEST_F(OutcomeTest, ExpiryTellsWhatWasInTheWaySinceTheLastAttempt) {
  message()->progress[0].last_reply = kLater;
  message()->progress[0].last_attempt_at = kNow + 1h;
  message()->progress[1].last_reply = kLater;
  message()->progress[1].last_attempt_at = kNow + 20h;
  const mail::Reply blocked{554, mail::EnhancedStatus{5, 7, 1}, "blocked"};
  Hindrance hindrance{.site = "mx.a.example",
                      .source = "out03",
                      .source_ip = "203.0.113.3",
                      .mx = "mx2.a.example",
                      .mx_ip = "192.0.2.2",
                      .reply = blocked,
                      .reason = "banner: 554 5.7.1 blocked",
                      .at = kNow + 10h};
  JudgedAttempt attempt = expire(message(), entry(), hindrance, kNow + 25h);
  ASSERT_THAT(attempt.events, SizeIs(3));
  EXPECT_EQ(attempt.events[0].reply, blocked);
  EXPECT_EQ(attempt.events[0].mx_ip, "192.0.2.2");
  EXPECT_EQ(attempt.events[0].source, "out03");
  EXPECT_EQ(attempt.events[1].reply, kLater) << "it was tried after that";
  EXPECT_EQ(attempt.events[1].site, "mx.a.example");
  EXPECT_EQ(attempt.events[2].reply, blocked);
  ASSERT_THAT(attempt.dsn, SizeIs(3));
  EXPECT_EQ(attempt.dsn[0].remote_mta, "mx2.a.example");
  EXPECT_EQ(attempt.dsn[0].reason, "banner: 554 5.7.1 blocked");

  hindrance = {.site = "a.example", .reason = "DNS: SERVFAIL", .at = kNow + 25h};
  attempt = expire(message(), entry(), hindrance, kNow + 25h);
  EXPECT_EQ(attempt.events[2].reply, std::nullopt);
  EXPECT_EQ(attempt.events[2].reason, "not delivered in time: DNS: SERVFAIL");
  EXPECT_EQ(attempt.dsn[2].reason, "expired: DNS: SERVFAIL");
}

TEST_F(OutcomeTest, ADomainThatDoesNotExistBouncesUnsent) {
  JudgedAttempt attempt =
      refuse_unsent(message(), entry(), Kind::Permanent, {550, mail::EnhancedStatus{5, 1, 2}, "does not exist"},
                    "a.example", kNow, {&kTransactional, &kBulk}, random);
  EXPECT_EQ(attempt.bounced, 3u);
  EXPECT_THAT(attempt.dsn, SizeIs(3));
  EXPECT_EQ(attempt.dsn[0].status, (mail::EnhancedStatus{5, 1, 2}));
  EXPECT_THAT(attempt.outcome.remaining, IsEmpty());
}

}  // namespace
}  // namespace danki::delivery
