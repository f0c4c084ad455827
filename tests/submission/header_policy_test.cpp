#include "mta/submission/header_policy.hpp"

#include "mta/submission/moment.hpp"

#include <gtest/gtest.h>

namespace danki::submission {
namespace {

using namespace std::chrono_literals;

const TimePoint kNow = *parse_rfc3339("2026-11-23T05:49:39.120Z");

TenantOptions tenant() {
  TenantOptions t;
  t.name = "signup";
  t.pool = "main";
  t.pools = {"launch"};
  t.domains = {"example.com", ".example.com"};
  return t;
}

HeaderVerdict judge(std::string_view header) {
  const TenantOptions t = tenant();
  return judge_header(header, {.tenant = t, .now = kNow, .expiry = 24h, .message_id = "<1@relay>"});
}

const std::string kComplete =
    "From: App <app@example.com>\r\nDate: Mon, 23 Nov 2026 05:49:39 +0000\r\nMessage-ID: <x@y>\r\n";

TEST(HeaderPolicy, LeavesACompleteHeaderAlone) {
  const HeaderVerdict verdict = judge(kComplete + "\r\n");
  EXPECT_FALSE(verdict.refusal);
  EXPECT_FALSE(verdict.replacement);
  EXPECT_EQ(verdict.from_domain, "example.com");
  EXPECT_EQ(verdict.pool, "main");
  EXPECT_EQ(verdict.not_before, TimePoint{});
  EXPECT_EQ(verdict.expires_at, kNow + 24h);
}

TEST(HeaderPolicy, AddsDateAndMessageId) {  // RFC 6409 section 8
  const HeaderVerdict verdict = judge("From: app@mail.example.com\r\nSubject: x\r\n\r\n");
  ASSERT_TRUE(verdict.replacement);
  EXPECT_EQ(*verdict.replacement,
            "Date: Mon, 23 Nov 2026 05:49:39 +0000\r\nMessage-ID: <1@relay>\r\n"
            "From: app@mail.example.com\r\nSubject: x\r\n\r\n");
  EXPECT_EQ(verdict.from_domain, "mail.example.com");
}

TEST(HeaderPolicy, RefusesOtherFromFields) {
  struct Case {
    std::string_view name, header, said;
  };
  for (const Case& c :
       {Case{"none", "Subject: x\r\n\r\n", "no From"}, Case{"empty message", "", "no From"},
        Case{"two", "From: a@example.com\r\nFROM: b@example.com\r\n\r\n", "more than one"},
        Case{"foreign", "From: a@other.example\r\n\r\n", "other.example"},
        Case{"one of two foreign", "From: a@example.com, b@other.example\r\n\r\n", "other.example"},
        Case{"suffix is not a sub-domain", "From: a@notexample.com\r\n\r\n", "notexample.com"},
        Case{"foreign in a group", "From: g: a@example.com, b@other.example;\r\n\r\n", "other.example"},
        Case{"foreign behind a quoted name", "From: \"x@example.com\" <b@other.example>\r\n\r\n", "other.example"},
        Case{"foreign as an unquoted name", "From: x@other.example <a@example.com>\r\n\r\n", "another address"},
        Case{"foreign in brackets", "From: [x@other.example] <a@example.com>\r\n\r\n", "square brackets"},
        Case{"no mailbox", "From: nobody\r\n\r\n", "From field"}, Case{"empty", "From:\r\n\r\n", "From field"}}) {
    SCOPED_TRACE(c.name);
    const HeaderVerdict verdict = judge(c.header);
    ASSERT_TRUE(verdict.refusal);
    EXPECT_EQ(verdict.refusal->code, 550);
    EXPECT_EQ(verdict.refusal->enhanced, "5.7.1");
    EXPECT_NE(verdict.refusal->text.find(c.said), std::string::npos) << verdict.refusal->text;
  }
  EXPECT_FALSE(judge("From: a@example.com, \"B\" <b@sub.example.com>\r\n\r\nFrom: c@other.example\r\n").refusal);
}

TEST(HeaderPolicy, RefusesALineThatIsNoField) {  // RFC 5322 section 2.2
  struct Case {
    std::string_view name, header, said;
  };
  for (const Case& c :
       {Case{"no colon", "From: a@example.com\r\nno field\r\nSubject: x\r\n\r\n",
             "line 2 of the header section is no field: no field"},
        Case{"last", "From: a@example.com\r\nTo: b@x.test,\r\n c@x.test\r\nno field\r\n\r\n", "line 4 "},
        Case{"space in its name", "From: a@example.com\r\nMy Subject: x\r\n\r\n", "line 2 "},
        Case{"no name", "From: a@example.com\r\n: x\r\n\r\n", "line 2 "},
        Case{"8-bit name", "From: a@example.com\r\nBetr\xC3\xA9: x\r\n\r\n", "line 2 "},
        Case{"mbox line", "From a@example.com Mon Nov 23 05:49:39 2026\r\nFrom: a@example.com\r\n\r\n",
             "line 1 of the header section is no field: From a@example.com"},
        Case{"continues nothing", " folded\r\nFrom: a@example.com\r\n\r\n", "line 1 "},
        Case{"another From behind it", "From: a@example.com\r\nno field\r\nFrom: b@other.example\r\n\r\n", "line 2 "},
        Case{"no empty line before the body", "From: a@example.com\r\nhello\r\n", "line 2 "},
        Case{"no empty line, no line end", "From: a@example.com\r\nhello", "line 2 "},
        Case{"body only", "hello\r\n", "line 1 of the header section is no field: hello"}}) {
    SCOPED_TRACE(c.name);
    const HeaderVerdict verdict = judge(c.header);
    ASSERT_TRUE(verdict.refusal);
    EXPECT_EQ(verdict.refusal->code, 550);
    EXPECT_EQ(verdict.refusal->enhanced, "5.6.0");
    EXPECT_NE(verdict.refusal->text.find(c.said), std::string::npos) << verdict.refusal->text;
  }
  const std::string long_line = "From: a@example.com\r\n" + std::string(998, 'x') + "\r\n\r\n";
  EXPECT_LT(judge(long_line).refusal->text.size(), 200u);
}

TEST(HeaderPolicy, TakesTheFormsThatSendersUse) {
  struct Case {
    std::string_view name, header;
  };
  for (const Case& c :
       {Case{"folded", "From: a@example.com\r\nSubject: x\r\n y\r\n\tz\r\n\r\n"},
        Case{"a folded line of spaces", "From: a@example.com\r\nSubject: x\r\n \r\n\r\n"},
        Case{"folded behind the colon", "From: a@example.com\r\nX-Mailer:\r\n Some Mailer 1.0\r\n\r\n"},
        Case{"brackets in a name", "From: [Shop] Support <a@example.com>\r\n\r\n"},
        Case{"the address as its name", "From: a@example.com <a@example.com>\r\n\r\n"},
        Case{"dot and at in a name", "From: Example.com @ Home <a@example.com>\r\n\r\n"},
        Case{"space before the colon", "From : a@example.com\r\n\r\n"},
        Case{"no value", "From: a@example.com\r\nSubject:\r\n\r\n"},
        Case{"odd names", "From: a@example.com\r\nX_my.field/2: x\r\nX-PHP-Originating-Script: 33:a.php\r\n\r\n"},
        Case{"8-bit value", "From: a@example.com\r\nSubject: \xE6\x97\xA5\r\n\r\n"},
        Case{"header section only", "From: a@example.com\r\nSubject: x\r\n"},
        Case{"empty line, no body", "From: a@example.com\r\n\r\n"}}) {
    SCOPED_TRACE(c.name);
    const HeaderVerdict verdict = judge(c.header);
    EXPECT_FALSE(verdict.refusal) << verdict.refusal->text;
  }
}

TEST(HeaderPolicy, ObeysAndRemovesItsOwnFields) {
  const HeaderVerdict verdict = judge("X-Danki-Campaign: launch\r\n 1\r\n" + kComplete +
                                      "x-danki-pool:launch\r\nX-Danki-Send-After: 2h\r\nX-Danki-Expire-After: 30m\r\n"
                                      "X-Danki-Future: \r\nX-Dankish: stays\r\n\r\n");
  ASSERT_FALSE(verdict.refusal) << verdict.refusal->text;
  EXPECT_EQ(verdict.campaign, "launch 1");
  EXPECT_EQ(verdict.pool, "launch");
  EXPECT_EQ(verdict.not_before, kNow + 2h);
  EXPECT_EQ(verdict.expires_at, kNow + 2h + 30min);
  EXPECT_EQ(verdict.replacement, kComplete + "X-Dankish: stays\r\n\r\n");
  EXPECT_EQ(judge(kComplete + "X-Danki-Send-After: 2026-11-23T15:00:00+09:00\r\n\r\n").not_before,
            *parse_rfc3339("2026-11-23T06:00:00Z"));
  EXPECT_EQ(judge(kComplete + "X-Danki-Send-After: 2020-01-01T00:00:00Z\r\n\r\n").not_before, TimePoint{});
}

TEST(HeaderPolicy, RefusesFieldsItCannotObey) {
  struct Case {
    std::string field;
    std::string_view enhanced;
  };
  for (const Case& c :
       {Case{"X-Danki-Pool: others", "5.7.1"}, Case{"X-Danki-Send-After: soon", "5.6.0"},
        Case{"X-Danki-Expire-After: 2020-01-01T00:00:00Z", "5.6.0"}, Case{"X-Danki-Expire-After: 0s", "5.6.0"},
        Case{"X-Danki-Campaign: " + std::string(129, 'x'), "5.6.0"}, Case{"X-Danki-Campaign: \xFF", "5.6.0"}}) {
    SCOPED_TRACE(c.field);
    const HeaderVerdict verdict = judge(kComplete + c.field + "\r\n\r\n");
    ASSERT_TRUE(verdict.refusal);
    EXPECT_EQ(verdict.refusal->enhanced, c.enhanced);
  }
}

TEST(HeaderPolicy, StopsLoops) {
  std::string received;
  for (int i = 0; i < 50; ++i) received += "Received: from x\r\n";
  EXPECT_FALSE(judge(received + kComplete + "\r\n").refusal);
  const HeaderVerdict verdict = judge(received + "received: from y\r\n" + kComplete + "\r\n");
  ASSERT_TRUE(verdict.refusal);
  EXPECT_EQ(verdict.refusal->code, 554);
  EXPECT_EQ(verdict.refusal->enhanced, "5.4.6");
}

TEST(Moment, ReadsDurationsAndTimes) {
  struct Case {
    std::string_view text;
    std::optional<Duration> after;
  };
  for (const Case& c : {Case{"90s", 90s},
                        Case{"5m", 5min},
                        Case{"12h", 12h},
                        Case{"3d", 72h},
                        Case{"0s", 0s},
                        Case{"2026-11-23T05:49:40Z", 880ms},
                        Case{"2026-11-23t14:49:39.1299+09:00", 9ms},
                        Case{"2026-11-23T05:49:38Z", -1120ms},
                        Case{"", std::nullopt},
                        Case{"5", std::nullopt},
                        Case{"m", std::nullopt},
                        Case{"5 m", std::nullopt},
                        Case{"5mm", std::nullopt},
                        Case{"-5m", std::nullopt},
                        Case{"999999999d", std::nullopt},
                        Case{"9999999999s", std::nullopt},
                        Case{"2026-13-01T00:00:00Z", std::nullopt},
                        Case{"2026-02-29T00:00:00Z", std::nullopt},
                        Case{"2026-11-23T24:00:00Z", std::nullopt},
                        Case{"2026-11-23T05:49:40", std::nullopt},
                        Case{"2026-11-23T05:49:40.Z", std::nullopt},
                        Case{"2030-01-01T00:00:00Z", std::nullopt},
                        Case{"2026-11-23T05:49:40Zx", std::nullopt}}) {
    SCOPED_TRACE(c.text);
    const auto got = parse_moment(c.text, kNow);
    ASSERT_EQ(got.has_value(), c.after.has_value());
    if (got) {
      EXPECT_EQ(*got - kNow, *c.after);
    }
  }
}

}  // namespace
}  // namespace danki::submission
