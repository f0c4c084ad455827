#include "mta/submission/command.hpp"

#include <gtest/gtest.h>

namespace danki::submission {
namespace {

TEST(Command, NamesTheVerb) {
  struct Case {
    std::string_view line;
    Verb verb;
    std::string_view argument;
  };
  for (const Case& c : {Case{"MAIL FROM:<a@b>", Verb::Mail, "FROM:<a@b>"},
                        Case{"mail from:<a@b>", Verb::Mail, "from:<a@b>"},
                        Case{"QUIT", Verb::Quit, ""},
                        Case{"quit  ", Verb::Quit, ""},
                        Case{"STARTTLS", Verb::StartTls, ""},
                        Case{"AUTH PLAIN =", Verb::Auth, "PLAIN ="},
                        Case{"NOOP\twhat", Verb::Noop, "what"},
                        Case{"", Verb::Unknown, ""},
                        Case{" QUIT", Verb::Unknown, ""},
                        Case{"QUITS", Verb::Unknown, ""},
                        Case{"LHLO x", Verb::Unknown, ""},
                        Case{std::string_view("NOOP \0", 6), Verb::Unknown, ""},
                        Case{"NOOP a\rb", Verb::Unknown, ""},
                        Case{"BDAT 10 LAST", Verb::Bdat, "10 LAST"},
                        Case{"VRFY a", Verb::Vrfy, "a"},
                        Case{"EXPN a", Verb::Expn, "a"},
                        Case{"HELP", Verb::Help, ""},
                        Case{"RSET", Verb::Rset, ""},
                        Case{"DATA", Verb::Data, ""},
                        Case{"HELO x", Verb::Helo, "x"},
                        Case{"EHLO x", Verb::Ehlo, "x"},
                        Case{"RCPT TO:<a@b>", Verb::Rcpt, "TO:<a@b>"}}) {
    SCOPED_TRACE(c.line);
    const Command got = parse_command(c.line);
    EXPECT_EQ(got.verb, c.verb);
    EXPECT_EQ(got.argument, c.argument);
  }
}

TEST(MailCommand, ReadsParameters) {
  const auto got = parse_mail("FROM:<a@example.com> SIZE=1000 body=8bitmime SMTPUTF8 RET=HDRS ENVID=x+2By AUTH=<>");
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->reverse_path.to_string(), "a@example.com");
  EXPECT_EQ(got->size, 1000u);
  EXPECT_EQ(got->body, mail::BodyType::EightBitMime);
  EXPECT_TRUE(got->smtputf8);
  EXPECT_EQ(got->ret, mail::DsnReturn::Headers);
  EXPECT_EQ(got->envid, "x+2By");
  EXPECT_TRUE(parse_mail("FROM:<>")->reverse_path.is_null());
}

TEST(MailCommand, RefusesWithTheRightCode) {
  struct Case {
    std::string_view argument;
    int code;
    std::string_view enhanced;
  };
  const std::string long_envid = "FROM:<a@b.example> ENVID=" + std::string(101, 'x');
  for (const Case& c :
       {Case{"", 501, "5.5.4"}, Case{"TO:<a@b.example>", 501, "5.5.4"}, Case{"FROM:a@b.example", 501, "5.1.7"},
        Case{"FROM:<a@>", 501, "5.1.7"}, Case{"FROM:<postmaster>", 501, "5.1.7"},
        Case{"FROM:<a@b.example> SIZE", 501, "5.5.4"}, Case{"FROM:<a@b.example> SIZE=x", 501, "5.5.4"},
        Case{"FROM:<a@b.example> SIZE=99999999999999999999999", 501, "5.5.4"},
        Case{"FROM:<a@b.example> SIZE=1 SIZE=2", 501, "5.5.4"},
        Case{"FROM:<a@b.example> BODY=BINARYMIME", 501, "5.5.4"}, Case{"FROM:<a@b.example> RET=ALL", 501, "5.5.4"},
        Case{"FROM:<a@b.example> ENVID=+GG", 501, "5.5.4"}, Case{"FROM:<a@b.example> ENVID=a+0Ab", 501, "5.5.4"},
        Case{long_envid, 501, "5.5.4"}, Case{"FROM:<a@b.example> SMTPUTF8=yes", 501, "5.5.4"},
        Case{"FROM:<a@b.example> FROB=1", 555, "5.5.4"}, Case{"FROM:<\xC3\xBC@b.example>", 553, "5.6.7"},
        Case{"FROM:<a@\xC3\xBC.example>", 553, "5.6.7"}}) {
    SCOPED_TRACE(c.argument);
    const auto got = parse_mail(c.argument);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, c.code) << got.error().text;
    EXPECT_EQ(got.error().enhanced, c.enhanced);
  }
  EXPECT_TRUE(parse_mail("FROM:<\xC3\xBC@b.example> SMTPUTF8"));
}

TEST(RcptCommand, ReadsAndRefuses) {
  const auto got = parse_rcpt("TO:<b@example.com> NOTIFY=SUCCESS,delay ORCPT=rfc822;b+40example.com", false);
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->notify, mail::kNotifySuccess | mail::kNotifyDelay);
  EXPECT_EQ(got->orcpt, "rfc822;b+40example.com");
  EXPECT_EQ(parse_rcpt("TO:<b@example.com> NOTIFY=NEVER", false)->notify, mail::kNotifyNever);
  EXPECT_EQ(parse_rcpt("TO:<Postmaster>", false)->address.domain, "");

  struct Case {
    std::string_view argument;
    int code;
    std::string_view enhanced;
  };
  for (const Case& c :
       {Case{"FROM:<a@b.example>", 501, "5.5.4"}, Case{"TO:<>", 501, "5.1.3"},
        Case{"TO:<a..b@c.example>", 501, "5.1.3"}, Case{"TO:<a@b.example> NOTIFY=NEVER,DELAY", 501, "5.5.4"},
        Case{"TO:<a@b.example> NOTIFY=", 501, "5.5.4"}, Case{"TO:<a@b.example> NOTIFY=DELAY,", 501, "5.5.4"},
        Case{"TO:<a@b.example> ORCPT=b@c", 501, "5.5.4"}, Case{"TO:<a@b.example> ORCPT=;x", 501, "5.5.4"},
        Case{"TO:<a@b.example> ORCPT=rfc822;", 501, "5.5.4"}, Case{"TO:<a@b.example> SIZE=1", 555, "5.5.4"},
        Case{"TO:<\xE6\x9C\x88@b.example>", 553, "5.6.7"}}) {
    SCOPED_TRACE(c.argument);
    const auto refused = parse_rcpt(c.argument, false);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, c.code) << refused.error().text;
    EXPECT_EQ(refused.error().enhanced, c.enhanced);
  }
  EXPECT_TRUE(parse_rcpt("TO:<\xE6\x9C\x88@b.example>", true));
}

TEST(BdatCommand, TakesASizeAndPerhapsLast) {
  EXPECT_EQ(parse_bdat("10")->size, 10u);
  EXPECT_FALSE(parse_bdat("10")->last);
  EXPECT_TRUE(parse_bdat("0 LAST")->last);
  EXPECT_TRUE(parse_bdat("5  last")->last);
  for (const std::string_view bad : {"", "LAST", "x", "-1", "10 FIRST", "10LAST", "1 0", "18446744073709551616"}) {
    EXPECT_FALSE(parse_bdat(bad)) << bad;
  }
}

TEST(HeloName, IsPrintableWithoutSpaces) {
  EXPECT_TRUE(is_helo_name("mail.example.com"));
  EXPECT_TRUE(is_helo_name("[IPv6:::1]"));
  EXPECT_FALSE(is_helo_name(""));
  EXPECT_FALSE(is_helo_name("a b"));
  EXPECT_FALSE(is_helo_name(std::string(256, 'x')));
}

TEST(ParseRcpt, KeepsAnOrcptThatAnyHostTakes) {  // RFC 6533 section 3
  const auto got = parse_rcpt("TO:<a@example.com> ORCPT=utf-8;\xE6\x9C\x88@example.com", true);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->orcpt, "utf-8;\\x{6708}@example.com");
  EXPECT_EQ(parse_rcpt("TO:<a@example.com> ORCPT=utf-8;\xE6\x9C\x88@example.com", false).error().code, 553);
  EXPECT_EQ(parse_rcpt("TO:<a@example.com> ORCPT=utf-8;\\x{6708}@example.com", false)->orcpt,
            "utf-8;\\x{6708}@example.com");
  std::string many = "TO:<a@example.com> NOTIFY=DELAY ORCPT=utf-8;";
  for (int i = 0; i < 100; ++i) many += "\xE6\x9C\x88";
  const auto too_long = parse_rcpt(many, true);
  ASSERT_TRUE(too_long);
  EXPECT_EQ(too_long->orcpt, "") << "hosts may refuse one over 500 octets; without it a DSN only says less";
  EXPECT_EQ(too_long->notify, mail::kNotifyDelay);
}

}  // namespace
}  // namespace danki::submission
