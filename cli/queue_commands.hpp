#pragma once

#include "cli/context.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace danki::cli {

/// Which messages a verb means; what is not given means all.
struct SelectorOptions {
  std::string id, site, domain, tenant, klass, campaign;
  std::optional<std::chrono::seconds> older_than;
  bool empty() const {
    return id.empty() && site.empty() && domain.empty() && tenant.empty() && klass.empty() && campaign.empty() &&
           !older_than;
  }
};

/// `danki queue`: a line for each site that mail waits at.
ExitCode show_queue(Context& context);
/// `danki queue list`: at most `limit` entries, with --json all that fit in one document.
ExitCode list_messages(Context& context, const SelectorOptions& selector, std::size_t limit);
/// `danki queue show ID`
ExitCode show_message(Context& context, const std::string& id);
/// `danki queue show ID --raw`: the octets that the next hop would get.
ExitCode show_content(Context& context, const std::string& id);
/// `danki queue retry`: due now. An empty selector means all.
ExitCode retry_messages(Context& context, const SelectorOptions& selector);

/// Shown for tests: the selector as query parameters, beginning with "&", and as a JSON object.
std::string query_of(const SelectorOptions& selector);
std::string json_of(const SelectorOptions& selector);

}  // namespace danki::cli
