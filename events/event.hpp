#pragma once

#include "base/time.hpp"
#include "mail/envelope.hpp"
#include "mail/reply.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace danki::events {

enum class Type : std::uint8_t {
  Accepted,
  Signed,
  Delivered,
  Deferred,
  Bounced,
  Expired,
  Suppressed,
  Complaint,
  Unsubscribed,
  Held,
  SourceState,
  PathState,
  Verdict,
  Listing,
  Warmup,
  Audit,
  Lint,
  Alert,
  Operator,
  Config,
  Error,
};
/// The `event` field: "accepted", "source_state", ...
std::string_view to_string(Type t);

/// One record of the event log. Empty strings and absent optionals are left out of the JSON line. All text may come
/// from strangers: it is escaped, invalid UTF-8 replaced.
struct Event {
  Type type = Type::Error;
  TimePoint at{};
  std::string id;  ///< message id as text
  std::string tenant;
  std::optional<mail::MailClass> klass;
  std::string campaign;
  std::string from;  ///< reverse-path; "<>" for the null one
  std::string to;    ///< forward-path
  std::optional<std::uint64_t> size;
  std::string site;
  std::string provider;
  std::string source;
  std::string source_ip;
  std::string pool;
  std::string mx;
  std::string mx_ip;
  std::optional<int> attempt;
  std::optional<mail::Reply> reply;
  std::string reply_class;
  struct Tls {
    std::string version, cipher, policy;
  };
  std::optional<Tls> tls;
  std::optional<std::int64_t> queued_ms;    ///< acceptance to this outcome
  std::optional<std::int64_t> delivery_ms;  ///< start of the transaction to its end
  std::string session;
  std::string reason;
  /// Key and value pairs of the `evidence` object; values are strings.
  std::vector<std::pair<std::string, std::string>> evidence;
};

/// The JSON line without the newline, `event_id` first, then `ts`. Appends to `out`.
void append_json(std::string& out, const Event& event, std::uint64_t event_id);

}  // namespace danki::events
