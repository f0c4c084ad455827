#pragma once

#include "mail/reply.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace danki::delivery {

enum class Stage { Resolve, Bind, Connect, Banner, Ehlo, Tls, Mail, Rcpt, Data, FinalDot };
/// "connect", "banner", ... as `reason` texts and events print it.
std::string_view to_string(Stage s);

/// How the transaction ended for one recipient (DESIGN section 5, "Permanent or not").
struct RecipientResult {
  enum class Kind {
    Delivered,  ///< 2xx to the final dot
    Transient,  ///< a reply about the message or recipient says later, or the connection failed after MAIL was answered
    Permanent,  ///< 5xx to RCPT (not 552), DATA or the final dot; or the host lacks what the message needs (size,
                ///< SMTPUTF8): the reply is then our own and its text says so
    Untouched,  ///< failed before MAIL was answered, or 421 before the final dot: trouble of the path, no attempt. On
                ///< a session that goes on: others were accepted, and this one was too many for one transaction
  };
  std::uint32_t recipient = 0;
  Kind kind = Kind::Untouched;
  Stage stage = Stage::Mail;
  std::optional<mail::Reply> reply;
  std::string error;  ///< when no reply says it
};

}  // namespace danki::delivery
