#include "mta/delivery/mail_transaction.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace danki::delivery {

void PrintTo(RecipientResult::Kind kind, std::ostream* out) {
  *out << std::vector<std::string>{"Delivered", "Transient", "Permanent", "Untouched"}.at(
      static_cast<std::size_t>(kind));
}

namespace {

using Kind = RecipientResult::Kind;
using Step = MailTransaction::Step;
using enum RecipientResult::Kind;

const Error kClosed(std::errc::connection_reset, "closed by peer");
const Error kTimedOut(std::errc::timed_out, "time limit");

mail::Envelope envelope_to(std::size_t recipients) {
  mail::Envelope envelope;
  envelope.reverse_path = {"news", "example.com"};
  for (std::size_t i = 0; i < recipients; ++i) {
    envelope.recipients.push_back({.address = {"r" + std::to_string(i), "example.net"}, .orcpt = {}});
  }
  return envelope;
}

std::vector<std::uint32_t> everybody(const mail::Envelope& envelope) {
  std::vector<std::uint32_t> all(envelope.recipients.size());
  std::iota(all.begin(), all.end(), 0u);
  return all;
}

mail::Reply reply(int code, std::string text = "text") {
  return {.code = code, .enhanced = {}, .text = std::move(text)};
}

const Extensions kPlain{};
const Extensions kPipelining{.pipelining = true};

/// A host that answers with these codes in turn; when they have run out, the connection breaks with `end`.
struct Script {
  std::vector<int> codes;
  Error end = kClosed;
};

struct Conversation {
  std::vector<std::string> flights;  ///< as sent; "<content>" for the content
  std::vector<RecipientResult> results;
  std::vector<Kind> kinds;
  std::size_t used = 0;  ///< codes that were asked for
};

Conversation talk(MailTransaction& transaction, const mail::Envelope& envelope, const Extensions& extensions,
                  const Script& script, ContentTraits content = {.octets = 100}) {
  Conversation talk;
  const auto recipients = everybody(envelope);
  Step step = transaction.start(envelope, recipients, content, extensions);
  while (step != Step::Finish) {
    if (step == Step::Send) talk.flights.push_back(transaction.commands());
    if (step == Step::SendContent) talk.flights.emplace_back("<content>");
    step = talk.used < script.codes.size() ? transaction.on_reply(reply(script.codes[talk.used++]))
                                           : transaction.on_broken(script.end);
  }
  talk.results = transaction.take_results();
  for (const RecipientResult& result : talk.results) talk.kinds.push_back(result.kind);
  return talk;
}

TEST(MailTransaction, SendsMailRcptAndDataInOneFlight) {
  const mail::Envelope envelope = envelope_to(2);
  MailTransaction transaction;
  const Conversation c = talk(transaction, envelope, kPipelining, {{250, 250, 250, 354, 250}});
  EXPECT_EQ(c.flights, (std::vector<std::string>{"MAIL FROM:<news@example.com>\r\n"
                                                 "RCPT TO:<r0@example.net>\r\n"
                                                 "RCPT TO:<r1@example.net>\r\n"
                                                 "DATA\r\n",
                                                 "<content>"}));
  EXPECT_EQ(c.kinds, (std::vector<Kind>{Delivered, Delivered}));
  EXPECT_TRUE(transaction.session_usable());
}

TEST(MailTransaction, WaitsForEachReplyWithoutPipelining) {
  const mail::Envelope envelope = envelope_to(2);
  MailTransaction transaction;
  const Conversation c = talk(transaction, envelope, kPlain, {{250, 250, 250, 354, 250}});
  EXPECT_EQ(c.flights, (std::vector<std::string>{"MAIL FROM:<news@example.com>\r\n", "RCPT TO:<r0@example.net>\r\n",
                                                 "RCPT TO:<r1@example.net>\r\n", "DATA\r\n", "<content>"}));
  EXPECT_EQ(c.kinds, (std::vector<Kind>{Delivered, Delivered}));
}

struct OutcomeCase {
  std::string_view name;
  std::vector<int> codes;  ///< to MAIL, RCPT, RCPT, RCPT, DATA, final dot
  std::vector<Kind> kinds;
  Stage stage;  ///< of the last recipient
  bool usable = true;
};

// DESIGN section 5 "Permanent or not", with PIPELINING: DATA is on its way whatever the RCPTs hear.
TEST(MailTransaction, SettlesEachRecipientByTheRightReplyInOneFlight) {
  for (const OutcomeCase& c : {
           OutcomeCase{"all well", {250, 250, 251, 252, 354, 250}, {Delivered, Delivered, Delivered}, Stage::FinalDot},
           OutcomeCase{"5xx to MAIL defers", {550, 503, 503, 503, 503}, {Transient, Transient, Transient}, Stage::Mail},
           OutcomeCase{"4xx to MAIL", {451, 503, 503, 503, 503}, {Transient, Transient, Transient}, Stage::Mail},
           OutcomeCase{"a refused MAIL is not undone by 250 to RCPT",
                       {451, 250, 250, 250, 503},
                       {Transient, Transient, Transient},
                       Stage::Mail},
           OutcomeCase{"MAIL refused, DATA taken: lone dot",
                       {550, 503, 503, 503, 354, 554},
                       {Transient, Transient, Transient},
                       Stage::Mail},
           OutcomeCase{"one of three bounces",
                       {250, 250, 550, 250, 354, 250},
                       {Delivered, Permanent, Delivered},
                       Stage::FinalDot},
           OutcomeCase{"too many for one transaction",
                       {250, 250, 452, 552, 354, 250},
                       {Delivered, Untouched, Untouched},
                       Stage::Rcpt},
           OutcomeCase{"552 at RCPT means 452",
                       {250, 552, 452, 250, 354, 250},
                       {Transient, Transient, Delivered},
                       Stage::FinalDot},
           OutcomeCase{
               "nobody left, DATA refused", {250, 550, 450, 552, 503}, {Permanent, Transient, Transient}, Stage::Rcpt},
           OutcomeCase{"nobody left, DATA taken: lone dot",
                       {250, 550, 450, 550, 354, 250},
                       {Permanent, Transient, Permanent},
                       Stage::Rcpt},
           OutcomeCase{"5xx to DATA bounces who was left",
                       {250, 250, 450, 250, 554},
                       {Permanent, Transient, Permanent},
                       Stage::Data},
           OutcomeCase{"4xx to DATA", {250, 250, 550, 250, 451}, {Transient, Permanent, Transient}, Stage::Data},
           OutcomeCase{"5xx to the final dot",
                       {250, 250, 450, 250, 354, 554},
                       {Permanent, Transient, Permanent},
                       Stage::FinalDot},
           OutcomeCase{"552 to the final dot is final",
                       {250, 250, 250, 250, 354, 552},
                       {Permanent, Permanent, Permanent},
                       Stage::FinalDot},
           OutcomeCase{"4xx to the final dot",
                       {250, 250, 550, 250, 354, 451},
                       {Transient, Permanent, Transient},
                       Stage::FinalDot},
           OutcomeCase{"421 to MAIL", {421}, {Untouched, Untouched, Untouched}, Stage::Mail, false},
           OutcomeCase{"421 to RCPT", {250, 550, 450, 421}, {Permanent, Transient, Untouched}, Stage::Rcpt, false},
           OutcomeCase{"421 to DATA", {250, 250, 550, 250, 421}, {Untouched, Permanent, Untouched}, Stage::Data, false},
           OutcomeCase{"421 to the final dot",
                       {250, 250, 550, 250, 354, 421},
                       {Transient, Permanent, Transient},
                       Stage::FinalDot,
                       false},
           OutcomeCase{"421 after a refused MAIL", {550, 421}, {Transient, Transient, Transient}, Stage::Mail, false},
           OutcomeCase{"421 to a lone dot",
                       {250, 550, 550, 550, 354, 421},
                       {Permanent, Permanent, Permanent},
                       Stage::Rcpt,
                       false},
           OutcomeCase{"354 to MAIL makes no sense", {354}, {Untouched, Untouched, Untouched}, Stage::Mail, false},
           OutcomeCase{
               "354 to RCPT makes no sense", {250, 550, 354}, {Permanent, Transient, Transient}, Stage::Rcpt, false},
           OutcomeCase{"250 to DATA makes no sense",
                       {250, 250, 250, 250, 250},
                       {Transient, Transient, Transient},
                       Stage::Data,
                       false},
           OutcomeCase{"354 to the final dot makes no sense",
                       {250, 250, 250, 250, 354, 354},
                       {Transient, Transient, Transient},
                       Stage::FinalDot,
                       false},
       }) {
    SCOPED_TRACE(c.name);
    const mail::Envelope envelope = envelope_to(3);
    MailTransaction transaction;
    const Conversation talked = talk(transaction, envelope, kPipelining, {c.codes});
    EXPECT_EQ(talked.kinds, c.kinds);
    EXPECT_EQ(talked.results.back().stage, c.stage);
    EXPECT_EQ(talked.used, c.codes.size());
    EXPECT_EQ(transaction.session_usable(), c.usable);
    EXPECT_EQ(transaction.closing_reply() || !transaction.closing_error().empty(), !c.usable);
    // Whoever bounces does so for a reply.
    for (const RecipientResult& result : talked.results) {
      if (result.kind == Permanent) {
        EXPECT_TRUE(result.reply && result.reply->permanent());
      }
    }
  }
}

TEST(MailTransaction, SaysNoDataInLockStepWhenNobodyWasAccepted) {
  const mail::Envelope envelope = envelope_to(2);
  MailTransaction transaction;
  const Conversation c = talk(transaction, envelope, kPlain, {{250, 550, 451}});
  EXPECT_EQ(c.flights.size(), 3u);
  EXPECT_EQ(c.kinds, (std::vector<Kind>{Permanent, Transient}));
  EXPECT_EQ(c.results[0].reply->code, 550);
  EXPECT_TRUE(transaction.session_usable());
}

TEST(MailTransaction, StopsAfterARefusedMailInLockStep) {
  const mail::Envelope envelope = envelope_to(2);
  MailTransaction transaction;
  const Conversation c = talk(transaction, envelope, kPlain, {{550}});
  EXPECT_EQ(c.flights.size(), 1u);
  EXPECT_EQ(c.kinds, (std::vector<Kind>{Transient, Transient}));
}

TEST(MailTransaction, SendsALoneDotWhenDataIsTakenForNobody) {  // RFC 2920 section 3.1
  const mail::Envelope envelope = envelope_to(1);
  MailTransaction transaction;
  const Conversation c = talk(transaction, envelope, kPipelining, {{250, 550, 354, 554}});
  EXPECT_EQ(c.flights.back(), ".\r\n");
  EXPECT_EQ(c.kinds, (std::vector<Kind>{Permanent}));
  EXPECT_EQ(c.results[0].reply->code, 550);  // not what the dot heard
}

TEST(MailTransaction, ResetsOnlyWhatTheHostStillHolds) {
  struct Case {
    std::string_view name;
    std::vector<int> first;
    bool reset;
  };
  for (const Case& c :
       {Case{"delivered", {250, 250, 354, 250}, false}, Case{"refused at the final dot", {250, 250, 354, 554}, false},
        Case{"lone dot", {250, 550, 354, 554}, false}, Case{"MAIL refused", {451, 503, 503}, false},
        Case{"nobody accepted, DATA refused", {250, 550, 503}, true}, Case{"DATA refused", {250, 250, 451}, true}}) {
    SCOPED_TRACE(c.name);
    const mail::Envelope envelope = envelope_to(1);
    MailTransaction transaction;
    talk(transaction, envelope, kPipelining, {c.first});
    std::vector<int> second{250, 250, 354, 250};
    if (c.reset) second.insert(second.begin(), 250);
    const Conversation next = talk(transaction, envelope, kPipelining, {second});
    EXPECT_EQ(next.flights[0].starts_with("RSET\r\nMAIL"), c.reset);
    EXPECT_EQ(next.kinds, (std::vector<Kind>{Delivered}));
    const Conversation third = talk(transaction, envelope, kPipelining, {{250, 250, 354, 250}});
    EXPECT_TRUE(third.flights[0].starts_with("MAIL"));
    EXPECT_EQ(third.kinds, (std::vector<Kind>{Delivered}));
  }
}

TEST(MailTransaction, WaitsForRsetInLockStep) {
  const mail::Envelope envelope = envelope_to(1);
  MailTransaction transaction;
  talk(transaction, envelope, kPlain, {{250, 550}});
  const Conversation next = talk(transaction, envelope, kPlain, {{250, 250, 250, 354, 250}});
  EXPECT_EQ(next.flights[0], "RSET\r\n");
  EXPECT_TRUE(next.flights[1].starts_with("MAIL"));
  EXPECT_EQ(next.kinds, (std::vector<Kind>{Delivered}));
}

TEST(MailTransaction, LeavesEverybodyUntouchedWhenResetFails) {
  for (const int code : {421, 500, 354}) {
    const mail::Envelope envelope = envelope_to(1);
    MailTransaction transaction;
    talk(transaction, envelope, kPlain, {{250, 550}});
    const Conversation next = talk(transaction, envelope, kPlain, {{code}});
    EXPECT_EQ(next.kinds, (std::vector<Kind>{Untouched})) << code;
    EXPECT_FALSE(transaction.session_usable());
  }
}

TEST(MailTransaction, BoundsTheFlight) {
  const mail::Envelope envelope = envelope_to(250);
  MailTransaction transaction;
  std::vector<int> codes(1 + 250, 250);
  codes.insert(codes.end(), {354, 250});
  const Conversation c = talk(transaction, envelope, kPipelining, {codes});
  ASSERT_EQ(c.flights.size(), 4u);
  const auto rcpts = [](const std::string& flight) {
    std::size_t count = 0;
    for (std::size_t at = flight.find("RCPT"); at != std::string::npos; at = flight.find("RCPT", at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(rcpts(c.flights[0]), 100u);
  EXPECT_EQ(rcpts(c.flights[1]), 100u);
  EXPECT_EQ(rcpts(c.flights[2]), 50u);
  EXPECT_EQ(c.flights[0].find("DATA"), std::string::npos);
  EXPECT_TRUE(c.flights[2].ends_with("DATA\r\n"));
  EXPECT_EQ(std::count(c.kinds.begin(), c.kinds.end(), Delivered), 250);
}

TEST(MailTransaction, SendsNoFurtherFlightAfterARefusedMail) {
  const mail::Envelope envelope = envelope_to(150);
  MailTransaction transaction;
  std::vector<int> codes(101, 503);
  codes[0] = 451;
  const Conversation c = talk(transaction, envelope, kPipelining, {codes});
  EXPECT_EQ(c.flights.size(), 1u);
  EXPECT_EQ(std::count(c.kinds.begin(), c.kinds.end(), Transient), 150);
}

/// Breaks the conversation at each step in turn: nobody is delivered unless the final reply was read, those with an
/// outcome of their own keep it, the others are untouched before MAIL was answered and transient after it.
void break_everywhere(const Extensions& extensions, const std::vector<int>& codes, const Error& how) {
  for (std::size_t at = 0; at < codes.size(); ++at) {
    SCOPED_TRACE(testing::Message() << "break at reply " << at
                                    << (extensions.pipelining ? ", pipelined" : ", lock-step"));
    const mail::Envelope envelope = envelope_to(3);
    MailTransaction transaction;
    Script script{{codes.begin(), codes.begin() + static_cast<std::ptrdiff_t>(at)}, how};
    const Conversation c = talk(transaction, envelope, extensions, script);
    EXPECT_FALSE(transaction.session_usable());
    EXPECT_FALSE(transaction.closing_error().empty());
    for (std::size_t slot = 0; slot < 3; ++slot) {
      const int own = at > slot + 1 ? codes[slot + 1] : 0;  // what its RCPT heard
      const Kind expected = at == 0 ? Untouched : own >= 500 ? Permanent : Transient;
      EXPECT_EQ(c.kinds[slot], expected) << slot;
      EXPECT_EQ(c.results[slot].reply.has_value(), own >= 400) << slot;
      EXPECT_EQ(c.results[slot].error.empty(), own >= 400) << slot;
      EXPECT_EQ(c.results[slot].recipient, slot);
    }
  }
}

TEST(MailTransaction, SurvivesABreakAtEachStep) {
  for (const Error& how : {kClosed, kTimedOut, Error(std::errc::bad_message, "garbage")}) {
    for (const Extensions& extensions : {kPlain, kPipelining}) {
      break_everywhere(extensions, {250, 250, 250, 250, 354, 250}, how);
      break_everywhere(extensions, {250, 550, 450, 250, 354, 250}, how);
    }
  }
}

TEST(MailTransaction, NamesTheStageThatBroke) {
  const mail::Envelope envelope = envelope_to(1);
  const std::vector<std::string> words{"MAIL", "RCPT", "DATA", "the final dot"};
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::vector<int> codes{250, 250, 354};
    MailTransaction lost, late;
    const std::vector<int> heard(codes.begin(), codes.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_TRUE(
        talk(lost, envelope, kPipelining, {heard}).results[0].error.starts_with("connection lost during " + words[at]));
    EXPECT_EQ(talk(late, envelope, kPipelining, {heard, kTimedOut}).results[0].error, "timed out during " + words[at]);
  }
}

TEST(MailTransaction, BelievesARefusalInTheMiddleOfTheContentButNoAcceptance) {
  struct Case {
    std::optional<int> code;
    Kind kind;
  };
  for (const Case& c : {Case{552, Permanent}, Case{451, Transient}, Case{421, Untouched}, Case{250, Transient},
                        Case{std::nullopt, Transient}}) {
    SCOPED_TRACE(c.code.value_or(0));
    const mail::Envelope envelope = envelope_to(2);
    MailTransaction transaction;
    Step step = transaction.start(envelope, everybody(envelope), {.octets = 1}, kPipelining);
    for (const int code : {250, 550, 250, 354}) step = transaction.on_reply(reply(code));
    ASSERT_EQ(step, Step::SendContent);
    const mail::Reply said = reply(c.code.value_or(250));
    step = transaction.on_content_cut(kClosed, c.code ? &said : nullptr);
    EXPECT_EQ(step, Step::Finish);
    const auto results = transaction.take_results();
    EXPECT_EQ(results[0].kind, Permanent);
    EXPECT_EQ(results[1].kind, c.kind);
    EXPECT_FALSE(transaction.session_usable());
  }
}

struct CommandCase {
  std::string_view name;
  Extensions extensions;
  void (*change)(mail::Envelope&);
  ContentTraits content;
  std::string mail, rcpt;
};

TEST(MailTransaction, SaysWithMailAndRcptWhatTheHostUnderstands) {
  const auto with_dsn = [](mail::Envelope& e) {
    e.ret = mail::DsnReturn::Headers;
    e.envid = "QQ314159";
    e.recipients[0].notify = mail::kNotifySuccess | mail::kNotifyFailure | mail::kNotifyDelay;
    e.recipients[0].orcpt = "rfc822;Bob@example.org";
  };
  for (const CommandCase& c : {
           CommandCase{"nothing offered",
                       {},
                       with_dsn,
                       {.octets = 4096, .eight_bit = true},
                       "MAIL FROM:<news@example.com>",
                       "RCPT TO:<r0@example.net>"},
           CommandCase{"SIZE",
                       {.size = true},
                       [](auto&) {},
                       {.octets = 4096},
                       "MAIL FROM:<news@example.com> SIZE=4096",
                       "RCPT TO:<r0@example.net>"},
           CommandCase{"8BITMIME for 8-bit content",
                       {.eightbitmime = true},
                       [](auto&) {},
                       {.eight_bit = true},
                       "MAIL FROM:<news@example.com> BODY=8BITMIME",
                       "RCPT TO:<r0@example.net>"},
           CommandCase{"no 8BITMIME for 7-bit content",
                       {.eightbitmime = true},
                       [](auto&) {},
                       {},
                       "MAIL FROM:<news@example.com>",
                       "RCPT TO:<r0@example.net>"},
           CommandCase{"DSN",
                       {.dsn = true},
                       with_dsn,
                       {},
                       "MAIL FROM:<news@example.com> RET=HDRS ENVID=QQ314159",
                       "RCPT TO:<r0@example.net> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;Bob@example.org"},
           CommandCase{"NOTIFY=NEVER",
                       {.dsn = true},
                       [](mail::Envelope& e) {
                         e.recipients[0].notify = mail::kNotifyNever;
                         e.ret = mail::DsnReturn::Full;
                       },
                       {},
                       "MAIL FROM:<news@example.com> RET=FULL",
                       "RCPT TO:<r0@example.net> NOTIFY=NEVER"},
           CommandCase{"null reverse-path",
                       {},
                       [](mail::Envelope& e) { e.reverse_path = {}; },
                       {},
                       "MAIL FROM:<>",
                       "RCPT TO:<r0@example.net>"},
           CommandCase{"<Postmaster>",
                       {},
                       [](mail::Envelope& e) {
                         e.recipients[0].address = {"Postmaster", ""};
                       },
                       {},
                       "MAIL FROM:<news@example.com>",
                       "RCPT TO:<Postmaster>"},
           CommandCase{"SMTPUTF8 for an address",
                       {.smtputf8 = true},
                       [](mail::Envelope& e) { e.recipients[0].address.local = "暖気"; },
                       {},
                       "MAIL FROM:<news@example.com> SMTPUTF8",
                       "RCPT TO:<暖気@example.net>"},
           CommandCase{"SMTPUTF8 as submitted",
                       {.smtputf8 = true},
                       [](mail::Envelope& e) { e.smtputf8 = true; },
                       {},
                       "MAIL FROM:<news@example.com> SMTPUTF8",
                       "RCPT TO:<r0@example.net>"},
           CommandCase{"SMTPUTF8 not needed",
                       {},
                       [](mail::Envelope& e) { e.smtputf8 = true; },
                       {},
                       "MAIL FROM:<news@example.com>",
                       "RCPT TO:<r0@example.net>"},
       }) {
    SCOPED_TRACE(c.name);
    mail::Envelope envelope = envelope_to(1);
    c.change(envelope);
    Extensions extensions = c.extensions;
    extensions.pipelining = true;
    MailTransaction transaction;
    const Conversation talked = talk(transaction, envelope, extensions, {{250, 250, 354, 250}}, c.content);
    EXPECT_EQ(talked.flights[0], c.mail + "\r\n" + c.rcpt + "\r\nDATA\r\n");
    EXPECT_EQ(talked.kinds, (std::vector<Kind>{Delivered}));
  }
}

TEST(MailTransaction, BouncesWithoutAWordWhatExceedsTheHostsSize) {  // RFC 1870 section 6.1
  const mail::Envelope envelope = envelope_to(2);
  MailTransaction transaction;
  const Extensions extensions{.pipelining = true, .size = true, .max_size = 1000};
  const Conversation c = talk(transaction, envelope, extensions, {}, {.octets = 1001});
  EXPECT_TRUE(c.flights.empty());
  EXPECT_EQ(c.kinds, (std::vector<Kind>{Permanent, Permanent}));
  EXPECT_EQ(c.results[0].reply->code, 552);
  EXPECT_EQ(c.results[0].reply->enhanced, (mail::EnhancedStatus{5, 3, 4}));
  EXPECT_NE(c.results[0].reply->text.find("this relay"), std::string::npos);
  EXPECT_TRUE(transaction.session_usable());
  MailTransaction fits;
  EXPECT_EQ(talk(fits, envelope, extensions, {{250, 250, 250, 354, 250}}, {.octets = 1000}).kinds[0], Delivered);
}

TEST(MailTransaction, BouncesAddressesThatTheHostCannotWrite) {  // RFC 6531 section 3.2
  mail::Envelope envelope = envelope_to(2);
  envelope.recipients[0].address.local = "暖気";
  MailTransaction transaction;
  const Conversation c = talk(transaction, envelope, kPipelining, {{250, 250, 354, 250}});
  EXPECT_EQ(c.flights[0], "MAIL FROM:<news@example.com>\r\nRCPT TO:<r1@example.net>\r\nDATA\r\n");
  EXPECT_EQ(c.kinds, (std::vector<Kind>{Permanent, Delivered}));
  EXPECT_EQ(c.results[0].reply->code, 550);
  EXPECT_EQ(c.results[0].reply->enhanced, (mail::EnhancedStatus{5, 6, 7}));

  envelope = envelope_to(2);
  envelope.reverse_path.local = "ニュース";
  EXPECT_EQ(talk(transaction, envelope, kPipelining, {}).kinds, (std::vector<Kind>{Permanent, Permanent}));
  envelope = envelope_to(1);
  envelope.smtputf8 = true;
  EXPECT_EQ(talk(transaction, envelope, kPipelining, {}, {.header_utf8 = true}).kinds, (std::vector<Kind>{Permanent}));
}

TEST(Extensions, AreReadFromTheEhloText) {
  const Extensions e = parse_extensions(
      "mx.example.net at your service\nPIPELINING\nsize 35882577\n8BITMIME\nSTARTTLS\nENHANCEDSTATUSCODES\nCHUNKING\n"
      "SMTPUTF8\nDSN\nX-UNKNOWN 1 2 3\n");
  EXPECT_EQ(e, (Extensions{.pipelining = true,
                           .eightbitmime = true,
                           .smtputf8 = true,
                           .chunking = true,
                           .dsn = true,
                           .starttls = true,
                           .enhanced = true,
                           .size = true,
                           .max_size = 35882577}));
}

TEST(Extensions, AreNotGuessed) {
  EXPECT_EQ(parse_extensions(""), Extensions{});
  EXPECT_EQ(parse_extensions("PIPELINING"), Extensions{});  // the first line greets
  EXPECT_EQ(parse_extensions("hello\nPIPELININGX\nXDSN\nAUTH PIPELINING"), Extensions{});
  for (const std::string_view size : {"SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999", "SIZE -1"}) {
    const Extensions e = parse_extensions("hello\n" + std::string(size));
    EXPECT_TRUE(e.size) << size;
    EXPECT_EQ(e.max_size, 0u) << size;
  }
}

}  // namespace
}  // namespace danki::delivery
