#pragma once

#include "mail/envelope.hpp"
#include "mail/reply.hpp"

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace danki::queue {

/// Never reused: microseconds since 2020 when the message was accepted, strictly rising, in the upper 56 bits; the
/// lower 8 tell nodes apart. As text: 13 characters of Crockford's base 32, lower case, in the same order as the
/// numbers.
struct MessageId {
  std::uint64_t value = 0;
  auto operator<=>(const MessageId&) const = default;
  std::string to_string() const;
  /// Case-insensitive; nullopt unless all 13 characters are right.
  static std::optional<MessageId> parse(std::string_view text);
};

/// What has happened to one recipient so far.
struct RecipientProgress {
  enum class State : std::uint8_t { Pending, Delivered, Bounced, Expired };
  State state = State::Pending;
  std::uint32_t attempts = 0;  ///< that reached a reply about the message or recipient; path trouble does not count
  TimePoint last_attempt_at{};
  std::string last_source;  ///< name of the egress source of the last attempt
  std::string last_mx;      ///< host that replied
  std::optional<mail::Reply> last_reply;
  std::string reason;  ///< when no reply says it: "connection refused", "expired"
  bool operator==(const RecipientProgress&) const = default;
};

/// A queue is (recipient domain, class, tenant); DESIGN section 4.
struct LaneKey {
  std::string domain;
  mail::MailClass klass = mail::MailClass::Transactional;
  std::string tenant;
  auto operator<=>(const LaneKey&) const = default;
};

struct MessageIdHash {
  std::size_t operator()(MessageId id) const { return id.value * 0x9e3779b97f4a7c15ull; }
};

/// One record of the due index: recipients of one message at one domain that are tried together.
struct DueEntry {
  LaneKey lane;
  TimePoint due{};  ///< the earlier of next attempt and expiry
  MessageId id;
  std::vector<std::uint32_t> recipients;  ///< indices into the envelope, rising, not empty
  bool operator==(const DueEntry&) const = default;
};

/// What the commit thread knows to be on disk for one live message; queue/ledger.hpp.
struct Ledger;

/// One accepted message while somebody in memory needs it; there is at most one object per id (the spool's registry).
/// `envelope` and `id` never change. `progress` belongs to the scheduler's strand. The content may be dropped and read
/// again.
class Message {
 public:
  Message(MessageId id_, mail::Envelope envelope_);
  ~Message();
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  const MessageId id;
  const mail::Envelope envelope;
  std::vector<RecipientProgress> progress;

  /// Null when it is on disk only. Thread-safe.
  std::shared_ptr<const std::string> content() const;
  void set_content(std::shared_ptr<const std::string> content);

  /// Finished header lines to send before the content (DKIM-Signature), each with CRLF; null until prepared.
  /// Thread-safe.
  struct Prepared {
    std::string header_lines;
    TimePoint signed_at{};
    std::string selectors;  ///< "d/s d/s" used, to know a retired one
    std::string error;      ///< not empty: signing failed, the message must wait and why
  };
  std::shared_ptr<const Prepared> prepared() const;
  /// Other lines than before are not stored yet: `prepared_stored` becomes false.
  void set_prepared(std::shared_ptr<const Prepared> prepared);
  /// True when the prepared lines are already stored in the spool.
  std::atomic<bool> prepared_stored{false};

  /// For the spool: `stored` is on disk now, unless it was replaced meanwhile.
  void mark_prepared_stored(const Prepared* stored);
  /// For the spool's commit thread, which alone touches it once the object is published; null in objects it did not
  /// make.
  Ledger* ledger() const { return ledger_.get(); }
  void set_ledger(std::unique_ptr<Ledger> ledger);

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const std::string> content_;  // shared with connections that are sending it
  std::shared_ptr<const Prepared> prepared_;    // likewise
  std::unique_ptr<Ledger> ledger_;
};

using MessagePtr = std::shared_ptr<Message>;  // shared by lanes, connections and the prepare stage

}  // namespace danki::queue
