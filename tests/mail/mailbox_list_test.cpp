#include "mail/mailbox_list.hpp"

#include "mail/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::mail {
namespace {

using testing::HasSubstr;

std::string joined(const std::vector<std::string>& mailboxes) {
  std::string all;
  for (const std::string& mailbox : mailboxes) all += (all.empty() ? "" : " | ") + mailbox;
  return all;
}

TEST(MailboxList, FindsTheAddresses) {  // RFC 5322 sections 3.4 and 4.4; the first seven from appendix A
  struct Case {
    std::string_view name, value, want;
  };
  for (const Case& c :
       {Case{"A.1.1", " John Doe <jdoe@machine.example>", "jdoe@machine.example"},
        Case{"A.1.2", " \"Joe Q. Public\" <john.q.public@example.com>", "john.q.public@example.com"},
        Case{"A.1.2 to", " Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
             "mary@x.test | jdoe@example.org | one@y.test"},
        Case{"A.1.2 cc", " <boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
             "boss@nil.test | sysservices@example.net"},
        Case{"A.1.3", " A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
             "c@a.test | joe@where.test | jdoe@one.test"},
        Case{"A.5", " Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "pete@silly.test"},
        Case{"A.5 to",
             "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n"
             "         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
             "c@public.example | joe@example.org | jdoe@one.test"},
        Case{"A.6.1", " Joe Q. Public <john.q.public@example.com>", "john.q.public@example.com"},
        Case{"A.6.1 route and empty elements", " Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
             "mary@example.net | jdoe@test.example"},
        Case{"A.6.3", " John Doe <jdoe@machine(comment).  example>", "jdoe@machine.example"},
        Case{"long route", "<@a.test,,@b.test:x@y.test>", "x@y.test"},
        Case{"group and mailbox", "G: a@x.test;, b@x.test", "a@x.test | b@x.test"},
        Case{"empty group and mailbox", "G:;, b@x.test", "b@x.test"},
        Case{"encoded word", "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= <info@example.jp>", "info@example.jp"},
        Case{"encoded words, folded", "=?utf-8?Q?a=2Cb?=\r\n =?utf-8?Q?c?= <info@example.jp>", "info@example.jp"},
        Case{"address in quotes is none", "\"evil@bad.test\" <good@x.test>", "good@x.test"},
        Case{"address in a comment is none", "(evil@bad.test) good@x.test (<evil@bad.test>)", "good@x.test"},
        Case{"comment with escape", "a@x.test (\\() , b@x.test", "a@x.test | b@x.test"},
        Case{"nested comments", "((a(b))c) x@y.test", "x@y.test"},
        Case{"quoted local part", "\"a b\"@x.test", "\"a b\"@x.test"},
        Case{"needless quotes", "\"ab\"@x.test", "ab@x.test"},
        Case{"dots in quotes", "<\"a..b.\"@docomo.example>", "\"a..b.\"@docomo.example"},
        Case{"obsolete local part", "a . \"b c\" . d@x.test", "\"a.b c.d\"@x.test"},
        Case{"escapes in a local part", "\"a\\\"b\"@x.test", "\"a\\\"b\"@x.test"},
        Case{"domain literal", "a@[ 192.0.2.1 ]", "a@[192.0.2.1]"},
        Case{"normalised domain", "A.B@Example.COM", "A.B@example.com"},
        Case{"U-labels", "日本 <a@例え.jp>", "a@xn--r8jz45g.jp"},
        Case{"Latin-1 name", "Andr\xE9 <a@x.test>", "a@x.test"},
        // What many programs write without quotes, and readers understand.
        Case{"brackets in a name", "[Shop] Support <a@x.test>", "a@x.test"},
        Case{"brackets behind a name", "Support [Tokyo 2] (x) [] <a@x.test>", "a@x.test"},
        Case{"the address as its name", "a.b@x.test <a.b@x.test>", "a.b@x.test"},
        Case{"the address as its name, other case", "A.B@X.Test <a.b@x.test>", "a.b@x.test"},
        Case{"a literal as its name", "a@[192.0.2.1] <a@[192.0.2.1]>", "a@[192.0.2.1]"},
        Case{"at before a word", "Shop @ Home <a@x.test>", "a@x.test"},
        Case{"handle as a name", "@shop <a@x.test>", "a@x.test"},
        Case{"at behind a word", "Shop@ <a@x.test>", "a@x.test"},
        Case{"words behind an at", "Shop @ Home Tokyo <a@x.test>", "a@x.test"},
        Case{"ats in a name", "me@home@@work @ <a@x.test>", "a@x.test"},
        Case{"such names in a group", "G: [b] c <a@x.test>, d@x.test <d@x.test>;", "a@x.test | d@x.test"}}) {
    SCOPED_TRACE(c.name);
    const auto mailboxes = parse_mailbox_list(c.value);
    ASSERT_TRUE(mailboxes) << mailboxes.error().message();
    EXPECT_EQ(joined(*mailboxes), c.want);
  }
}

TEST(MailboxList, RefusesWhatIsNone) {
  struct Case {
    std::string_view name, value, why;
  };
  for (const Case& c :
       {Case{"empty", "", "no mailbox"}, Case{"spaces", " \r\n ", "no mailbox"},
        Case{"comment only", "(nobody)", "no mailbox"}, Case{"commas only", ",,", "no mailbox"},
        Case{"empty group", "Undisclosed:;", "no mailbox"}, Case{"name only", "John", "name without an address"},
        Case{"name, then mailbox", "John, a@x.test", "name without an address"},
        Case{"null", "<>", "no address between"}, Case{"null with name", "John <>", "no address between"},
        Case{"no domain", "a@", "no domain"}, Case{"no local part", "@x.test", "nothing before the @"},
        Case{"dot last", "a.@x.test", "dot out of place"}, Case{"two dots", "a..b@x.test", "dot out of place"},
        Case{"words before the at", "a b@x.test", "out of place"},
        Case{"dot at the domain's end", "a@x.test.", "no domain"},
        Case{"two mailboxes", "a@x.test b@x.test", "no comma"}, Case{"two ats", "a@x.test@y.test", "no comma"},
        Case{"two angles", "<a@x.test><b@x.test>", "no comma"},
        Case{"bracket left open", "<a@x.test", "closing angle bracket"},
        Case{"bracket behind", "a@x.test>", "no comma"}, Case{"nested brackets", "<<a@x.test>>", "no address between"},
        Case{"quote left open", "\"a <a@x.test>", "quoted string without"},
        Case{"comment left open", "a@x.test (b", "comment without"},
        Case{"comment ends in an escape", "a@x.test (b\\", "comment without"},
        Case{"comment closed twice", "a@x.test (b))", "out of place"},
        Case{"literal left open", "a@[1.2.3.4", "literal without"},
        Case{"literal that is none", "a@[x]", "address literal"},
        Case{"group left open", "G: a@x.test", "group without"},
        Case{"group in a group", "G: H: a@x.test;;", "name without"},
        Case{"group without name", ": a@x.test;", "out of place"},
        Case{"semicolon alone", "a@x.test;", "semicolon outside"},
        Case{"route without colon", "<@a.test>", "route without its colon"},
        Case{"backslash", "a\\b@x.test", "out of place"}, Case{"control character", "a\x01 <a@x.test>", "out of place"},
        Case{"NUL", std::string_view("a@x.test\0", 9), "out of place"},
        Case{"address no UTF-8", "\xE9@x.test", "not UTF-8"},
        Case{"control in quotes", "\"a\x01\"@x.test", "needs quoting"},
        // Which address is meant?
        Case{"another address as the name", "evil@bad.test <a@x.test>", "another address"},
        Case{"another local part", "b@x.test <a@x.test>", "another address"},
        Case{"the address and more", "a@x.test b <a@x.test>", "another address"},
        Case{"more and the address", "b a@x.test <a@x.test>", "another address"},
        Case{"two addresses as the name", "a@x.test@bad.test <a@x.test>", "another address"},
        Case{"spaces around its pieces", "Shop @ bad . test <a@x.test>", "another address"},
        Case{"comments around them", "Shop(.)@(.)bad(.).test <a@x.test>", "another address"},
        Case{"a domain in two words", "ceo@vic tim.com <a@x.test>", "another address"},
        Case{"a domain around a comment", "ceo@vic(c)tim.com <a@x.test>", "another address"},
        Case{"a dot far behind the at", "x@bad(.) test inc.test <a@x.test>", "another address"},
        Case{"an ideographic dot behind a word", "x@bad \xE3\x80\x82test <a@x.test>", "another address"},
        Case{"another literal", "a@[192.0.2.1] <a@x.test>", "another address"},
        Case{"only its domain", "@bad.test <a@x.test>", "another address"},
        Case{"a dot first", "x@.bad.test <a@x.test>", "another address"},
        Case{"ideographic dot", "x@bad\xE3\x80\x82test <a@x.test>", "another address"},
        Case{"quoted domain", "x@\"bad.test\" <a@x.test>", "another address"},
        Case{"encoded word", "=?utf-8?Q?x@bad.test?= <a@x.test>", "another address"},
        Case{"in the second of two", "a@x.test, b@bad.test <b@x.test>", "another address"},
        Case{"address in brackets", "[evil@bad.test] <a@x.test>", "square brackets"},
        Case{"angle address in brackets", "[<evil@bad.test>] <a@x.test>", "square brackets"},
        Case{"comma in brackets", "[evil@bad.test,] <a@x.test>", "square brackets"},
        Case{"group in brackets", "[g:] <a@x.test>", "square brackets"},
        Case{"comment begins in brackets", "[(] <a@x.test>, <evil@bad.test> [)]", "square brackets"},
        Case{"quotes begin in brackets", "[\"] <a@x.test>, <evil@bad.test> [\"]", "square brackets"},
        Case{"escape in brackets", "[\\]] <a@x.test>", "square brackets"},
        Case{"bracket in brackets", "[[] <a@x.test>", "square brackets"},
        Case{"control in brackets", "[\x01] <a@x.test>", "square brackets"},
        Case{"bracket left open in a name", "[Shop <a@x.test>", "literal without"},
        Case{"bracket only closed", "Shop] <a@x.test>", "out of place"},
        Case{"brackets only", "[Shop]", "name without an address"},
        Case{"brackets as a group's name", "[G]: a@x.test;", "name without an address"},
        Case{"brackets in a local part", "[a]@x.test", "out of place"},
        Case{"name behind an address", "<a@x.test> [Shop]", "no comma"},
        Case{"word behind an address", "a@x.test Shop", "no comma"},
        Case{"word behind an angle address", "<a@x.test b>", "closing angle bracket"},
        Case{"address as a group's name", "a@x.test: b@x.test;", "no comma"},
        Case{"empty route", "<:a@x.test>", "no address between"},
        Case{"route of commas", "<,:a@x.test>", "no address between"},
        Case{"route of words", "<a,b:a@x.test>", "no address between"}}) {
    SCOPED_TRACE(c.name);
    const auto mailboxes = parse_mailbox_list(c.value);
    ASSERT_FALSE(mailboxes) << joined(*mailboxes);
    EXPECT_EQ(mailboxes.error().code, Errc::BadMailboxList);
    EXPECT_THAT(mailboxes.error().detail, HasSubstr(c.why));
  }
}

TEST(MailboxList, IsBounded) {
  std::string list = "a@x.test";
  for (std::size_t i = 1; i < kMaxMailboxes; ++i) list += ",a@x.test";
  EXPECT_EQ(parse_mailbox_list(list)->size(), kMaxMailboxes);
  EXPECT_FALSE(parse_mailbox_list(list + ",a@x.test"));

  EXPECT_FALSE(parse_mailbox_list(std::string(3'000, '@') + " <a@x.test>"));
  const std::string deep = std::string(1'000'000, '(') + std::string(1'000'000, ')') + "a@x.test";
  EXPECT_TRUE(parse_mailbox_list(deep)) << "comments are counted, not descended into";
}

}  // namespace
}  // namespace danki::mail
