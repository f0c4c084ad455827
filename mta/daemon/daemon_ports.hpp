#pragma once

#include "admin/ports.hpp"
#include "config/config.hpp"
#include "mta/bounce/reports.hpp"
#include "mta/delivery/delivery.hpp"
#include "mta/submission/server.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <string>

/// What the rooms ask of each other without knowing each other.
namespace danki::daemon {

/// The configuration in force; swapped whole at a reload. Thread-safe.
class CurrentConfig {
 public:
  explicit CurrentConfig(std::shared_ptr<const config::Config> config) : config_(std::move(config)) {}
  std::shared_ptr<const config::Config> get() const;
  void set(std::shared_ptr<const config::Config> config);

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const config::Config> config_;  // shared with whoever works by it at the moment
};

/// Submission asks: may this leave?
class SubmissionPorts final : public submission::Ports {
 public:
  explicit SubmissionPorts(const CurrentConfig& config) : config_(config) {}
  std::string refuse_from_domain(const std::string& tenant, const std::string& from_domain) override;
  std::string refuse_recipient(const std::string& tenant, const mail::Address& recipient) override;

 private:
  const CurrentConfig& config_;
};

/// Delivery asks: what does the sender hear?
class DeliveryPorts final : public delivery::Ports {
 public:
  DeliveryPorts(const CurrentConfig& config, const Clock& clock) : config_(config), clock_(clock) {}
  std::optional<queue::NewMessage> compose_dsn(const queue::Message& message, const std::string& content,
                                               std::vector<mail::DsnRecipient> recipients) override;

 private:
  const CurrentConfig& config_;
  const Clock& clock_;
};

/// The admin API asks: how do things stand?
class AdminPorts final : public admin::Ports {
 public:
  AdminPorts(const CurrentConfig& config, queue::Spool& spool, submission::Server& server, delivery::Delivery& delivery,
             TimePoint started_at, std::function<void(std::function<void(Result<void>)>)> reload)
      : config_(config),
        spool_(spool),
        server_(server),
        delivery_(delivery),
        started_at_(started_at),
        reload_(std::move(reload)) {}
  void status(std::function<void(admin::StatusView)> done) override;
  void sites(std::function<void(std::vector<admin::SiteView>)> done) override;
  void retry(admin::Selector selector, std::function<void(std::uint64_t)> done) override;
  std::string site_of(const std::string& domain) override;
  std::string prepared_lines(queue::MessageId id) override;
  void reload(std::function<void(Result<void>)> done) override;

 private:
  const CurrentConfig& config_;
  queue::Spool& spool_;
  submission::Server& server_;
  delivery::Delivery& delivery_;
  TimePoint started_at_;
  std::function<void(std::function<void(Result<void>)>)> reload_;
};

}  // namespace danki::daemon
