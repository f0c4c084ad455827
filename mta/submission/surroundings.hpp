#pragma once

#include "base/time.hpp"
#include "mta/submission/memory_budget.hpp"
#include "mta/submission/options.hpp"
#include "queue/spool.hpp"

#include <memory>
#include <optional>
#include <string>

namespace danki::submission {

/// What a recipient's domain turned out to be.
enum class DomainVerdict {
  Accepts,
  NotFound,
  NullMx,
  Loop,  ///< its best MX host is one of our own listeners
};

/// What a conversation asks of the server around it. Every answer comes at once.
class Surroundings {
 public:
  virtual ~Surroundings() = default;
  /// The newest.
  virtual const std::shared_ptr<const Options>& options() const = 0;
  virtual TimePoint now() const = 0;
  virtual MemoryBudget& memory() = 0;
  virtual queue::Refusal spool_refusal() const = 0;
  /// Takes one recipient of the tenant's rate; else says how long until one is free.
  virtual std::optional<Duration> take_recipient(const TenantOptions& tenant) = 0;
  virtual void give_back_recipients(const TenantOptions& tenant, std::size_t count) = 0;
  /// Empty if it need not be looked up, or is known already.
  virtual std::optional<DomainVerdict> known_domain(const std::string& domain) = 0;
  /// As Ports says.
  virtual std::string refuse_recipient(const std::string& tenant, const mail::Address& recipient) = 0;
  virtual std::string refuse_from_domain(const std::string& tenant, const std::string& from_domain) = 0;
  /// A command, a recipient or a message was refused; for counters.
  virtual void refused() = 0;
};

}  // namespace danki::submission
