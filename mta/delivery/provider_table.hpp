#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

/// Which provider a recipient domain's mail goes to (DESIGN section 5).
namespace danki::delivery {

/// One operator of mail hosts, of the shipped catalogue (config/catalog/providers.toml).
struct ProviderOptions {
  std::string name;                  ///< "gmail"
  std::string title;                 ///< for people
  std::vector<std::string> domains;  ///< recipient domains: "example.com" exactly, ".example.com" what is below it
  std::vector<std::string> mx;       ///< MX hosts: each is this name or below it
};

/// Names found by whole labels: "notgoogle.com" is not below "google.com". Immutable; read by any thread.
class ProviderTable {
 public:
  ProviderTable() = default;
  explicit ProviderTable(const std::vector<ProviderOptions>& providers);

  /// The provider all of these hosts belong to; empty if there is none, or not one for all. `hosts` are the most
  /// preferred ones of the domain's MX set: a backup elsewhere takes no mail while they answer.
  std::string_view of_hosts(std::span<const std::string> hosts) const;
  /// By the recipient domain alone.
  std::string_view of_domain(std::string_view domain) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using Names = std::unordered_map<std::string, std::string, Hash, std::equal_to<>>;  // name: provider

  Names hosts_;
  Names domains_;
  Names parents_;  // of ".example.com", without its dot
};

}  // namespace danki::delivery
