#include "admin/request.hpp"

#include "admin/selector.hpp"

#include <gtest/gtest.h>

namespace danki::admin {
namespace {

TEST(RequestTarget, IsTakenApartAndDecoded) {
  const auto target = parse_target("/v1//queue/a%2Fb?domain=ex%41mple.com&x=1+2&&flag&x=3");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->segments, (std::vector<std::string>{"v1", "queue", "a/b"}));
  EXPECT_EQ(target->query, (std::map<std::string, std::string>{{"domain", "exAmple.com"}, {"x", "3"}, {"flag", ""}}));
  EXPECT_TRUE(parse_target("/")->segments.empty());
}

TEST(RequestTarget, IsRefusedWhenItIsNone) {
  std::string many = "/";
  for (int i = 0; i < 100; ++i) many += "a/";
  for (const std::string& text : {std::string(""), std::string("v1"), std::string("http://x/v1"), std::string("/%"),
                                  std::string("/%4"), std::string("/%zz"), std::string("/a?b=%"), many}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
}

TEST(Selector, FromAQueryLeavesUnknownParametersBehind) {
  std::map<std::string, std::string> query{
      {"domain", "EXAMPLE.com."}, {"class", "bulk"},   {"older_than_seconds", "90"},
      {"tenant", "signup"},       {"campaign", "a b"}, {"site", ""},
      {"colour", "red"}};
  const auto selector = take_selector(query);
  ASSERT_TRUE(selector);
  EXPECT_EQ(selector->domain, "example.com");
  EXPECT_EQ(selector->klass, mail::MailClass::Bulk);
  EXPECT_EQ(selector->older_than, std::chrono::seconds(90));
  EXPECT_EQ(selector->tenant, "signup");
  EXPECT_EQ(selector->campaign, "a b");
  EXPECT_EQ(query, (std::map<std::string, std::string>{{"colour", "red"}}));
}

TEST(Selector, FromAQuerySaysWhatIsWrong) {
  for (const auto& [name, value] : std::map<std::string, std::string>{{"class", "junk"},
                                                                      {"older_than_seconds", "5m"},
                                                                      {"older_than_seconds ", ""},
                                                                      {"domain", "no domain"},
                                                                      {"id", "short"}}) {
    std::map<std::string, std::string> query{{name, value}};
    const auto selector = take_selector(query);
    if (selector) {
      EXPECT_EQ(query.size(), 1u) << name;  // not one of ours
    } else {
      EXPECT_EQ(selector.error().detail.find(name), 0u) << selector.error().detail;
    }
  }
}

TEST(Selector, FromJson) {
  const auto some = parse_selector(R"({"site":"mx.example.net","class":"transactional","older_than_seconds":60})");
  ASSERT_TRUE(some);
  EXPECT_EQ(some->site, "mx.example.net");
  EXPECT_EQ(some->klass, mail::MailClass::Transactional);
  EXPECT_EQ(some->older_than, std::chrono::seconds(60));
  const auto all = parse_selector(R"({"all":true})");
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->all());
}

TEST(Selector, FromJsonNeverMeansAllByMistake) {
  for (const char* body : {"", "{}", "[]", "null", "{\"all\":false}", "{\"all\":\"true\"}",
                           "{\"all\":true,\"tenant\":\"x\"}", "{\"tenant\":\"\"}", "{\"tennant\":\"x\"}",
                           "{\"tenant\":5}", "{\"older_than_seconds\":-1}", "{\"older_than_seconds\":\"60\"}",
                           "{\"older_than_seconds\":9223372036854775807}", "{\"tenant\":\"x\"", "{\"class\":\"x\"}"}) {
    EXPECT_FALSE(parse_selector(body)) << body;
  }
  EXPECT_FALSE(parse_selector(std::string(100'000, '[')));
}

}  // namespace
}  // namespace danki::admin
