#include "mta/delivery/path_limits.hpp"

#include "mail/address.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace danki::delivery {

namespace {

constexpr int kDoesNotFit = -1;

/// How narrow a table is, from 0 (the default) up; kDoesNotFit if it is about other mail.
int narrowness(const ShapingOptions& table, const std::string& source, const std::string& site,
               const std::string& provider, const std::string& domain) {
  if (!table.source.empty() && table.source != source) return kDoesNotFit;
  if (!table.domain.empty() && !mail::domain_matches(domain, table.domain)) return kDoesNotFit;
  if (!table.site.empty() && table.site != site) return kDoesNotFit;
  if (!table.provider.empty() && table.provider != provider) return kDoesNotFit;
  bool place = !table.domain.empty() || !table.site.empty();
  if (place) return table.source.empty() ? 4 : 5;
  if (!table.provider.empty()) return table.source.empty() ? 2 : 3;
  return table.source.empty() ? 0 : 1;
}

template <class T>
void apply(const Setting<T>& setting, T none, T& into) {
  if (setting.kind == Setting<T>::Kind::None) into = none;
  if (setting.kind == Setting<T>::Kind::Value) into = setting.value;
}

}  // namespace

PathLimits path_limits(const Options& options, const std::string& source, const std::string& site,
                       const std::string& provider, const std::string& domain) {
  std::vector<std::pair<int, const ShapingOptions*>> fitting;
  for (const ShapingOptions& table : options.shaping) {
    int rank = narrowness(table, source, site, provider, domain);
    if (rank != kDoesNotFit) fitting.emplace_back(rank, &table);
  }
  std::stable_sort(fitting.begin(), fitting.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  PathLimits limits;
  for (const auto& [rank, table] : fitting) {
    apply(table->connections, std::numeric_limits<std::uint32_t>::max(), limits.connections);
    apply(table->messages_per_connection, 0u, limits.messages_per_connection);
    apply(table->recipients_per_transaction, std::numeric_limits<std::uint32_t>::max(),
          limits.recipients_per_transaction);
    apply(table->tls, TlsPolicy::None, limits.tls);
    apply(table->address_family, AddressFamily::Any, limits.address_family);
  }
  limits.recipients_per_transaction = std::max(1u, limits.recipients_per_transaction);
  return limits;
}

std::string domain_kind(const Options& options, const std::string& domain) {
  std::string kind;
  for (std::size_t i = 0; i < options.shaping.size(); ++i) {
    const std::string& pattern = options.shaping[i].domain;
    if (!pattern.empty() && mail::domain_matches(domain, pattern)) kind += std::to_string(i) + ' ';
  }
  return kind;
}

PathLimits strictest(const PathLimits& a, const PathLimits& b) {
  PathLimits limits;
  limits.connections = std::min(a.connections, b.connections);
  const bool both_limited = a.messages_per_connection > 0 && b.messages_per_connection > 0;
  limits.messages_per_connection = both_limited ? std::min(a.messages_per_connection, b.messages_per_connection)
                                                : std::max(a.messages_per_connection, b.messages_per_connection);
  limits.recipients_per_transaction = std::min(a.recipients_per_transaction, b.recipients_per_transaction);
  limits.tls = std::max(a.tls, b.tls);  // in the order of strictness
  limits.address_family = a.address_family == AddressFamily::Any ? b.address_family : a.address_family;
  return limits;
}

}  // namespace danki::delivery
