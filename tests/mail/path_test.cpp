#include "mail/path.hpp"

#include "mail/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::mail {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr PathRules kMail{.allow_null = true, .allow_postmaster = false};
constexpr PathRules kRcpt{.allow_null = false, .allow_postmaster = true};

TEST(Path, ParsesPathsAndLeavesTheParameters) {
  struct Case {
    std::string_view name, text;
    PathRules rules;
    std::string_view address, rest;
  };
  for (const Case& c :
       {Case{"plain", "<Smith@bar.com>", kMail, "Smith@bar.com", ""},
        Case{"space in front", " <a@x.org>", kMail, "a@x.org", ""},
        Case{"parameters", "<a@x.org> SIZE=12 BODY=8BITMIME ", kMail, "a@x.org", "SIZE=12 BODY=8BITMIME"},
        Case{"null", "<>", kMail, "", ""}, Case{"null with parameters", "<>  RET=HDRS", kMail, "", "RET=HDRS"},
        Case{"postmaster", "<PostMaster> NOTIFY=NEVER", kRcpt, "PostMaster", "NOTIFY=NEVER"},
        Case{"route", "<@hosta.int,@jkl.org:userc@d.bar.org>", kRcpt, "userc@d.bar.org", ""},  // appendix D.3
        Case{"route over a literal", "<@[IPv6:2001:db8::1]:a@x.org>", kRcpt, "a@x.org", ""},
        Case{"bracket in quotes", "<\"a>b\"@x.org> X", kRcpt, "\"a>b\"@x.org", "X"},
        Case{"escaped quote", "<\"a\\\">b\"@x.org>", kRcpt, "\"a\\\">b\"@x.org", ""},
        Case{"literal", "<a@[192.0.2.1]>", kRcpt, "a@[192.0.2.1]", ""},
        Case{"UTF-8", "<用户@例え.jp> SMTPUTF8", kMail, "用户@xn--r8jz45g.jp", "SMTPUTF8"}}) {
    SCOPED_TRACE(c.name);
    const auto path = parse_path(c.text, c.rules);
    ASSERT_TRUE(path) << path.error().message();
    EXPECT_EQ(path->address.to_string(), c.address);
    EXPECT_EQ(path->rest, c.rest);
  }
}

TEST(Path, RefusesWhatIsNone) {
  struct Case {
    std::string_view name, text;
    PathRules rules;
    std::string_view why;
  };
  for (const Case& c :
       {Case{"empty", "", kMail, "begins with <"}, Case{"no brackets", "a@x.org", kMail, "begins with <"},
        Case{"not closed", "<a@x.org", kMail, "ends with >"},
        Case{"closed in quotes only", "<\"a@x.org>", kMail, "ends with >"},
        Case{"escape at the end", "<\"a\\", kMail, "ends with >"}, Case{"null recipient", "<>", kRcpt, "null path"},
        Case{"null behind a route", "<@x.org:>", kMail, "null path"},
        Case{"postmaster as sender", "<postmaster>", kMail, "has an @"},
        Case{"other local name", "<joe>", kRcpt, "has an @"},
        Case{"spaces inside", "< a@x.org >", kRcpt, "needs quoting"},
        Case{"two brackets", "<<a@x.org>>", kRcpt, "no space between"},
        Case{"parameter glued on", "<a@x.org>SIZE=1", kMail, "no space between"},
        Case{"route without colon", "<@x.org>", kRcpt, "ends with a colon"},
        Case{"route without at", "<@x.org,y.org:a@x.org>", kRcpt, "names hosts"},
        Case{"route over no host", "<@-:a@x.org>", kRcpt, "hyphen"},
        Case{"route literal not closed", "<@[1:a@x.org>", kRcpt, "colon"}}) {
    SCOPED_TRACE(c.name);
    const auto path = parse_path(c.text, c.rules);
    ASSERT_FALSE(path) << path->address.to_string();
    EXPECT_EQ(path.error().code, Errc::BadPath);
    EXPECT_THAT(path.error().detail, HasSubstr(c.why));
  }
}

TEST(Parameters, ParsesKeywordsAndValues) {  // RFC 5321 section 4.1.1.11
  EXPECT_THAT(*parse_parameters("size=500000  Body=8BITMIME\tSMTPUTF8"),
              ElementsAre(Parameter{"SIZE", "500000"}, Parameter{"BODY", "8BITMIME"}, Parameter{"SMTPUTF8", ""}));
  EXPECT_THAT(*parse_parameters("MT-PRIORITY=-3 AUTH=<>"),
              ElementsAre(Parameter{"MT-PRIORITY", "-3"}, Parameter{"AUTH", "<>"}));
  EXPECT_THAT(*parse_parameters("ORCPT=utf-8;用户@x.jp"), ElementsAre(Parameter{"ORCPT", "utf-8;用户@x.jp"}));
  EXPECT_THAT(*parse_parameters("  "), IsEmpty());
}

TEST(Parameters, RefusesWhatIsNone) {
  for (const std::string_view text :
       {"=1", "SIZE=", "SI ZE=1 ZE", "-A=1", "S_IZE=1", "ENVID=a=b", "X=\x01", "X=\xFF", "サイズ=1", "SIZE=1 size=2"}) {
    SCOPED_TRACE(text);
    const auto parameters = parse_parameters(text);
    ASSERT_FALSE(parameters);
    EXPECT_EQ(parameters.error().code, Errc::BadParameter);
  }
  std::string many;
  for (std::size_t i = 0; i < kMaxParameters; ++i) many += "X" + std::to_string(i) + " ";
  EXPECT_TRUE(parse_parameters(many));
  EXPECT_FALSE(parse_parameters(many + "Y"));
}

TEST(Xtext, EncodesAndDecodes) {  // RFC 3461 section 4
  struct Case {
    std::string_view plain, encoded;
  };
  for (const Case& c : {Case{"", ""}, Case{"Dana@Ivory.EDU", "Dana@Ivory.EDU"}, Case{"a+b=c", "a+2Bb+3Dc"},
                        Case{"white space", "white+20space"}, Case{std::string_view("\r\n\0\x7f", 4), "+0D+0A+00+7F"},
                        Case{"日", "+E6+97+A5"}}) {
    SCOPED_TRACE(c.encoded);
    EXPECT_EQ(encode_xtext(c.plain), c.encoded);
    EXPECT_EQ(decode_xtext(c.encoded), std::string(c.plain));
  }
  EXPECT_EQ(decode_xtext("a+2bb"), "a+b") << "lower case digits are seen in the wild";
  EXPECT_EQ(decode_xtext("日"), "日") << "RFC 6533 section 3";
}

TEST(Xtext, RefusesWhatIsNone) {
  for (const std::string_view text : {"a=b", "a b", "a\tb", "+", "+2", "a+2", "+G0", "+0G", "+-1"}) {
    SCOPED_TRACE(text);
    const auto decoded = decode_xtext(text);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code, Errc::BadXtext);
  }
}

TEST(Orcpt, IsWrittenInAscii) {  // RFC 6533 section 3, RFC 3461 section 4
  struct Case {
    std::string_view orcpt, want;
  };
  for (const Case& c :
       {Case{"rfc822;a+2Bb@x.jp", "rfc822;a+2Bb@x.jp"}, Case{"utf-8;a\\x{E9}@x.jp", "utf-8;a\\x{E9}@x.jp"},
        Case{"utf-8;用户@例え.jp", "utf-8;\\x{7528}\\x{6237}@\\x{4F8B}\\x{3048}.jp"},
        Case{"UTF-8;\xC3\xA9\xC2\x80@x.jp", "UTF-8;\\x{E9}\\x{80}@x.jp"},
        Case{"utf-8;\xF0\x9F\x98\x80@x.jp", "utf-8;\\x{1F600}@x.jp"},
        Case{"rfc822;\xC3\xA9@x.jp", "rfc822;+C3+A9@x.jp"}, Case{"utf-8;\xFF@x.jp", "utf-8;+FF@x.jp"}}) {
    EXPECT_EQ(ascii_orcpt(c.orcpt), c.want);
  }
}

}  // namespace
}  // namespace danki::mail
