#pragma once

#include "base/time.hpp"

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace danki::submission {

struct TenantOptions;

/// A token bucket of recipients for each tenant with a rate. Survives a reload: a tenant cannot win a new burst by one.
/// Thread-safe. Bounded by the number of tenants ever configured.
class TenantRates {
 public:
  /// Takes one recipient of what the tenant may send; else says how long until one is free.
  std::optional<Duration> take(const TenantOptions& tenant, SteadyPoint now);
  /// Recipients that were taken and not sent after all.
  void give_back(const TenantOptions& tenant, std::size_t recipients);

 private:
  struct Bucket {
    double tokens;
    SteadyPoint filled_at;
  };
  std::mutex mutex_;
  std::map<std::string, Bucket, std::less<>> buckets_;
};

}  // namespace danki::submission
