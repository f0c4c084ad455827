#pragma once

#include "queue/spool.hpp"
#include "queue/store.hpp"
#include "queue/unreadable_records.hpp"

#include <memory>
#include <optional>
#include <vector>

/// What is on disk, read by any thread. Nothing here writes. Due records that do not decode are noted as `unreadable`
/// and passed over.
namespace danki::queue {

/// A message as it was stored, with its ledger; not yet published. Error no_such_file_or_directory if it is gone.
Result<std::unique_ptr<Message>> read_message(const Store::Reading& reading, MessageId id);
Result<std::string> read_body(const Store::Reading& reading, MessageId id);
Result<LanePage> read_lane_page(const Store::Reading& reading, const LaneKey& lane, const std::optional<DueEntry>& from,
                                TimePoint until, std::size_t limit, UnreadableRecords& unreadable);
/// Counts only messages with ids up to `up_to`.
Result<std::vector<LaneCount>> count_lanes(const Store::Reading& reading, MessageId up_to,
                                           UnreadableRecords& unreadable);
Result<std::vector<DueEntry>> list_due(const Store::Reading& reading, const std::optional<DueEntry>& after,
                                       std::size_t limit, UnreadableRecords& unreadable);
Result<std::optional<std::string>> read_counter(const Store::Reading& reading, const std::string& key);

/// What the head would say, counted: for a database that has lost it.
Result<Head> count_head(const Store::Reading& reading);

}  // namespace danki::queue
