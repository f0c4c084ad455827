#include "mta/delivery/provider_table.hpp"

#include "mail/ascii.hpp"

namespace danki::delivery {

namespace {

std::string normal(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return mail::to_lower(name);
}

/// The name or the nearest of its parents that is listed.
template <class Names>
std::string_view nearest(const Names& names, std::string_view name) {
  while (true) {
    if (auto found = names.find(name); found != names.end()) return found->second;
    const std::size_t dot = name.find('.');
    if (dot == std::string_view::npos) return {};
    name.remove_prefix(dot + 1);
  }
}

}  // namespace

ProviderTable::ProviderTable(const std::vector<ProviderOptions>& providers) {
  for (const ProviderOptions& provider : providers) {
    for (const std::string& host : provider.mx) hosts_.emplace(normal(host), provider.name);
    for (const std::string& domain : provider.domains) {
      if (domain.starts_with('.')) {
        parents_.emplace(normal(domain.substr(1)), provider.name);
      } else {
        domains_.emplace(normal(domain), provider.name);
      }
    }
  }
}

std::string_view ProviderTable::of_hosts(std::span<const std::string> hosts) const {
  std::string_view provider;
  for (const std::string& host : hosts) {
    const std::string_view found = nearest(hosts_, normal(host));
    if (found.empty() || (!provider.empty() && found != provider)) return {};
    provider = found;
  }
  return provider;
}

std::string_view ProviderTable::of_domain(std::string_view domain) const {
  const std::string name = normal(domain);
  if (auto found = domains_.find(name); found != domains_.end()) return found->second;
  const std::size_t dot = name.find('.');
  return dot == std::string::npos ? std::string_view{} : nearest(parents_, std::string_view(name).substr(dot + 1));
}

}  // namespace danki::delivery
