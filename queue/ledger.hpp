#pragma once

#include "queue/message.hpp"

#include <memory>
#include <vector>

namespace danki::queue {

/// What the commit thread knows to be on disk (or in the batch it is building) for one live message: which due records
/// exist, and which records beside them. So removal needs no reads, and an outcome that comes late cannot bring a
/// finished message back.
struct Ledger {
  /// One record of the due index. Every pending recipient is in exactly one.
  struct Record {
    TimePoint due{};
    std::vector<std::uint32_t> recipients;  ///< rising, not empty, all at one domain
  };
  enum Flag : std::uint8_t { kFinished = 1, kStateWritten = 2, kMovedWritten = 4 };

  std::vector<Record> records;                        ///< ordered by their first recipient
  std::vector<std::uint8_t> flags;                    ///< per recipient
  std::size_t pending = 0;                            ///< recipients not finished
  bool removed = false;                               ///< nothing of the message is left
  bool prepared_written = false;                      ///< a record of prepared header lines exists
  std::shared_ptr<const Message::Prepared> prepared;  ///< the one that is stored
};

/// When a message nobody has tried yet is due: when it arrived or its not-before time, but not after its expiry.
TimePoint first_due(const mail::Envelope& envelope);

/// The ledger of a message just accepted: one record per recipient domain.
std::unique_ptr<Ledger> new_ledger(const mail::Envelope& envelope);

LaneKey lane_of(const mail::Envelope& envelope, std::uint32_t recipient);
DueEntry due_entry(const Message& message, const Ledger::Record& record);

}  // namespace danki::queue
