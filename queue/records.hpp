#pragma once

#include "base/result.hpp"
#include "queue/message.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

/// The spool's keys and values as bytes; docs/format-spool.md describes them. Every value begins with its own version;
/// readers ignore what follows the fields they know, so that later versions may add fields. A record that does not read
/// is Errc::Damaged, never more.
namespace danki::queue {

inline constexpr std::uint32_t kFormatVersion = 1;           ///< of the database as a whole
inline constexpr std::uint32_t kPreparedIndex = 0xffffffff;  ///< in the place of a recipient's index
inline constexpr std::string_view kFormatKey = "format";     ///< in the default family
inline constexpr std::string_view kHeadKey = "head";         ///< likewise

/// Bodies, envelopes: the id. State: the id and a recipient's index; one more octet marks a recipient's due record as
/// moved.
std::string id_key(MessageId id);
std::string state_key(MessageId id, std::uint32_t index);
std::string moved_key(MessageId id, std::uint32_t recipient);
MessageId id_of_key(std::string_view key);

/// domain \0 class tenant \0 due id first-recipient.
std::string due_key(const LaneKey& lane, TimePoint due, MessageId id, std::uint32_t first_recipient);
std::string due_key(const DueEntry& entry);
/// What all keys of a lane begin with, and the first key after all of them.
std::string lane_begin(const LaneKey& lane);
std::string lane_end(const LaneKey& lane);
std::string encode_due_value(std::span<const std::uint32_t> recipients);
Result<DueEntry> decode_due(std::string_view key, std::string_view value);
/// The message a key of the due index is about, whatever else is wrong with the record; nullopt if it is too short.
std::optional<MessageId> id_of_due_key(std::string_view key);
/// Only what counting needs, of a record that decode_due reads: the key's parts and how many recipients.
struct DueSummary {
  std::string_view domain, tenant;
  mail::MailClass klass;
  TimePoint due;
  MessageId id;
  std::uint64_t recipients;
};
Result<DueSummary> summarise_due(std::string_view key, std::string_view value);

/// At least one recipient, and no NUL in what becomes part of a key.
bool can_be_stored(const mail::Envelope& envelope);
std::string encode_envelope(const mail::Envelope& envelope);
Result<mail::Envelope> decode_envelope(std::string_view value);

/// Which due record a pending recipient is in: its time and the first recipient in it.
struct DuePlace {
  TimePoint due{};
  std::uint32_t first = 0;
  bool operator==(const DuePlace&) const = default;
};
struct StateRecord {
  RecipientProgress progress;
  std::optional<DuePlace> place;  ///< nullopt once finished
  bool operator==(const StateRecord&) const = default;
};
std::string encode_state(const RecipientProgress& progress, const std::optional<DuePlace>& place);
Result<StateRecord> decode_state(std::string_view value);
std::string encode_moved(const DuePlace& place);
Result<DuePlace> decode_moved(std::string_view value);
std::string encode_prepared(const Message::Prepared& prepared);
Result<Message::Prepared> decode_prepared(std::string_view value);

/// Last in every batch: the batch's number and what was true after it.
struct Head {
  std::uint64_t batch = 0;     ///< numbers rise by one
  std::uint64_t synced = 0;    ///< this batch and all before were on stable storage when this one was begun
  std::uint64_t next_id = 0;   ///< no id so far has this or more in its upper 56 bits
  std::uint64_t messages = 0;  ///< in the spool
  bool operator==(const Head&) const = default;
};
std::string encode_head(const Head& head);
Result<Head> decode_head(std::string_view value);

}  // namespace danki::queue
