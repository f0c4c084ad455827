#include "mta/delivery/path_limits.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using Count = Setting<std::uint32_t>;

Count value(std::uint32_t n) {
  return {Count::Kind::Value, n};
}
constexpr Count kNone{Count::Kind::None, 0};

ShapingOptions table(std::string source, std::string domain, std::string site, std::string provider,
                     std::uint32_t connections) {
  ShapingOptions made;
  made.source = std::move(source);
  made.domain = std::move(domain);
  made.site = std::move(site);
  made.provider = std::move(provider);
  made.connections = value(connections);
  return made;
}

const ShapingOptions kDefault = table("", "", "", "", 1);
const ShapingOptions kSource = table("out01", "", "", "", 2);
const ShapingOptions kProvider = table("", "", "", "gmail", 3);
const ShapingOptions kSourceProvider = table("out01", "", "", "gmail", 4);
const ShapingOptions kDomain = table("", "*.test", "", "", 5);
const ShapingOptions kSite = table("", "", "mx.example", "", 6);
const ShapingOptions kSourceDomain = table("out01", "*.test", "", "", 7);
const ShapingOptions kSourceSite = table("out01", "", "mx.example", "", 8);

std::uint32_t connections(std::vector<ShapingOptions> tables) {
  Options options;
  options.shaping = std::move(tables);
  return path_limits(options, "out01", "mx.example", "gmail", "a.test").connections;
}

TEST(PathLimits, TheNarrowerTableWinsWhereverItStands) {
  struct Case {
    std::string_view name;
    ShapingOptions wider, narrower;
  };
  for (const Case& c :
       {Case{"default, source", kDefault, kSource}, Case{"source, provider", kSource, kProvider},
        Case{"provider, source with provider", kProvider, kSourceProvider},
        Case{"source with provider, domain", kSourceProvider, kDomain},
        Case{"source with provider, site", kSourceProvider, kSite},
        Case{"domain, source with domain", kDomain, kSourceDomain},
        Case{"site, source with domain", kSite, kSourceDomain}, Case{"site, source with site", kSite, kSourceSite}}) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(connections({c.wider, c.narrower}), c.narrower.connections.value);
    EXPECT_EQ(connections({c.narrower, c.wider}), c.narrower.connections.value);
  }
}

TEST(PathLimits, AmongEqualsTheLaterTableWins) {
  EXPECT_EQ(connections({kDomain, kSite}), kSite.connections.value);
  EXPECT_EQ(connections({kSite, kDomain}), kDomain.connections.value);
  EXPECT_EQ(connections({kSourceDomain, kSourceSite}), kSourceSite.connections.value);
  EXPECT_EQ(connections({kSourceSite, kSourceDomain}), kSourceDomain.connections.value);
}

TEST(PathLimits, TablesAboutOtherMailAreNotAsked) {
  for (const ShapingOptions& other :
       {table("out02", "", "", "", 9), table("", "other.test", "", "", 9), table("", "test", "", "", 9),
        table("", "", "mx.other", "", 9), table("", "", "", "yahoo", 9), table("out02", "*.test", "", "", 9),
        table("out01", "other.test", "", "", 9)}) {
    EXPECT_EQ(connections({kDefault, other}), kDefault.connections.value);
  }
}

TEST(PathLimits, EachKeyIsDecidedByItself) {
  Options options;
  ShapingOptions wide;
  wide.connections = value(20);
  wide.messages_per_connection = value(50);
  wide.tls = {Setting<TlsPolicy>::Kind::Value, TlsPolicy::Require};
  ShapingOptions narrow;
  narrow.domain = "a.test";
  narrow.messages_per_connection = value(5);
  options.shaping = {narrow, wide};
  PathLimits limits = path_limits(options, "out01", "mx.example", "", "a.test");
  EXPECT_EQ(limits.connections, 20u);
  EXPECT_EQ(limits.messages_per_connection, 5u);
  EXPECT_EQ(limits.tls, TlsPolicy::Require);
  EXPECT_EQ(limits.recipients_per_transaction, PathLimits{}.recipients_per_transaction);
}

TEST(PathLimits, NoneLiftsWhatAWiderTableSet) {
  Options options;
  ShapingOptions wide;
  wide.connections = value(2);
  wide.messages_per_connection = value(5);
  wide.recipients_per_transaction = value(1);
  ShapingOptions narrow;
  narrow.domain = "a.test";
  narrow.connections = narrow.messages_per_connection = narrow.recipients_per_transaction = kNone;
  options.shaping = {wide, narrow};
  PathLimits limits = path_limits(options, "out01", "mx.example", "", "a.test");
  EXPECT_GT(limits.connections, 1'000'000u);
  EXPECT_EQ(limits.messages_per_connection, 0u);  // no limit
  EXPECT_GT(limits.recipients_per_transaction, 1'000'000u);
  EXPECT_EQ(path_limits(options, "out01", "mx.example", "", "b.test").connections, 2u);
}

TEST(PathLimits, OfTwoTheStrictestHolds) {
  PathLimits wide{.connections = 20, .messages_per_connection = 0, .recipients_per_transaction = 100};
  PathLimits narrow{.connections = 2, .messages_per_connection = 50, .recipients_per_transaction = 1};
  narrow.tls = TlsPolicy::Require;
  wide.tls = TlsPolicy::None;
  EXPECT_EQ(strictest(wide, narrow), narrow);
  EXPECT_EQ(strictest(narrow, wide), narrow);
  narrow.messages_per_connection = wide.messages_per_connection = 0;  // no limit
  EXPECT_EQ(strictest(narrow, wide).messages_per_connection, 0u);
}

TEST(PathLimits, DomainsOfOneKindFitTheSameTables) {
  Options options;
  for (const char* pattern : {"", "a.test", "*.test"}) {
    options.shaping.emplace_back();
    options.shaping.back().domain = pattern;
  }
  EXPECT_EQ(domain_kind(options, "b.test"), domain_kind(options, "c.test"));
  EXPECT_NE(domain_kind(options, "a.test"), domain_kind(options, "b.test"));
  EXPECT_EQ(domain_kind(options, "a.example"), "");
}

TEST(PathLimits, WithoutTablesTheDefaultsHold) {
  EXPECT_EQ(path_limits({}, "out01", "mx.example", "", "a.test"), PathLimits{});
}

}  // namespace
}  // namespace danki::delivery
