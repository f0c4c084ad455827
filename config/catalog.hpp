#pragma once

#include "config/config.hpp"
#include "mta/delivery/provider_table.hpp"

#include <string>
#include <string_view>
#include <vector>

/// The catalogues that are shipped in the program (config/catalog/*.toml).
namespace danki::config {

struct ProviderCatalog {
  std::vector<delivery::ProviderOptions> providers;
  std::vector<delivery::ShapingOptions> shaping;  ///< about one provider each, to stand before the operator's tables
};

/// `name` stands for the file in problems. Refused: an unknown key, a name listed twice, a name that no mail can have.
std::expected<ProviderCatalog, Problems> read_providers(std::string_view text, const std::string& name);

/// config/catalog/providers.toml as it was when this program was built.
std::string_view shipped_providers();

}  // namespace danki::config
