#pragma once

#include "base/time.hpp"
#include "mail/envelope.hpp"
#include "mail/reply.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace danki::mail {

/// One recipient of a delivery status notification (RFC 3464 section 2.3).
struct DsnRecipient {
  Recipient recipient;
  enum class Action { Failed, Delayed, Delivered, Relayed, Expanded } action = Action::Failed;
  EnhancedStatus status;       ///< all zero: taken from the reply, else X.0.0 by the action
  std::string remote_mta;      ///< host name that replied; empty if none did
  std::optional<Reply> reply;  ///< becomes Diagnostic-Code
  std::string reason;          ///< for people, when no reply exists ("expired after 24 h")
  TimePoint last_attempt_at{};
};

struct DsnRequest {
  std::string reporting_mta;  ///< our host name
  std::string id;             ///< of the message reported on
  const Envelope* envelope;   ///< of that message
  std::vector<DsnRecipient> recipients;
  std::string_view original;  ///< its content; header section only is returned unless RET=FULL and below 64 KiB
  TimePoint now{};
  std::string boundary;  ///< unique; [A-Za-z0-9], cut at 44 octets
};

/// A complete message (multipart/report; report-type=delivery-status, RFC 3462, 3464), CRLF line ends, To: the
/// reverse-path, From: MAILER-DAEMON@reporting_mta, Auto-Submitted: auto-replied. Lines at most 998 octets whatever the
/// remote said.
/// Non-ASCII addresses or header fields of a message that came with SMTPUTF8 make it a report as in RFC 6533; otherwise
/// all header fields and the machine-readable part are ASCII. Send it with needs_smtputf8(request), and as 8BITMIME
/// unless it is all ASCII.
std::string build_dsn(const DsnRequest& request);

/// Whether the notification itself needs SMTPUTF8 on its way.
bool needs_smtputf8(const DsnRequest& request);

}  // namespace danki::mail
