#pragma once

#include "base/random.hpp"
#include "events/event.hpp"
#include "mail/dsn.hpp"
#include "mta/delivery/session_options.hpp"
#include "queue/spool.hpp"

#include <string>
#include <vector>

/// From what a host said to what is recorded: progress, next attempts, events and the recipients a DSN is due for.
/// Plain code.
namespace danki::delivery {

/// Where and how an attempt was made; for progress and events.
struct AttemptContext {
  std::string site;
  std::string provider;
  std::string source;
  std::string source_ip;
  std::string mx;
  std::string mx_ip;
  std::optional<events::Event::Tls> tls;
  bool host_has_dsn = false;  ///< NOTIFY was passed on: success reports are the next host's to make
  std::chrono::milliseconds duration{0};
};

struct JudgedAttempt {
  queue::Outcome outcome;  ///< nothing in `changes`: all recipients are untouched, nothing to record
  std::vector<events::Event> events;
  std::vector<mail::DsnRecipient> dsn;  ///< to be reported to the reverse-path
  unsigned delivered = 0, deferred = 0, bounced = 0, expired = 0;
  bool untouched = false;  ///< some recipient was not tried
  std::optional<mail::Reply> last_refusal;
};

struct JudgeOptions {
  const std::vector<std::chrono::seconds>* transactional_retries;
  const std::vector<std::chrono::seconds>* bulk_retries;
};

/// `results` has one result per recipient of `entry`. Times are calendar times; `random` gives the jitter. A transient
/// result past the expiry of the message becomes expired. DSNs: never for the null reverse-path, NOTIFY honoured (RFC
/// 3461 section 4.1).
JudgedAttempt judge(const queue::MessagePtr& message, const queue::DueEntry& entry,
                    const std::vector<RecipientResult>& results, const AttemptContext& context, TimePoint now,
                    const JudgeOptions& options, Random& random);

/// What kept the mail of a site from being tried: how its paths failed last, or what DNS says of the domain.
struct Hindrance {
  std::string site;  ///< or the domain, while it has none
  std::string source;
  std::string source_ip;
  std::string mx;
  std::string mx_ip;
  std::optional<mail::Reply> reply;
  std::string reason;  ///< empty: nothing is known to be in the way
  TimePoint at{};
};

/// All recipients of `entry` expire: their time is over wherever they are. Who was never tried, or not since the
/// hindrance came up, is told of it instead of the last attempt.
JudgedAttempt expire(const queue::MessagePtr& message, const queue::DueEntry& entry, const Hindrance& hindrance,
                     TimePoint now);

/// All recipients of `entry` end or wait for a reason found before any host was asked (no such domain, null MX): `kind`
/// Permanent or Transient.
JudgedAttempt refuse_unsent(const queue::MessagePtr& message, const queue::DueEntry& entry, RecipientResult::Kind kind,
                            const mail::Reply& reply, const std::string& site, TimePoint now,
                            const JudgeOptions& options, Random& random);

}  // namespace danki::delivery
