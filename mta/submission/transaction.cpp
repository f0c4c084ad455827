#include "mta/submission/transaction.hpp"

#include "mail/ascii.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danki::submission {
namespace {

std::chrono::seconds expiry_of(const Options& options, mail::MailClass klass) {
  return klass == mail::MailClass::Bulk ? options.bulk_expiry : options.transactional_expiry;
}

/// What a client calls itself stands in the field unquoted: only characters that end no comment and fold no line.
std::string_view helo_for_trace(std::string_view helo) {
  const bool plain = std::all_of(helo.begin(), helo.end(), [](char c) {
    return mail::is_alnum(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
  });
  return plain && !helo.empty() ? helo : "unknown";
}

}  // namespace

Transaction::Transaction(Surroundings& surroundings, std::shared_ptr<const Options> options,
                         const TenantOptions* tenant, MailCommand command)
    : surroundings_(surroundings), options_(std::move(options)), tenant_(tenant), announced_bytes_(command.size) {
  envelope_.reverse_path = std::move(command.reverse_path);
  envelope_.envid = std::move(command.envid);
  envelope_.ret = command.ret;
  envelope_.body = command.body;
  envelope_.smtputf8 = command.smtputf8;
}

Transaction::~Transaction() {
  if (!stored_ && taken_ != 0) surroundings_.give_back_recipients(*tenant_, taken_);
}

std::optional<Answer> Transaction::refuse(const mail::Recipient& recipient) const {
  if (tenant_ == nullptr) return Answer{550, "5.7.1", "relaying is for tenants only"};
  if (named_ >= std::max<std::size_t>(100, options_->limits.recipients)) {
    return Answer{452, "4.5.3", "too many recipients in one transaction"};
  }
  if (std::string why = surroundings_.refuse_recipient(tenant_->name, recipient.address); !why.empty()) {
    return Answer{550, "5.1.1", std::move(why)};
  }
  return std::nullopt;
}

std::optional<Answer> Transaction::add(mail::Recipient recipient) {
  std::string address = recipient.address.to_string();
  if (addresses_.contains(address)) {
    ++named_;
    return std::nullopt;
  }
  if (const auto wait = surroundings_.take_recipient(*tenant_)) {
    return Answer{451, "4.7.1",
                  fmt::format("{} sends at its rate limit, room again at {}", tenant_->name,
                              to_rfc3339(surroundings_.now() + *wait))};
  }
  ++taken_;
  ++named_;
  addresses_.insert(std::move(address));
  envelope_.recipients.push_back(std::move(recipient));
  return std::nullopt;
}

void Transaction::begin_content(const Trace& trace, LongLines long_lines) {
  const TimePoint now = surroundings_.now();
  std::string head = fmt::format("Received: from {} ({})\r\n\tby {} with {} id {}", helo_for_trace(trace.helo),
                                 trace.client, options_->hostname, trace.protocol, trace.id);
  // With several recipients the clause would tell each of the others (RFC 5321 section 7.2).
  if (recipients() == 1) head += fmt::format("\r\n\tfor <{}>", first_recipient().to_string());
  head += fmt::format(";\r\n\t{}\r\n", to_rfc5322(now));

  envelope_.arrived_at = now;
  envelope_.session = trace.session;
  head_bytes_ = head.size();
  message_id_ = fmt::format("<{}@{}>", trace.id, options_->hostname);
  const ContentReader::Limits limits{options_->limits.message_bytes, options_->limits.header_bytes,
                                     long_lines == LongLines::Encode};
  reader_.emplace(limits, surroundings_.memory(), head, announced_bytes_);
}

ContentReader::Step Transaction::feed_data(std::string_view input) {
  const ContentReader::Step step = reader_->feed_data(input);
  look_at_header();
  return step;
}

void Transaction::feed_chunk(std::string_view octets) {
  reader_->feed_chunk(octets);
  look_at_header();
}

/// As soon as the header section is there: whatever changes in it moves only what has come behind it so far.
void Transaction::look_at_header() {
  if (header_ || !reader_->header_ended() || reader_->faults() != 0) return;
  judge();
}

void Transaction::judge() {
  const std::string_view section = reader_->content().substr(head_bytes_, reader_->header_end() - head_bytes_);
  header_ = judge_header(section, {.tenant = *tenant_,
                                   .now = envelope_.arrived_at,
                                   .expiry = expiry_of(*options_, tenant_->klass),
                                   .max_received_lines = options_->limits.received_lines,
                                   .message_id = message_id_});
  if (header_->refusal) {
    reader_->discard();
  } else if (header_->replacement) {
    reader_->replace_header(head_bytes_, *header_->replacement);
  }
}

std::optional<Answer> Transaction::refuse_faults() const {
  const LimitOptions& limits = options_->limits;
  const std::uint8_t faults = reader_->faults();
  if (faults == 0) return std::nullopt;
  if (faults & kTooLarge) return Answer{552, "5.3.4", fmt::format("over {} octets", limits.message_bytes)};
  if (faults & kHeaderTooLarge) {
    return Answer{552, "5.3.4", fmt::format("header section over {} octets", limits.header_bytes)};
  }
  if (faults & kNul) return Answer{550, "5.6.0", "the content has a NUL octet"};
  if (faults & kBareLf) return Answer{550, "5.6.0", "the content has a bare LF: lines end in CRLF"};
  if (faults & kBareCr) return Answer{550, "5.6.0", "the content has a bare CR: lines end in CRLF"};
  if (faults & kLongLine) return Answer{550, "5.6.0", "the content has a line over 998 octets"};
  return Answer{452, "4.3.1", "no memory for this message now"};
}

std::optional<Answer> Transaction::refuse_chunk() const {
  if (reader_->faults() & (kTooLarge | kHeaderTooLarge | kNoMemory)) return refuse_faults();
  return std::nullopt;
}

std::optional<Answer> Transaction::end_content(bool in_chunks) {
  if (in_chunks) reader_->end_chunks();
  if (auto no = refuse_faults()) return no;
  if (!header_) {
    // No empty line came: everything is header section, and it may be too long for one.
    if (reader_->octets() > options_->limits.header_bytes) {
      return Answer{552, "5.3.4", fmt::format("header section over {} octets", options_->limits.header_bytes)};
    }
    judge();
    if (auto no = refuse_faults()) return no;
  }
  if (header_->refusal) return header_->refusal;
  if (std::string why = surroundings_.refuse_from_domain(tenant_->name, header_->from_domain); !why.empty()) {
    return Answer{550, "5.7.1", std::move(why)};
  }
  return std::nullopt;
}

queue::NewMessage Transaction::take_message() {
  if (reader_->has_eight_bit()) envelope_.body = mail::BodyType::EightBitMime;
  envelope_.tenant = tenant_->name;
  envelope_.klass = tenant_->klass;
  envelope_.pool = std::move(header_->pool);
  envelope_.campaign = std::move(header_->campaign);
  envelope_.from_domain = std::move(header_->from_domain);
  envelope_.not_before = header_->not_before;
  envelope_.expires_at = header_->expires_at;
  queue::NewMessage message{.envelope = std::move(envelope_), .content = reader_->take_content()};
  message.envelope.size = message.content.size();
  return message;
}

}  // namespace danki::submission
