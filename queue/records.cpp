#include "queue/records.hpp"

#include "queue/bytes.hpp"
#include "queue/errc.hpp"

#include <algorithm>
#include <limits>

namespace danki::queue {
namespace {

constexpr std::uint8_t kVersion = 1;  // of every kind of record so far
constexpr std::uint64_t kSignBit = 1ull << 63;
constexpr std::size_t kDueTailBytes = 8 + 8 + 4;  // due, id, first recipient

std::unexpected<Error> damaged(std::string_view what) {
  return std::unexpected(Error{Errc::Damaged, std::string(what)});
}

/// Flipping the sign keeps times before 1970 in order as well.
std::uint64_t sortable(TimePoint t) {
  return static_cast<std::uint64_t>(to_millis(t)) ^ kSignBit;
}

TimePoint from_sortable(std::uint64_t v) {
  return from_millis(static_cast<std::int64_t>(v ^ kSignBit));
}

void write_time(ByteWriter& out, TimePoint t) {
  out.signed_varint(to_millis(t));
}

TimePoint read_time(ByteReader& in) {
  return from_millis(in.signed_varint());
}

template <class Enum>
Enum read_enum(ByteReader& in, Enum last) {
  const std::uint8_t value = in.u8();
  if (value > static_cast<std::uint8_t>(last)) in.fail();
  return in.ok() ? static_cast<Enum>(value) : Enum{};
}

std::uint32_t read_u32(ByteReader& in) {
  const std::uint64_t value = in.varint();
  if (value > std::numeric_limits<std::uint32_t>::max()) in.fail();
  return in.ok() ? static_cast<std::uint32_t>(value) : 0;
}

/// Version 1 is all there is; a record of another one cannot be read at all.
void read_version(ByteReader& in) {
  if (in.u8() != kVersion) in.fail();
}

void write_lane(std::string& out, const LaneKey& lane) {
  out.append(lane.domain);
  out.push_back('\0');
  out.push_back(static_cast<char>(1 + static_cast<int>(lane.klass)));
  out.append(lane.tenant);
}

void write_place(ByteWriter& out, const DuePlace& place) {
  write_time(out, place.due);
  out.varint(place.first);
}

DuePlace read_place(ByteReader& in) {
  const TimePoint due = read_time(in);
  return {.due = due, .first = read_u32(in)};
}

void write_address(ByteWriter& out, const mail::Address& address) {
  out.text(address.local);
  out.text(address.domain);
}

mail::Address read_address(ByteReader& in) {
  mail::Address address;
  address.local = in.text();
  address.domain = in.text();
  return address;
}

void write_reply(ByteWriter& out, const mail::Reply& reply) {
  out.signed_varint(reply.code);
  out.u8(reply.enhanced ? 1 : 0);
  if (reply.enhanced) {
    out.signed_varint(reply.enhanced->klass);
    out.signed_varint(reply.enhanced->subject);
    out.signed_varint(reply.enhanced->detail);
  }
  out.text(reply.text);
}

mail::Reply read_reply(ByteReader& in) {
  mail::Reply reply;
  reply.code = static_cast<int>(in.signed_varint());
  if (in.u8() != 0) {
    auto& enhanced = reply.enhanced.emplace();
    enhanced.klass = static_cast<int>(in.signed_varint());
    enhanced.subject = static_cast<int>(in.signed_varint());
    enhanced.detail = static_cast<int>(in.signed_varint());
  }
  reply.text = in.text();
  return reply;
}

/// The one judgement of a due record, for those who count and those who read: what is counted can be read. Also who the
/// recipients are, if `recipients` is given.
Result<DueSummary> read_due(std::string_view key, std::string_view value, std::vector<std::uint32_t>* recipients) {
  const std::size_t domain_end = key.find('\0');
  if (domain_end == std::string_view::npos || domain_end + 2 + 1 + kDueTailBytes > key.size())
    return damaged("a key of the due index");
  DueSummary summary{};
  summary.domain = key.substr(0, domain_end);
  const auto klass = static_cast<unsigned char>(key[domain_end + 1]);
  if (klass < 1 || klass > 2) return damaged("the class in a key of the due index");
  summary.klass = static_cast<mail::MailClass>(klass - 1);
  const std::size_t tail = key.size() - kDueTailBytes;
  if (key[tail - 1] != '\0') return damaged("the tenant in a key of the due index");
  summary.tenant = key.substr(domain_end + 2, tail - 1 - (domain_end + 2));
  ByteReader in(key.substr(tail));
  summary.due = from_sortable(in.fixed64());
  summary.id = MessageId{in.fixed64()};
  std::uint64_t recipient = in.fixed32();
  ByteReader content(value);
  read_version(content);
  summary.recipients = content.varint();
  // Each but the first takes an octet at least, so a wrong count cannot ask for memory that the record does not fill.
  if (!content.ok() || summary.recipients == 0 || summary.recipients - 1 > content.left())
    return damaged("a value of the due index");
  if (recipients) {
    recipients->reserve(summary.recipients);
    recipients->push_back(static_cast<std::uint32_t>(recipient));
  }
  for (std::uint64_t i = 1; i < summary.recipients; ++i) {
    const std::uint64_t distance = content.varint();
    if (!content.ok() || distance == 0 || distance > kPreparedIndex || (recipient += distance) >= kPreparedIndex)
      return damaged("the recipients of a due record");
    if (recipients) recipients->push_back(static_cast<std::uint32_t>(recipient));
  }
  return summary;
}

}  // namespace

std::string id_key(MessageId id) {
  std::string key;
  ByteWriter(key).fixed64(id.value);
  return key;
}

std::string state_key(MessageId id, std::uint32_t index) {
  std::string key;
  ByteWriter out(key);
  out.fixed64(id.value);
  out.fixed32(index);
  return key;
}

std::string moved_key(MessageId id, std::uint32_t recipient) {
  std::string key = state_key(id, recipient);
  key.push_back('m');
  return key;
}

MessageId id_of_key(std::string_view key) {
  return MessageId{ByteReader(key).fixed64()};
}

std::string due_key(const LaneKey& lane, TimePoint due, MessageId id, std::uint32_t first_recipient) {
  std::string key;
  key.reserve(lane.domain.size() + lane.tenant.size() + 3 + kDueTailBytes);
  write_lane(key, lane);
  key.push_back('\0');
  ByteWriter out(key);
  out.fixed64(sortable(due));
  out.fixed64(id.value);
  out.fixed32(first_recipient);
  return key;
}

std::string due_key(const DueEntry& entry) {
  return due_key(entry.lane, entry.due, entry.id, entry.recipients.empty() ? 0 : entry.recipients.front());
}

std::string lane_begin(const LaneKey& lane) {
  std::string key;
  write_lane(key, lane);
  key.push_back('\0');
  return key;
}

std::string lane_end(const LaneKey& lane) {
  std::string key;
  write_lane(key, lane);
  key.push_back('\1');
  return key;
}

std::string encode_due_value(std::span<const std::uint32_t> recipients) {
  std::string value;
  ByteWriter out(value);
  out.u8(kVersion);
  out.varint(recipients.size());
  // The first one is in the key; the others as distances, which are mostly 1.
  for (std::size_t i = 1; i < recipients.size(); ++i) out.varint(recipients[i] - recipients[i - 1]);
  return value;
}

Result<DueSummary> summarise_due(std::string_view key, std::string_view value) {
  return read_due(key, value, nullptr);
}

Result<DueEntry> decode_due(std::string_view key, std::string_view value) {
  DueEntry entry;
  const auto summary = read_due(key, value, &entry.recipients);
  if (!summary) return std::unexpected(summary.error());
  entry.lane = {
      .domain = std::string(summary->domain), .klass = summary->klass, .tenant = std::string(summary->tenant)};
  entry.due = summary->due;
  entry.id = summary->id;
  return entry;
}

std::optional<MessageId> id_of_due_key(std::string_view key) {
  if (key.size() < kDueTailBytes) return std::nullopt;
  ByteReader in(key.substr(key.size() - kDueTailBytes));
  in.fixed64();  // its time
  return MessageId{in.fixed64()};
}

bool can_be_stored(const mail::Envelope& envelope) {
  const auto can_be_key = [](const std::string& name) { return name.find('\0') == std::string::npos; };
  if (envelope.recipients.empty() || envelope.recipients.size() >= kPreparedIndex || !can_be_key(envelope.tenant))
    return false;
  return std::all_of(envelope.recipients.begin(), envelope.recipients.end(),
                     [&](const mail::Recipient& r) { return can_be_key(r.address.domain); });
}

std::string encode_envelope(const mail::Envelope& envelope) {
  std::string value;
  value.reserve(160 + envelope.recipients.size() * 48);
  ByteWriter out(value);
  out.u8(kVersion);
  write_address(out, envelope.reverse_path);
  out.varint(envelope.recipients.size());
  for (const mail::Recipient& recipient : envelope.recipients) {
    write_address(out, recipient.address);
    out.text(recipient.orcpt);
    out.u8(recipient.notify);
  }
  out.text(envelope.envid);
  out.u8(static_cast<std::uint8_t>(envelope.ret));
  out.u8(static_cast<std::uint8_t>(envelope.body));
  out.u8(envelope.smtputf8 ? 1 : 0);
  out.text(envelope.tenant);
  out.u8(static_cast<std::uint8_t>(envelope.klass));
  out.text(envelope.pool);
  out.text(envelope.campaign);
  out.text(envelope.from_domain);
  out.text(envelope.session);
  out.varint(envelope.size);
  write_time(out, envelope.arrived_at);
  write_time(out, envelope.not_before);
  write_time(out, envelope.expires_at);
  return value;
}

Result<mail::Envelope> decode_envelope(std::string_view value) {
  constexpr std::size_t kLeastRecipientBytes = 4;  // three empty texts and the NOTIFY bits
  ByteReader in(value);
  read_version(in);
  mail::Envelope envelope;
  envelope.reverse_path = read_address(in);
  const std::uint64_t recipients = in.varint();
  if (!in.ok() || recipients > in.left() / kLeastRecipientBytes) return damaged("the recipients of an envelope");
  envelope.recipients.reserve(recipients);
  for (std::uint64_t i = 0; i < recipients && in.ok(); ++i) {
    mail::Recipient recipient;
    recipient.address = read_address(in);
    recipient.orcpt = in.text();
    recipient.notify = in.u8();
    envelope.recipients.push_back(std::move(recipient));
  }
  envelope.envid = in.text();
  envelope.ret = read_enum(in, mail::DsnReturn::Headers);
  envelope.body = read_enum(in, mail::BodyType::Binary);
  envelope.smtputf8 = in.u8() != 0;
  envelope.tenant = in.text();
  envelope.klass = read_enum(in, mail::MailClass::Bulk);
  envelope.pool = in.text();
  envelope.campaign = in.text();
  envelope.from_domain = in.text();
  envelope.session = in.text();
  envelope.size = in.varint();
  envelope.arrived_at = read_time(in);
  envelope.not_before = read_time(in);
  envelope.expires_at = read_time(in);
  if (!in.ok()) return damaged("an envelope");
  return envelope;
}

std::string encode_state(const RecipientProgress& progress, const std::optional<DuePlace>& place) {
  std::string value;
  ByteWriter out(value);
  out.u8(kVersion);
  out.u8(static_cast<std::uint8_t>(progress.state));
  out.varint(progress.attempts);
  write_time(out, progress.last_attempt_at);
  out.text(progress.last_source);
  out.text(progress.last_mx);
  out.u8(progress.last_reply ? 1 : 0);
  if (progress.last_reply) write_reply(out, *progress.last_reply);
  out.text(progress.reason);
  out.u8(place ? 1 : 0);
  if (place) write_place(out, *place);
  return value;
}

Result<StateRecord> decode_state(std::string_view value) {
  ByteReader in(value);
  read_version(in);
  StateRecord record;
  RecipientProgress& progress = record.progress;
  progress.state = read_enum(in, RecipientProgress::State::Expired);
  progress.attempts = read_u32(in);
  progress.last_attempt_at = read_time(in);
  progress.last_source = in.text();
  progress.last_mx = in.text();
  if (in.u8() != 0) progress.last_reply = read_reply(in);
  progress.reason = in.text();
  if (in.u8() != 0) record.place = read_place(in);
  if (!in.ok()) return damaged("the state of a recipient");
  return record;
}

std::string encode_moved(const DuePlace& place) {
  std::string value;
  ByteWriter out(value);
  out.u8(kVersion);
  write_place(out, place);
  return value;
}

Result<DuePlace> decode_moved(std::string_view value) {
  ByteReader in(value);
  read_version(in);
  const DuePlace place = read_place(in);
  if (!in.ok()) return damaged("the moved due time of a recipient");
  return place;
}

std::string encode_prepared(const Message::Prepared& prepared) {
  std::string value;
  ByteWriter out(value);
  out.u8(kVersion);
  out.text(prepared.header_lines);
  write_time(out, prepared.signed_at);
  out.text(prepared.selectors);
  return value;
}

Result<Message::Prepared> decode_prepared(std::string_view value) {
  ByteReader in(value);
  read_version(in);
  Message::Prepared prepared;
  prepared.header_lines = in.text();
  prepared.signed_at = read_time(in);
  prepared.selectors = in.text();
  if (!in.ok()) return damaged("the prepared header lines of a message");
  return prepared;
}

std::string encode_head(const Head& head) {
  std::string value;
  ByteWriter out(value);
  out.u8(kVersion);
  out.varint(head.batch);
  out.varint(head.synced);
  out.varint(head.next_id);
  out.varint(head.messages);
  return value;
}

Result<Head> decode_head(std::string_view value) {
  ByteReader in(value);
  read_version(in);
  Head head;
  head.batch = in.varint();
  head.synced = in.varint();
  head.next_id = in.varint();
  head.messages = in.varint();
  if (!in.ok()) return damaged("the head of the spool");
  return head;
}

}  // namespace danki::queue
