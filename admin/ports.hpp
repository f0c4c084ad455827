#pragma once

#include "base/result.hpp"
#include "mail/envelope.hpp"
#include "queue/message.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

/// What the admin API asks of rooms it does not know. The daemon supplies it.
namespace danki::admin {

struct StatusView {
  std::string version, hostname;
  TimePoint started_at{};
  std::uint64_t messages = 0, recipients = 0, queued = 0;  ///< accepted since start; entries in the queue now
  std::uint64_t delivered = 0, deferred = 0, bounced = 0, expired = 0;
  std::uint64_t sessions = 0, connections_out = 0;
  std::uint64_t unrecorded_outcomes = 0;
  std::string refusing;  ///< empty: new mail is taken; else "disk reserve", "memory limit", "write failed"
  struct Source {
    std::string name, address, state, reason;  ///< state: active, pulled
    std::uint64_t delivered = 0, deferred = 0, bounced = 0, connections = 0;
  };
  std::vector<Source> sources;
  std::vector<std::string> listeners;
};

/// One line of the queue summary. Counts are recipients groups (due entries).
struct SiteView {
  std::string site, provider;
  std::uint64_t transactional = 0, bulk = 0;
  std::uint64_t ready = 0, in_flight = 0, connections = 0;
  TimePoint earliest_due{};
  std::string last_reply;  ///< of the last refusal there
  std::string state;       ///< "ok", "backing off until ...", "no MX: ..."
};

/// Which entries a verb means; empty fields mean all.
struct Selector {
  std::string id, site, domain, tenant, campaign;
  std::optional<mail::MailClass> klass;
  std::optional<std::chrono::seconds> older_than;
  bool all() const {
    return id.empty() && site.empty() && domain.empty() && tenant.empty() && campaign.empty() && !klass && !older_than;
  }
};

/// Answers come by callback on any thread; the caller posts to its own executor and works with them there.
class Ports {
 public:
  virtual ~Ports() = default;
  virtual void status(std::function<void(StatusView)> done) = 0;
  virtual void sites(std::function<void(std::vector<SiteView>)> done) = 0;
  /// Makes matching entries due now; `done` gets how many.
  virtual void retry(Selector selector, std::function<void(std::uint64_t)> done) = 0;
  /// The site a domain's mail waits at, "" if not known yet. Any thread.
  virtual std::string site_of(const std::string& domain) = 0;
  /// Finished header lines that would go before the stored content (for `queue show --raw`); any thread, may block
  /// (called on a worker).
  virtual std::string prepared_lines(queue::MessageId id) = 0;
  /// Reads the configuration file again; the error is the text for the operator.
  virtual void reload(std::function<void(Result<void>)> done) = 0;
};

}  // namespace danki::admin
