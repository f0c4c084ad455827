#include "config/catalog.hpp"

#include "config/sections.hpp"
#include "mail/address.hpp"

#include <map>

#include <fmt/format.h>

namespace danki::config {

namespace {

/// Reads one provider after the other and notes which names are taken.
class ProviderReader {
 public:
  ProviderReader(ProviderCatalog& catalog, Problems& problems) : catalog_(catalog), problems_(problems) {}

  void read(const toml::table& written) {
    TableReader table(written, "provider", problems_, warnings_);
    delivery::ProviderOptions provider;
    provider.name = table.required_text("name");
    claim(table, "name", provider.name, table.where("name"));
    provider.title = table.required_text("title");
    provider.domains = names(table, "domains", true);
    provider.mx = names(table, "mx", false);
    if (provider.domains.empty() && provider.mx.empty())
      table.problem("mx", "and domains are empty: nothing can match");
    table.expect("shaping");
    table.finish();
    if (const toml::array* tables = written["shaping"].as_array()) {
      for (const toml::node& node : *tables) {
        if (const toml::table* shaping = node.as_table()) read_limits(*shaping, provider.name);
      }
    }
    catalog_.providers.push_back(std::move(provider));
  }

 private:
  std::vector<std::string> names(TableReader& table, std::string_view key, bool may_mean_below) {
    std::vector<std::string> read;
    for (const PlacedText& text : table.placed_texts(key)) {
      const bool below = may_mean_below && text.value.starts_with('.');
      const auto normal = mail::normalise_domain(std::string_view(text.value).substr(below ? 1 : 0));
      if (!normal || *normal != std::string_view(text.value).substr(below ? 1 : 0)) {
        table.problem_at(text.where, key, fmt::format("\"{}\" is no domain in lower case", text.value));
        continue;
      }
      claim(table, key, text.value, text.where);
      read.push_back(text.value);
    }
    return read;
  }

  void claim(TableReader& table, std::string_view key, const std::string& name, const std::string& where) {
    auto [first, is_new] = taken_[std::string(key)].emplace(name, where);
    if (!is_new) table.problem_at(where, key, fmt::format("\"{}\" is already listed at {}", name, first->second));
  }

  void read_limits(const toml::table& written, const std::string& provider) {
    TableReader table(written, "provider.shaping", problems_, warnings_);
    delivery::ShapingOptions shaping;
    shaping.provider = provider;
    read_shaping_values(table, shaping);
    table.finish();
    catalog_.shaping.push_back(std::move(shaping));
  }

  ProviderCatalog& catalog_;
  Problems& problems_;
  std::vector<std::string> warnings_;
  std::map<std::string, std::map<std::string, std::string>> taken_;  // key, name: where
};

}  // namespace

std::expected<ProviderCatalog, Problems> read_providers(std::string_view text, const std::string& name) {
  ProviderCatalog catalog;
  Problems problems;
  toml::table root;
  try {
    root = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    problems.lines.push_back(fmt::format("{}: {}", place(error.source()), error.description()));
    return std::unexpected(std::move(problems));
  }
  ProviderReader reader(catalog, problems);
  for (const auto& [key, node] : root) {
    const toml::array* tables = node.as_array();
    if (key.str() != "provider" || !tables || !tables->is_array_of_tables()) {
      problems.lines.push_back(
          fmt::format("{}: {}: only [[provider]] tables stand here", place(node.source()), key.str()));
      continue;
    }
    for (const toml::node& table : *tables) reader.read(*table.as_table());
  }
  if (!problems.lines.empty()) return std::unexpected(std::move(problems));
  return catalog;
}

}  // namespace danki::config
