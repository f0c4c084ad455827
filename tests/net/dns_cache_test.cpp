#include "net/dns_cache.hpp"

#include "net/dns_name.hpp"
#include "tests/fakes/clock.hpp"

#include <gtest/gtest.h>

namespace danki::net {
namespace {

using std::chrono::seconds;

DnsAnswer answer(std::uint32_t ttl, std::string text = "x") {
  DnsAnswer a;
  a.status = DnsStatus::Ok;
  a.ttl = ttl;
  a.records.push_back({.type = DnsType::Txt, .owner = "a", .ttl = ttl, .text = std::move(text)});
  return a;
}

TEST(DnsCache, ForgetsWhenTheTtlHasPassed) {
  fakes::FakeClock clock;
  DnsCache cache(10, 1 << 20, clock);
  cache.put("a", answer(60));
  cache.put("zero", answer(0));
  EXPECT_FALSE(cache.find("zero"));
  clock.advance(seconds(59));
  ASSERT_TRUE(cache.find("a"));
  EXPECT_EQ(cache.find("a")->ttl, 1u);
  EXPECT_EQ(cache.find("a")->records[0].ttl, 60u);
  clock.advance(seconds(1));
  EXPECT_FALSE(cache.find("a"));
  EXPECT_EQ(cache.size(), 0u);
}

TEST(DnsCache, TheLeastRecentlyUsedGoesFirst) {
  fakes::FakeClock clock;
  DnsCache cache(2, 1 << 20, clock);
  cache.put("a", answer(60));
  cache.put("b", answer(60));
  EXPECT_TRUE(cache.find("a"));
  cache.put("c", answer(60));
  EXPECT_TRUE(cache.find("a"));
  EXPECT_FALSE(cache.find("b"));
  EXPECT_TRUE(cache.find("c"));
}

TEST(DnsCache, HoldsNoMoreThanItsBytes) {
  fakes::FakeClock clock;
  DnsCache cache(1000, 50000, clock);
  for (int i = 0; i < 100; ++i) cache.put(std::to_string(i), answer(60, std::string(5000, 't')));
  EXPECT_GT(cache.size(), 4u);
  EXPECT_LT(cache.size(), 10u);
  EXPECT_TRUE(cache.find("99"));
  cache.put("huge", answer(60, std::string(60000, 't')));
  EXPECT_FALSE(cache.find("huge"));
  EXPECT_TRUE(cache.find("99"));
}

TEST(DnsCache, ANewAnswerReplacesTheOldOne) {
  fakes::FakeClock clock;
  DnsCache cache(10, 1 << 20, clock);
  cache.put("a", answer(60, "old"));
  cache.put("a", answer(60, "new"));
  EXPECT_EQ(cache.find("a")->records[0].text, "new");
  EXPECT_EQ(cache.size(), 1u);
  cache.put("a", answer(0, "none"));
  EXPECT_FALSE(cache.find("a"));
}

TEST(DnsName, NormalisesOrRefuses) {
  struct Case {
    std::string name, text;
    std::optional<std::string> want;
  };
  const std::string label63(63, 'a');
  const std::string name253 = label63 + "." + label63 + "." + label63 + "." + std::string(61, 'b');
  for (const Case& c :
       {Case{"capitals", "Mx.Example.COM", "mx.example.com"}, Case{"trailing dot", "a.example.", "a.example"},
        Case{"root", ".", ""}, Case{"underscores", "_dmarc.a", "_dmarc.a"}, Case{"63 octets", label63, label63},
        Case{"253 octets", name253, name253}, Case{"empty", "", std::nullopt}, Case{"dots", "..", std::nullopt},
        Case{"empty label", "a..b", std::nullopt}, Case{"leading dot", ".a", std::nullopt},
        Case{"64 octets", label63 + "a", std::nullopt}, Case{"254 octets", name253 + "b", std::nullopt},
        Case{"space", "a b", std::nullopt}, Case{"UTF-8", "\xe6\x9a\x96.jp", std::nullopt},
        Case{"backslash", "a\\.b", std::nullopt}, Case{"NUL", std::string("a\0b", 3), std::nullopt}}) {
    SCOPED_TRACE(c.name);
    const auto normal = normalise_dns_name(c.text);
    EXPECT_EQ(normal.has_value(), c.want.has_value());
    if (normal && c.want) {
      EXPECT_EQ(*normal, *c.want);
    }
  }
}

}  // namespace
}  // namespace danki::net
