#pragma once

#include "base/result.hpp"
#include "mail/envelope.hpp"
#include "mail/reply.hpp"
#include "mta/delivery/extensions.hpp"
#include "mta/delivery/session_result.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace danki::delivery {

/// RCPTs sent before their replies are read. Their replies (about 80 octets each) must fit the host's and our socket
/// buffers while we still write: RFC 2920 section 3.1, the client must not end in a deadlock.
inline constexpr std::size_t kMaxRcptsPerFlight = 100;

/// What the commands must say about the content.
struct ContentTraits {
  std::uint64_t octets = 0;  ///< before dot-stuffing, header lines included: what SIZE= counts (RFC 1870 section 5)
  bool eight_bit = false;    ///< an octet above 127 in it
  bool header_utf8 = false;  ///< one in the header section of mail that was submitted with SMTPUTF8
};

/// One outbound mail transaction after another on one connection (RFC 5321 section 3.3), and what each reply means for
/// each recipient (DESIGN section 5). Knows SMTP; knows no sockets and no clock. It is told what happened and answers
/// what to do next. With PIPELINING the commands go in flights and their replies are then read one by one; without it
/// each flight is one command.
///
/// Content with octets above 127 goes unchanged also to a host without 8BITMIME: refusing would lose mail that nearly
/// every host takes, and converting breaks signatures unless the message is signed anew.
class MailTransaction {
 public:
  enum class Step {
    Send,         ///< write commands(), then read a reply
    Read,         ///< more replies to earlier commands are due: read one
    SendContent,  ///< write content and final dot, then read a reply
    Finish,       ///< results() are there
  };

  /// Begins anew with `recipients` of `envelope` (indices into it), which both outlive the transaction. A host that
  /// lacks what the message needs settles recipients here, and when none is left nothing is sent.
  Step start(const mail::Envelope& envelope, std::span<const std::uint32_t> recipients, ContentTraits content,
             const Extensions& extensions);
  Step on_reply(const mail::Reply& reply);
  /// The connection failed, timed out or said what is no reply, while the reply to awaiting() was due or commands were
  /// written. `error` std::errc::bad_message: no SMTP came; its detail says what was wrong.
  Step on_broken(const Error& error);
  /// The content could not be written whole; `reply` is what the host said instead of reading on, null if nothing.
  /// Whatever it says, nothing was delivered: the final dot never left.
  Step on_content_cut(const Error& error, const mail::Reply* reply);

  const std::string& commands() const { return commands_; }
  /// Whose reply comes next: Mail (for RSET also), Rcpt, Data or FinalDot.
  Stage awaiting() const;
  /// One per recipient, in the order given to start(); moved out.
  std::vector<RecipientResult> take_results() { return std::move(results_); }
  /// False: nothing more may be said on this connection. The next start() must be on a new MailTransaction.
  bool session_usable() const { return session_usable_; }
  /// Where the session ended, when it did.
  Stage closing_stage() const { return closing_stage_; }
  /// The reply that ended it, if one did.
  const std::optional<mail::Reply>& closing_reply() const { return closing_reply_; }
  /// What ended the session when no reply did.
  const std::string& closing_error() const { return closing_error_; }

 private:
  using Kind = RecipientResult::Kind;
  enum class Phase { Reset, Mail, Rcpt, Data, LoneDot, FinalDot, Over };

  void settle_what_the_host_lacks(const ContentTraits& content);
  Step send_flight();
  void append_mail();
  void append_rcpt(const mail::Recipient& recipient);
  Step advance();
  Step finish();
  Step on_mail_reply(const mail::Reply& reply);
  Step on_rcpt_reply(const mail::Reply& reply);
  Step on_data_reply(const mail::Reply& reply);
  Step on_final_reply(const mail::Reply& reply);
  Step on_service_closing(const mail::Reply& reply);
  Step on_nonsense(const mail::Reply& reply);
  void settle(std::size_t slot, Kind kind, Stage stage, const mail::Reply* reply, const std::string& error = {});
  void settle_rest(Kind kind, Stage stage, const mail::Reply* reply, const std::string& error = {});

  const mail::Envelope* envelope_ = nullptr;
  ContentTraits content_;
  Extensions extensions_;
  bool utf8_ = false;  ///< SMTPUTF8 is said with MAIL

  std::vector<RecipientResult> results_;
  std::vector<bool> settled_;         ///< by slot: an index into results_
  std::vector<std::uint32_t> asked_;  ///< slots that get a RCPT, in that order
  std::string commands_;

  Phase phase_ = Phase::Over;    ///< whose reply is due next, or which command comes next
  std::size_t outstanding_ = 0;  ///< replies due
  std::size_t rcpts_sent_ = 0, rcpts_answered_ = 0, accepted_ = 0;
  bool mail_sent_ = false, mail_accepted_ = false;

  bool reset_first_ = false;  ///< the transaction before left a reverse-path at the host
  bool session_usable_ = true;
  Stage closing_stage_ = Stage::Mail;
  std::optional<mail::Reply> closing_reply_;
  std::string closing_error_;
};

}  // namespace danki::delivery
