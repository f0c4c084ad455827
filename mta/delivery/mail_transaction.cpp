#include "mta/delivery/mail_transaction.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

#include <fmt/format.h>

namespace danki::delivery {
namespace {

constexpr int kServiceClosing = 421;     ///< RFC 5321 section 3.8: may come in reply to any command
constexpr int kTooManyRecipients = 552;  ///< at RCPT it means 452, RFC 5321 section 4.5.3.1.10
constexpr std::string_view kSaidByUs = "(found by this relay from the host's EHLO, before sending)";

/// "Too many recipients" is about the transaction, not about the recipient (RFC 5321 section 4.5.3.1.10). Without an
/// enhanced status it may also mean a full disk or mailbox: then the next transaction says so again.
bool is_too_many(const mail::Reply& reply) {
  if (reply.code != 452 && reply.code != kTooManyRecipients) return false;
  return !reply.enhanced || (reply.enhanced->subject == 5 && reply.enhanced->detail == 3);
}

mail::Reply own_reply(int code, mail::EnhancedStatus enhanced, std::string_view text) {
  return mail::Reply{.code = code, .enhanced = enhanced, .text = fmt::format("{} {}", text, kSaidByUs)};
}

/// The stage in the words of people who know SMTP.
std::string_view spoken(Stage stage) {
  switch (stage) {
    case Stage::Mail:
      return "MAIL";
    case Stage::Rcpt:
      return "RCPT";
    case Stage::Data:
      return "DATA";
    case Stage::FinalDot:
      return "the final dot";
    default:
      return to_string(stage);
  }
}

std::string describe(const Error& error, Stage stage) {
  if (error.code == std::errc::timed_out) return fmt::format("timed out during {}", spoken(stage));
  if (error.code == std::errc::bad_message) return fmt::format("bad reply during {}: {}", spoken(stage), error.detail);
  return fmt::format("connection lost during {}: {}", spoken(stage), error.message());
}

void append_path(const mail::Address& address, std::string& out) {
  out += '<';
  out += address.local;
  if (!address.domain.empty()) {
    out += '@';
    out += address.domain;
  }
  out += '>';
}

void append_notify(std::uint8_t notify, std::string& out) {  // RFC 3461 section 4.1
  if (notify == mail::kNotifyUnset) return;
  if ((notify & mail::kNotifyNever) != 0) {
    out += " NOTIFY=NEVER";
    return;
  }
  std::string_view separator = " NOTIFY=";
  for (const auto& [bit, word] : {std::pair{mail::kNotifySuccess, "SUCCESS"},
                                  std::pair{mail::kNotifyFailure, "FAILURE"}, std::pair{mail::kNotifyDelay, "DELAY"}}) {
    if ((notify & bit) == 0) continue;
    out += separator;
    out += word;
    separator = ",";
  }
}

}  // namespace

MailTransaction::Step MailTransaction::start(const mail::Envelope& envelope, std::span<const std::uint32_t> recipients,
                                             ContentTraits content, const Extensions& extensions) {
  assert(session_usable_);
  envelope_ = &envelope;
  content_ = content;
  extensions_ = extensions;
  phase_ = reset_first_ ? Phase::Reset : Phase::Mail;
  outstanding_ = rcpts_sent_ = rcpts_answered_ = accepted_ = 0;
  mail_sent_ = mail_accepted_ = false;
  asked_.clear();
  settled_.assign(recipients.size(), false);
  results_.clear();
  results_.reserve(recipients.size());
  for (const std::uint32_t recipient : recipients) results_.emplace_back().recipient = recipient;

  settle_what_the_host_lacks(content);
  for (std::uint32_t slot = 0; slot < results_.size(); ++slot) {
    if (!settled_[slot]) asked_.push_back(slot);
  }
  return asked_.empty() ? Step::Finish : send_flight();
}

void MailTransaction::settle_what_the_host_lacks(const ContentTraits& content) {
  if (extensions_.max_size != 0 && content.octets > extensions_.max_size) {  // RFC 1870 section 6.1
    const mail::Reply reply = own_reply(
        552, {5, 3, 4},
        fmt::format("message of {} octets exceeds the host's limit of {}", content.octets, extensions_.max_size));
    settle_rest(Kind::Permanent, Stage::Mail, &reply);
    return;
  }
  const bool reverse_path_needs = envelope_->reverse_path.needs_smtputf8();
  bool address_needs = reverse_path_needs;
  for (std::size_t slot = 0; slot < results_.size(); ++slot) {
    const bool needs = envelope_->recipients[results_[slot].recipient].address.needs_smtputf8();
    address_needs = address_needs || needs;
    // RFC 6531 section 3.2: nothing internationalised may go to a host that does not know of it.
    if (extensions_.smtputf8 || (!needs && !reverse_path_needs && !content.header_utf8)) continue;
    const mail::Reply reply = own_reply(550, {5, 6, 7}, "SMTPUTF8 is needed and the host does not offer it");
    settle(slot, Kind::Permanent, Stage::Mail, &reply);
  }
  utf8_ = extensions_.smtputf8 && (address_needs || envelope_->smtputf8);
}

MailTransaction::Step MailTransaction::send_flight() {
  commands_.clear();
  const auto may_send = [this] { return extensions_.pipelining || outstanding_ == 0; };
  if (phase_ == Phase::Reset) {
    commands_ += "RSET\r\n";
    ++outstanding_;
  }
  if (!mail_sent_ && may_send()) append_mail();
  std::size_t in_flight = 0;
  while (mail_sent_ && rcpts_sent_ < asked_.size() && in_flight < kMaxRcptsPerFlight && may_send()) {
    append_rcpt(envelope_->recipients[results_[asked_[rcpts_sent_]].recipient]);
    ++in_flight;
  }
  if (rcpts_sent_ == asked_.size() && may_send()) {
    if (rcpts_answered_ == asked_.size() && accepted_ == 0) return finish();  // nobody is left to send content to
    commands_ += "DATA\r\n";
    ++outstanding_;
  }
  return Step::Send;
}

void MailTransaction::append_mail() {
  auto out = std::back_inserter(commands_);
  commands_ += "MAIL FROM:";
  append_path(envelope_->reverse_path, commands_);
  if (extensions_.size) fmt::format_to(out, " SIZE={}", content_.octets);
  if (extensions_.eightbitmime && content_.eight_bit) commands_ += " BODY=8BITMIME";
  if (utf8_) commands_ += " SMTPUTF8";
  if (extensions_.dsn) {
    if (envelope_->ret == mail::DsnReturn::Full) commands_ += " RET=FULL";
    if (envelope_->ret == mail::DsnReturn::Headers) commands_ += " RET=HDRS";
    if (!envelope_->envid.empty()) fmt::format_to(out, " ENVID={}", envelope_->envid);
  }
  commands_ += "\r\n";
  mail_sent_ = true;
  ++outstanding_;
}

void MailTransaction::append_rcpt(const mail::Recipient& recipient) {
  commands_ += "RCPT TO:";
  append_path(recipient.address, commands_);
  if (extensions_.dsn) {
    append_notify(recipient.notify, commands_);
    if (!recipient.orcpt.empty()) {
      commands_ += " ORCPT=";
      commands_ += recipient.orcpt;
    }
  }
  commands_ += "\r\n";
  ++rcpts_sent_;
  ++outstanding_;
}

Stage MailTransaction::awaiting() const {
  switch (phase_) {
    case Phase::Reset:
    case Phase::Mail:
      return Stage::Mail;
    case Phase::Rcpt:
      return Stage::Rcpt;
    case Phase::Data:
      return Stage::Data;
    default:
      return Stage::FinalDot;
  }
}

MailTransaction::Step MailTransaction::on_reply(const mail::Reply& reply) {
  if (outstanding_ > 0) --outstanding_;
  if (reply.code == kServiceClosing) return on_service_closing(reply);
  switch (phase_) {
    case Phase::Reset:
      // A host that will not forget the transaction before cannot be given the next one.
      if (!reply.positive()) return on_nonsense(reply);
      reset_first_ = false;
      phase_ = Phase::Mail;
      return advance();
    case Phase::Mail:
      return on_mail_reply(reply);
    case Phase::Rcpt:
      return on_rcpt_reply(reply);
    case Phase::Data:
      return on_data_reply(reply);
    case Phase::LoneDot:
      return finish();  // whatever it says of a message to nobody
    case Phase::FinalDot:
      return on_final_reply(reply);
    case Phase::Over:
      break;
  }
  return on_nonsense(reply);
}

/// After one reply: the next due one, or the next commands.
MailTransaction::Step MailTransaction::advance() {
  if (outstanding_ > 0) return Step::Read;
  if (mail_sent_ && !mail_accepted_ && phase_ != Phase::Mail) return finish();  // MAIL was refused
  return send_flight();
}

MailTransaction::Step MailTransaction::finish() {
  // The final dot ends the transaction at the host whatever it answers. Without one the reverse-path is still there:
  // RSET goes ahead of the next MAIL, which costs no round trip where the host pipelines, and none at all before QUIT.
  reset_first_ = mail_accepted_ && phase_ != Phase::LoneDot && phase_ != Phase::FinalDot;
  phase_ = Phase::Over;
  return Step::Finish;
}

MailTransaction::Step MailTransaction::on_mail_reply(const mail::Reply& reply) {
  if (reply.intermediate()) return on_nonsense(reply);
  mail_accepted_ = reply.positive();
  // A 5xx to MAIL may blame the address we come from: nobody bounces for it before it has been classified.
  if (!mail_accepted_) settle_rest(Kind::Transient, Stage::Mail, &reply);
  phase_ = Phase::Rcpt;
  return advance();
}

MailTransaction::Step MailTransaction::on_rcpt_reply(const mail::Reply& reply) {
  const std::size_t slot = asked_[rcpts_answered_];
  if (mail_accepted_) {
    if (reply.intermediate()) return on_nonsense(reply);
    const bool later = reply.transient() || reply.code == kTooManyRecipients;
    if (reply.positive()) {
      ++accepted_;
    } else if (accepted_ > 0 && is_too_many(reply)) {
      settle(slot, Kind::Untouched, Stage::Rcpt, &reply);  // its turn comes in a transaction of its own
    } else {
      settle(slot, later ? Kind::Transient : Kind::Permanent, Stage::Rcpt, &reply);
    }
  }
  if (++rcpts_answered_ == asked_.size()) phase_ = Phase::Data;
  return advance();
}

MailTransaction::Step MailTransaction::on_data_reply(const mail::Reply& reply) {
  if (reply.positive()) return on_nonsense(reply);
  if (reply.intermediate()) {
    ++outstanding_;
    if (accepted_ > 0) {
      phase_ = Phase::FinalDot;
      return Step::SendContent;
    }
    // RFC 2920 section 3.1: DATA was in the flight and the host took it although it took no recipient.
    phase_ = Phase::LoneDot;
    commands_ = ".\r\n";
    return Step::Send;
  }
  settle_rest(reply.transient() ? Kind::Transient : Kind::Permanent, Stage::Data, &reply);
  return finish();
}

MailTransaction::Step MailTransaction::on_final_reply(const mail::Reply& reply) {
  if (reply.intermediate()) return on_nonsense(reply);
  const Kind kind = reply.positive() ? Kind::Delivered : reply.transient() ? Kind::Transient : Kind::Permanent;
  settle_rest(kind, Stage::FinalDot, &reply);
  return finish();
}

/// 421: the session is over. Only in reply to the final dot does it say something about the message.
MailTransaction::Step MailTransaction::on_service_closing(const mail::Reply& reply) {
  session_usable_ = false;
  closing_stage_ = awaiting();
  closing_reply_ = reply;
  settle_rest(phase_ == Phase::FinalDot ? Kind::Transient : Kind::Untouched, awaiting(), &reply);
  return finish();
}

/// A reply that cannot be an answer to the command (354 to RCPT, 250 to DATA): from here on host and client may talk
/// past each other, and a 250 meant for one command be taken for another.
MailTransaction::Step MailTransaction::on_nonsense(const mail::Reply& reply) {
  return on_broken(Error(std::errc::bad_message, "unexpected " + reply.to_string()));
}

MailTransaction::Step MailTransaction::on_broken(const Error& error) {
  const Stage stage = awaiting();
  session_usable_ = false;
  closing_stage_ = stage;
  closing_error_ = describe(error, stage);
  settle_rest(stage == Stage::Mail ? Kind::Untouched : Kind::Transient, stage, nullptr, closing_error_);
  return finish();
}

MailTransaction::Step MailTransaction::on_content_cut(const Error& error, const mail::Reply* reply) {
  session_usable_ = false;
  closing_stage_ = Stage::Data;
  closing_error_ = describe(error, Stage::Data);
  if (reply != nullptr) closing_reply_ = *reply;
  if (reply != nullptr && reply->code == kServiceClosing) {
    settle_rest(Kind::Untouched, Stage::Data, reply);
  } else if (reply != nullptr && (reply->permanent() || reply->transient())) {
    settle_rest(reply->permanent() ? Kind::Permanent : Kind::Transient, Stage::Data, reply);
  } else {
    settle_rest(Kind::Transient, Stage::Data, nullptr, closing_error_);  // a 250 now would be about half a message
  }
  return finish();
}

void MailTransaction::settle(std::size_t slot, Kind kind, Stage stage, const mail::Reply* reply,
                             const std::string& error) {
  settled_[slot] = true;
  RecipientResult& result = results_[slot];
  result.kind = kind;
  result.stage = stage;
  if (reply != nullptr) result.reply = *reply;
  result.error = error;
}

/// All who have no outcome of their own yet.
void MailTransaction::settle_rest(Kind kind, Stage stage, const mail::Reply* reply, const std::string& error) {
  for (std::size_t slot = 0; slot < results_.size(); ++slot) {
    if (!settled_[slot]) settle(slot, kind, stage, reply, error);
  }
}

}  // namespace danki::delivery
