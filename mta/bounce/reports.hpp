#pragma once

#include "base/time.hpp"
#include "mail/dsn.hpp"
#include "queue/spool.hpp"

#include <optional>
#include <string>
#include <vector>

/// Our own delivery status notifications (RFC 3464). What comes in from others (DSN, ARF) is not read here yet.
namespace danki::bounce {

struct ReportOptions {
  std::string hostname;  ///< reporting MTA; the notification comes from MAILER-DAEMON there
  std::chrono::seconds expiry{3 * 24 * 3600};
};

/// The notification on `recipients` of `message`, addressed to its reverse-path from the null reverse-path (RFC 5321
/// section 6.1), in the class, tenant and pool of the message itself. `content` is the original; may be empty if it
/// could not be read. nullopt for the null reverse-path: there is nobody to tell, and a report on a report would loop.
std::optional<queue::NewMessage> compose_report(const queue::Message& message, std::string_view content,
                                                std::vector<mail::DsnRecipient> recipients,
                                                const ReportOptions& options, TimePoint now);

}  // namespace danki::bounce
