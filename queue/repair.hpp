#pragma once

#include "base/result.hpp"
#include "queue/options.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace rocksdb {
class Env;
}

namespace danki::queue {

struct RepairReport {
  std::uint64_t messages = 0;         ///< in the spool now, whole
  std::uint64_t lost_bodies = 0;      ///< envelopes whose content could not be found; removed
  std::uint64_t restored_due = 0;     ///< due records made anew
  std::uint64_t removed_records = 0;  ///< of which the rest was missing
  std::vector<std::string> steps;     ///< what was done, for people
};

/// Saves what can be read of a damaged spool that nobody has open: first everything the log still holds around the
/// damage, then, if the database still does not open, what its tables and blob files hold. Makes the families agree
/// with each other, so that every message left is whole. Mail may be lost and mail already delivered may be delivered
/// again: the report says how much. Holds the directory's lock, so that no daemon can be started meanwhile; refused
/// (device_or_resource_busy) while one has it. Works on a copy (tables and blob files are linked, not copied), which
/// takes the place of the database at the very end, with its owner and permissions: ended before, by an error or a
/// crash, it has changed nothing. What was there stays in a directory beside the database, which the report names.
/// Blocks for long. `env` null: the real file system.
Result<RepairReport> repair(const SpoolOptions& options, rocksdb::Env* env = nullptr);

}  // namespace danki::queue
