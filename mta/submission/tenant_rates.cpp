#include "mta/submission/tenant_rates.hpp"

#include "mta/submission/options.hpp"

#include <algorithm>
#include <cmath>

namespace danki::submission {

std::optional<Duration> TenantRates::take(const TenantOptions& tenant, SteadyPoint now) {
  if (tenant.rate_per_second <= 0) return std::nullopt;
  const double burst = std::max(1.0, tenant.rate_burst);
  std::lock_guard lock(mutex_);
  auto [entry, is_new] = buckets_.try_emplace(tenant.name, Bucket{burst, now});
  Bucket& bucket = entry->second;
  if (now > bucket.filled_at) {
    const double seconds = std::chrono::duration<double>(now - bucket.filled_at).count();
    bucket.tokens += seconds * tenant.rate_per_second;
    bucket.filled_at = now;
  }
  bucket.tokens = std::min(bucket.tokens, burst);
  if (bucket.tokens >= 1) {
    bucket.tokens -= 1;
    return std::nullopt;
  }
  const double wait = (1 - bucket.tokens) / tenant.rate_per_second;
  return Duration(static_cast<std::int64_t>(std::ceil(std::min(wait, 1e9) * 1000 - 1e-6)));  // but for rounding
}

void TenantRates::give_back(const TenantOptions& tenant, std::size_t recipients) {
  if (tenant.rate_per_second <= 0) return;
  std::lock_guard lock(mutex_);
  const auto entry = buckets_.find(tenant.name);
  if (entry == buckets_.end()) return;
  entry->second.tokens =
      std::min(std::max(1.0, tenant.rate_burst), entry->second.tokens + static_cast<double>(recipients));
}

}  // namespace danki::submission
