#include "mta/submission/conversation.hpp"

#include "mail/ascii.hpp"
#include "queue/errc.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

namespace danki::submission {
namespace {

// Pipelined commands are shorter than their replies: send before the replies take more memory than this.
constexpr std::size_t kMaxUnsentReplyBytes = 16 * 1024;

// A chunk that is refused must be read all the same, or its octets would be taken for commands. Beyond this it is
// cheaper for both sides to begin anew.
constexpr std::uint64_t kMaxSkippedChunkBytes = 1ull << 30;

// Recipients of one transaction that hear "not now" before each more counts as an error. A client may pipeline a list
// that is longer than our limit, and takes the rest in its next transaction; one that goes on beyond this does not
// listen.
constexpr std::uint32_t kMaxDeferredRecipients = 10'000;

bool belongs_to(std::string_view domain, const TenantOptions& tenant) {
  return std::any_of(tenant.domains.begin(), tenant.domains.end(),
                     [&](const std::string& pattern) { return mail::domain_matches(domain, pattern); });
}

std::optional<Answer> refuse_reverse_path(const mail::Address& path, const TenantOptions& tenant) {
  if (path.is_null()) {
    if (tenant.allow_null_sender) return std::nullopt;
    return Answer{550, "5.7.1", fmt::format("{} may not use the null reverse-path", tenant.name)};
  }
  if (belongs_to(path.domain, tenant)) return std::nullopt;
  return Answer{550, "5.7.1", fmt::format("return path domain {} is not one of {}'s", path.domain, tenant.name)};
}

std::optional<Answer> refuse_for_spool(queue::Refusal refusal) {
  switch (refusal) {
    case queue::Refusal::None:
      return std::nullopt;
    case queue::Refusal::DiskReserve:
      return Answer{452, "4.3.1", "no room on disk for new mail now"};
    case queue::Refusal::MemoryLimit:
      return Answer{452, "4.3.1", "no memory for new mail now"};
    case queue::Refusal::WriteFailed:
      return Answer{451, "4.3.0", "mail cannot be stored now"};
  }
  return std::nullopt;
}

}  // namespace

Conversation::Conversation(Surroundings& surroundings, Start start)
    : surroundings_(surroundings),
      listener_(std::move(start.listener)),
      session_id_(std::move(start.session_id)),
      client_(std::move(start.client)),
      is_trusted_(start.is_trusted),
      is_tls_(start.is_tls) {}

void Conversation::greet() {
  reply(220, "", fmt::format("{} ESMTP Danki", surroundings_.options()->hostname));
}

Conversation::Step Conversation::advance(std::string_view input) {
  std::size_t used = 0;
  while (need_ == Need::Input && used < input.size()) {
    if (replies_.size() > kMaxUnsentReplyBytes) return {used, Need::Flush};
    const std::size_t taken = take(input.substr(used));
    if (taken == 0) break;  // the line's end has not come
    used += taken;
  }
  return {used, need_};
}

std::size_t Conversation::take(std::string_view input) {
  switch (phase_) {
    case Phase::Data:
      return take_data(input);
    case Phase::Chunk:
      return take_chunk(input);
    case Phase::SkipChunk:
      return skip_chunk(input);
    case Phase::Command:
    case Phase::AuthResponse:
    case Phase::SkipLine:
      break;
  }
  return take_line(input);
}

std::size_t Conversation::take_line(std::string_view input) {
  const std::string_view within = input.substr(0, kMaxLineBytes);
  const std::size_t newline = within.find('\n');
  if (newline == std::string_view::npos) {
    if (within.size() < kMaxLineBytes && phase_ != Phase::SkipLine) return 0;
    if (phase_ == Phase::AuthResponse) sasl_.reset();
    phase_ = Phase::SkipLine;
    return within.size();
  }
  if (phase_ == Phase::SkipLine) {
    phase_ = Phase::Command;
    fail(500, "5.5.2", "line too long");
  } else if (newline == 0 || within[newline - 1] != '\r') {
    sasl_.reset();
    phase_ = Phase::Command;
    fail(500, "5.5.2", "a line ends in CRLF");  // RFC 5321 section 2.3.8
  } else {
    on_line(within.substr(0, newline - 1));
  }
  return newline + 1;
}

void Conversation::on_line(std::string_view line) {
  if (phase_ == Phase::AuthResponse) {
    phase_ = Phase::Command;
    return on_sasl(sasl_->on_line(line));
  }
  on_command(parse_command(line));
}

void Conversation::on_command(const Command& command) {
  switch (command.verb) {
    case Verb::Mail:
      return mail(command.argument);
    case Verb::Rcpt:
      return rcpt(command.argument);
    case Verb::Data:
      return data(command.argument);
    case Verb::Bdat:
      return bdat(command.argument);
    case Verb::Ehlo:
    case Verb::Helo:
      return helo(command.argument, command.verb == Verb::Ehlo);
    case Verb::StartTls:
      return start_tls(command.argument);
    case Verb::Auth:
      return auth(command.argument);
    case Verb::Rset:
      if (!command.argument.empty()) return fail(501, "5.5.4", "RSET takes nothing");
      transaction_.reset();
      mail_refused_ = false;
      return reply(250, "2.0.0", "reset");
    case Verb::Noop:
      return reply(250, "2.0.0", "ok");
    case Verb::Vrfy:
      if (command.argument.empty()) return fail(501, "5.5.4", "VRFY takes an address");
      return reply(252, "2.1.5", "send some mail, and see");
    case Verb::Help:
      return reply(214, "2.0.0", "commands: EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT");
    case Verb::Quit:
      need_ = Need::Close;
      return reply(221, "2.0.0", "bye");
    case Verb::Expn:
      return fail(502, "5.5.1", "no lists here");
    case Verb::Unknown:
      return fail(500, "5.5.2", "no such command");
  }
}

void Conversation::helo(std::string_view name, bool is_extended) {
  if (!is_helo_name(name)) return fail(501, "5.5.4", is_extended ? "EHLO takes your name" : "HELO takes your name");
  transaction_.reset();
  mail_refused_ = false;
  helo_ = name;
  is_extended_ = is_extended;
  const std::shared_ptr<const Options> options = surroundings_.options();
  if (!is_extended) return reply(250, "", options->hostname);
  fmt::format_to(std::back_inserter(replies_), "250-{}\r\n", options->hostname);
  if (listener_->tls == ListenerTls::StartTls && !is_tls_) replies_ += "250-STARTTLS\r\n";
  if (may_authenticate() && tenant_.empty()) replies_ += "250-AUTH PLAIN LOGIN\r\n";
  replies_ +=
      "250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-DSN\r\n";
  fmt::format_to(std::back_inserter(replies_), "250 SIZE {}\r\n", options->limits.message_bytes);
}

void Conversation::start_tls(std::string_view argument) {
  if (listener_->tls != ListenerTls::StartTls) return fail(502, "5.5.1", "no STARTTLS here");
  if (is_tls_) return fail(503, "5.5.1", "TLS is on");
  if (!argument.empty()) return fail(501, "5.5.4", "STARTTLS takes nothing");
  reply(220, "2.0.0", "go ahead");
  need_ = Need::StartTls;
}

void Conversation::on_tls() {
  need_ = Need::Input;
  is_tls_ = true;
  reset();  // RFC 3207 section 4.2: nothing that was said in the clear counts
}

void Conversation::reset() {
  transaction_.reset();
  helo_.clear();
  tenant_.clear();
  is_extended_ = false;
}

void Conversation::auth(std::string_view argument) {
  if (!is_extended_) return fail(503, "5.5.1", "EHLO first");
  if (!tenant_.empty()) return fail(503, "5.5.1", "authenticated already");
  if (transaction_) return fail(503, "5.5.1", "not during a mail transaction");
  if (!may_authenticate()) return fail(530, "5.7.0", "TLS first");
  if (argument.empty()) return fail(501, "5.5.4", "AUTH takes a mechanism");
  sasl_ = std::make_unique<SaslExchange>();
  on_sasl(sasl_->start(argument));
}

void Conversation::on_sasl(SaslExchange::Step step) {
  if (const auto* challenge = std::get_if<SaslExchange::Challenge>(&step)) {
    phase_ = Phase::AuthResponse;
    replies_ += "334 ";
    replies_ += challenge->text;
    replies_ += "\r\n";
    return;
  }
  sasl_.reset();
  if (const auto* no = std::get_if<Answer>(&step)) return fail(*no);
  credentials_ = std::make_unique<Credentials>(std::move(std::get<Credentials>(step)));
  need_ = Need::Password;
}

Credentials Conversation::take_credentials() {
  claimed_ = credentials_->name;
  Credentials credentials = std::move(*credentials_);
  credentials_.reset();
  return credentials;
}

void Conversation::on_password(AuthVerdict verdict) {
  need_ = Need::Input;
  switch (verdict) {
    case AuthVerdict::Accepted:
      tenant_ = std::move(claimed_);
      return reply(235, "2.7.0", "authenticated");
    case AuthVerdict::Refused:
      return fail(535, "5.7.8", "wrong name or password");
    case AuthVerdict::Busy:
      return reply(454, "4.7.0", "too much to check now, try again");
    case AuthVerdict::TooManyFailures:
      return close("4.7.0", "too many failed authentications from your address");
  }
}

const TenantOptions* Conversation::tenant_of(const Options& options) const {
  const std::string* name = &tenant_;
  if (tenant_.empty() && is_trusted_) name = &listener_->tenant_for_trusted;
  const auto tenant = options.tenants.find(*name);
  return tenant != options.tenants.end() ? &tenant->second : nullptr;
}

void Conversation::mail(std::string_view argument) {
  if (helo_.empty()) return fail(503, "5.5.1", "EHLO first");
  if (transaction_) return fail(503, "5.5.1", "a mail transaction is under way");
  std::shared_ptr<const Options> options = surroundings_.options();
  const TenantOptions* tenant = tenant_of(*options);
  if (tenant == nullptr && listener_->require_auth) {
    return fail(530, "5.7.0", may_authenticate() ? "authentication required" : "TLS and authentication required");
  }
  mail_refused_ = true;  // until it is not
  auto command = parse_mail(argument);
  if (!command) return tenant == nullptr ? fail(command.error()) : refuse(command.error());
  if (command->size > options->limits.message_bytes) {
    return refuse({552, "5.3.4", fmt::format("over {} octets", options->limits.message_bytes)});
  }
  if (tenant != nullptr) {
    if (auto no = refuse_reverse_path(command->reverse_path, *tenant)) return refuse(*no);
  }
  if (auto no = refuse_for_spool(surroundings_.spool_refusal())) return refuse(*no);
  mail_refused_ = false;
  ++transactions_;
  deferred_recipients_ = 0;
  transaction_ = std::make_unique<Transaction>(surroundings_, std::move(options), tenant, std::move(*command));
  reply(250, "2.1.0", "sender ok");
}

void Conversation::rcpt(std::string_view argument) {
  if (!transaction_) return fail_without_mail();
  if (transaction_->content_began()) return fail(503, "5.5.1", "the content has begun");
  auto recipient = parse_rcpt(argument, transaction_->smtputf8());
  // A tenant's mistyped addresses are everyday business and no reason to hang up.
  if (!recipient) return transaction_->tenant() == nullptr ? fail(recipient.error()) : refuse(recipient.error());
  if (recipient->address.domain.empty()) recipient->address.domain = transaction_->options().hostname;  // <Postmaster>
  if (auto no = transaction_->refuse(*recipient)) {
    return transaction_->tenant() == nullptr ? fail(*no) : refuse_recipient(*no);
  }
  recipient_ = std::make_unique<mail::Recipient>(std::move(*recipient));
  if (!listener_->check_recipient_domain) return add_recipient();
  if (const auto known = surroundings_.known_domain(recipient_->address.domain)) return on_domain(*known);
  need_ = Need::Domain;
}

void Conversation::refuse_recipient(const Answer& answer) {
  if (answer.code < 500 && ++deferred_recipients_ > kMaxDeferredRecipients) return fail(answer);
  refuse(answer);
}

/// A client that pipelines has sent the rest before it heard that MAIL was refused: no error of its own.
void Conversation::fail_without_mail() {
  if (mail_refused_) return refuse({503, "5.5.1", "MAIL was refused"});
  fail(503, "5.5.1", "MAIL first");
}

const std::string& Conversation::domain() const {
  return recipient_->address.domain;
}

void Conversation::on_domain(DomainVerdict verdict) {
  need_ = Need::Input;
  switch (verdict) {
    case DomainVerdict::NotFound:
      refuse({550, "5.1.2", fmt::format("domain {} does not exist", domain())});
      break;
    case DomainVerdict::NullMx:
      refuse({556, "5.1.10", fmt::format("domain {} accepts no mail (null MX)", domain())});
      break;
    case DomainVerdict::Loop:
      refuse({554, "5.4.6", fmt::format("mail for {} leads back to this relay", domain())});
      break;
    case DomainVerdict::Accepts:
      return add_recipient();
  }
  recipient_.reset();
}

void Conversation::add_recipient() {
  const auto recipient = std::move(recipient_);
  if (auto no = transaction_->add(std::move(*recipient))) return refuse_recipient(*no);
  reply(250, "2.1.5", "recipient ok");
}

void Conversation::data(std::string_view argument) {
  if (!transaction_) return fail_without_mail();
  if (transaction_->content_began()) return fail(503, "5.5.1", "the content comes in chunks");
  if (!argument.empty()) return fail(501, "5.5.4", "DATA takes nothing");
  if (transaction_->recipients() == 0) {
    const Answer no{554, "5.5.1", "no valid recipients"};
    return transaction_->tenant() == nullptr ? fail(no) : refuse(no);
  }
  ++contents_;
  begin_content();
  phase_ = Phase::Data;
  reply(354, "", "end with CRLF.CRLF");
}

void Conversation::bdat(std::string_view argument) {
  const auto command = parse_bdat(argument);
  if (!command) return fail(501, "5.5.4", "BDAT takes a size and perhaps LAST");
  chunk_left_ = command->size;
  chunk_is_last_ = command->last;
  if (chunk_left_ > kMaxSkippedChunkBytes) {
    refuse({552, "5.3.4", "the chunk is too large even to be refused in order"});
    return close("4.7.0", "closing instead of reading it");
  }
  phase_ = Phase::SkipChunk;
  if (!holds_content()) ++contents_;
  if (transaction_ && transaction_->recipients() != 0) {
    if (!transaction_->content_began()) begin_content();
    phase_ = Phase::Chunk;
  }
  if (chunk_left_ == 0) end_chunk();
}

void Conversation::begin_content() {
  const std::string id = fmt::format("{}.{}", session_id_, transactions_);
  transaction_->begin_content(
      {.helo = helo_, .client = client_, .protocol = protocol(), .session = session_id_, .id = id},
      listener_->long_lines);
}

std::string_view Conversation::protocol() const {
  if (!is_extended_) return "SMTP";
  static constexpr std::array<std::string_view, 8> kNames{"ESMTP",    "ESMTPA",    "ESMTPS",    "ESMTPSA",
                                                          "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"};
  return kNames[(transaction_->smtputf8() ? 4u : 0u) | (is_tls_ ? 2u : 0u) | (tenant_.empty() ? 0u : 1u)];
}

std::size_t Conversation::take_data(std::string_view input) {
  const ContentReader::Step step = transaction_->feed_data(input);
  if (step.ended) {
    phase_ = Phase::Command;
    end_content(false);
  }
  return step.consumed;
}

std::size_t Conversation::take_chunk(std::string_view input) {
  const std::string_view octets = input.substr(0, chunk_left_);
  transaction_->feed_chunk(octets);
  chunk_left_ -= octets.size();
  if (chunk_left_ == 0) end_chunk();
  return octets.size();
}

std::size_t Conversation::skip_chunk(std::string_view input) {
  const std::size_t skipped = std::min<std::uint64_t>(input.size(), chunk_left_);
  chunk_left_ -= skipped;
  if (chunk_left_ == 0) end_chunk();
  return skipped;
}

void Conversation::end_chunk() {
  const bool was_skipped = phase_ == Phase::SkipChunk;
  phase_ = Phase::Command;
  if (was_skipped) {
    return refuse(transaction_ ? Answer{554, "5.5.1", "no valid recipients"} : Answer{503, "5.5.1", "MAIL first"});
  }
  if (chunk_is_last_) return end_content(true);
  if (auto no = transaction_->refuse_chunk()) {
    refuse(*no);
    transaction_.reset();  // further chunks of it are skipped and hear 503 (RFC 3030 section 2)
    return;
  }
  reply(250, "2.0.0", "chunk ok");
}

void Conversation::end_content(bool in_chunks) {
  if (auto no = transaction_->end_content(in_chunks)) {
    refuse(*no);
    transaction_.reset();
    return;
  }
  need_ = transaction_->has_long_lines() ? Need::Encoding : Need::Storage;
}

std::string Conversation::take_content() {
  return transaction_->take_content();
}

bool Conversation::on_encoded(Encoded content) {
  if (content && transaction_->replace_content(std::move(*content))) {
    need_ = Need::Storage;
    return true;
  }
  need_ = Need::Input;
  refuse(content ? Answer{452, "4.3.1", "no memory for this message now"} : content.error());
  transaction_.reset();
  if (stopping_) on_stopping();
  return false;
}

queue::NewMessage Conversation::take_message() {
  return transaction_->take_message();
}

void Conversation::on_stored(const Result<std::string>& id) {
  need_ = Need::Input;
  if (id) {
    transaction_->stored();
    reply(250, "2.0.0", fmt::format("queued as {}", *id));
  } else if (id.error().code == queue::Errc::DiskReserve || id.error().code == queue::Errc::MemoryLimit) {
    refuse({452, "4.3.1", "no room for this message now"});
  } else {
    refuse({451, "4.3.0", "the message could not be stored"});
  }
  transaction_.reset();
  if (stopping_) on_stopping();
}

void Conversation::on_idle() {
  close("4.4.2", "too slow");
}

void Conversation::on_crowded() {
  close("4.3.2", "too many sessions, try again");
}

void Conversation::on_stopping() {
  close("4.3.2", "shutting down");
}

void Conversation::reply(int code, std::string_view enhanced, std::string_view text) {
  append_answer(replies_, code, enhanced, text);
}

void Conversation::refuse(const Answer& answer) {
  surroundings_.refused();
  reply(answer);
}

void Conversation::fail(int code, std::string_view enhanced, std::string_view text) {
  surroundings_.refused();
  if (++errors_ > surroundings_.options()->limits.errors) return close("4.7.0", "too many errors");
  reply(code, enhanced, text);
}

void Conversation::close(std::string_view enhanced, std::string_view text) {
  if (need_ == Need::Close) return;
  transaction_.reset();
  need_ = Need::Close;
  reply(421, enhanced, fmt::format("{} {}", surroundings_.options()->hostname, text));
}

}  // namespace danki::submission
