// The shipped catalogue of providers: each name in it is reached by a sample, and no sample reaches another provider.
#include "config/catalog.hpp"

#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <toml++/toml.h>

namespace danki::config {

namespace {

using testing::HasSubstr;

struct Sample {
  std::string provider, domain;
  std::vector<std::string> hosts;
};

std::vector<Sample> samples() {
  std::vector<Sample> all;
  const toml::table file = toml::parse_file(DANKI_SOURCE_DIR "/tests/config/provider_samples.toml");
  for (const auto& [provider, table] : file) {
    for (const auto& [domain, hosts] : *table.as_table()) {
      Sample sample{std::string(provider.str()), std::string(domain.str()), {}};
      for (const toml::node& host : *hosts.as_array()) sample.hosts.push_back(host.value_or<std::string>(""));
      all.push_back(std::move(sample));
    }
  }
  return all;
}

ProviderCatalog shipped() {
  auto catalog = read_providers(shipped_providers(), "providers.toml");
  EXPECT_TRUE(catalog.has_value()) << catalog.error().to_string();
  return catalog.value_or(ProviderCatalog{});
}

std::string problems_of(std::string_view text) {
  auto catalog = read_providers(text, "p.toml");
  return catalog ? "" : catalog.error().to_string();
}

}  // namespace

TEST(Providers, EachSampleIsFoundByItsHosts) {
  const delivery::ProviderTable table(shipped().providers);
  for (const Sample& sample : samples()) EXPECT_EQ(table.of_hosts(sample.hosts), sample.provider) << sample.domain;
}

TEST(Providers, AnExampleOfEachNameIsAmongTheSamples) {
  const ProviderCatalog catalog = shipped();
  const std::vector<Sample> all = samples();
  for (const delivery::ProviderOptions& provider : catalog.providers) {
    // Each name for itself must find a sample of its provider: one that is misspelt, or hidden by another, finds none.
    for (const std::string& host : provider.mx) {
      const delivery::ProviderTable alone({{.name = provider.name, .title = "", .domains = {}, .mx = {host}}});
      bool found = false;
      for (const Sample& sample : all) {
        for (const std::string& name : sample.hosts)
          found |= sample.provider == provider.name && !alone.of_hosts(std::vector{name}).empty();
      }
      EXPECT_TRUE(found) << provider.name << ": mx " << host;
    }
    for (const std::string& domain : provider.domains) {
      const delivery::ProviderTable alone({{.name = provider.name, .title = "", .domains = {domain}, .mx = {}}});
      bool found = false;
      for (const Sample& sample : all)
        found |= sample.provider == provider.name && !alone.of_domain(sample.domain).empty();
      EXPECT_TRUE(found) << provider.name << ": domain " << domain;
    }
  }
  EXPECT_GE(catalog.providers.size(), 30u);
}

TEST(Providers, AKnownDomainWithoutKnownHostsIsFoundByItsName) {
  const delivery::ProviderTable table(shipped().providers);
  EXPECT_EQ(table.of_domain("Gmail.COM."), "gmail");
  EXPECT_EQ(table.of_domain("nyc.rr.com"), "spectrum");
  EXPECT_EQ(table.of_domain("wm.pdx.ne.jp"), "softbank");
  EXPECT_EQ(table.of_domain("mail.gmail.com"), "");  // exact, unless it says ".gmail.com"
  EXPECT_EQ(table.of_domain("example.com"), "");
}

TEST(Providers, HostsAreComparedByWholeLabels) {
  const delivery::ProviderTable table(shipped().providers);
  using Hosts = std::vector<std::string>;
  EXPECT_EQ(table.of_hosts(Hosts{"mx.notgoogle.com"}), "");
  EXPECT_EQ(table.of_hosts(Hosts{"google.com.example.net"}), "");
  EXPECT_EQ(table.of_hosts(Hosts{"GOOGLE.COM."}), "gmail");
  EXPECT_EQ(table.of_hosts(Hosts{"com"}), "");
  EXPECT_EQ(table.of_hosts(Hosts{""}), "");
  EXPECT_EQ(table.of_hosts(Hosts{}), "");
}

TEST(Providers, HostsOfTwoOperatorsBelongToNeither) {
  const delivery::ProviderTable table(shipped().providers);
  EXPECT_EQ(table.of_hosts(std::vector<std::string>{"aspmx.l.google.com", "mx1.emailsrvr.com"}), "");
  EXPECT_EQ(table.of_hosts(std::vector<std::string>{"aspmx.l.google.com", "mx.example.com"}), "");
}

TEST(Providers, LimitsAreTablesAboutTheirProvider) {
  const ProviderCatalog catalog = shipped();
  std::set<std::string> names;
  for (const delivery::ProviderOptions& provider : catalog.providers) names.insert(provider.name);
  for (const delivery::ShapingOptions& table : catalog.shaping) {
    EXPECT_TRUE(names.contains(table.provider)) << table.where;
    EXPECT_TRUE(table.domain.empty() && table.site.empty() && table.source.empty()) << table.where;
    if (table.provider != "gmail") continue;
    EXPECT_EQ(table.tls.value, delivery::TlsPolicy::Require);
    EXPECT_TRUE(table.one_domain_per_transaction.value);
  }
}

TEST(Providers, MistakesAreNamedWithTheirPlace) {
  const std::string start = "[[provider]]\nname = \"a\"\ntitle = \"A\"\n";
  EXPECT_THAT(problems_of(start), HasSubstr("p.toml:1:1: provider.mx: and domains are empty"));
  EXPECT_THAT(problems_of(start + "mx = [\"Example.COM\"]\n"), HasSubstr("p.toml:4:7: provider.mx: \"Example.COM\""));
  EXPECT_THAT(problems_of(start + "mx = [\"a.test\", \"a.test\"]\n"),
              HasSubstr("p.toml:4:17: provider.mx: \"a.test\" is"));
  EXPECT_THAT(problems_of(start + "mx = [\"a.test\"]\ncolour = 1\n"),
              HasSubstr("p.toml:5:1: provider.colour: unknown"));
  EXPECT_THAT(problems_of(start + "mx = [\"a.test\"]\n[[provider.shaping]]\nconnections = \"many\"\n"),
              HasSubstr("p.toml:6:15: provider.shaping.connections"));
  EXPECT_THAT(problems_of("[provider]\n"), HasSubstr("p.toml:1:1: provider: only [[provider]] tables stand here"));
  EXPECT_THAT(problems_of("a = \n"), HasSubstr("p.toml:1:"));
}

}  // namespace danki::config
