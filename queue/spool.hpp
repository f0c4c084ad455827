#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "queue/message.hpp"
#include "queue/options.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rocksdb {
class Env;
}

/// The durable spool: which messages exist, what is still to be done for each recipient, and when. RocksDB underneath
/// (DESIGN section 4). It knows nothing of sites, paths and sessions.
namespace danki::queue {

struct NewMessage {
  mail::Envelope envelope;  ///< size and arrived_at are filled in by the caller
  std::string content;
};

/// A message that became durable, with its due entries (one per recipient domain).
struct Accepted {
  MessagePtr message;
  std::vector<DueEntry> entries;
  std::optional<MessageId> report_on;  ///< our own report of an outcome: the message it is about
};

/// How one attempt of one due entry ended. Recorded in one batch: the old due record goes, progress is stored, a new
/// due record is written for recipients that remain; when no recipient of the whole message is pending any more,
/// everything of it is removed.
struct Outcome {
  MessagePtr message;
  DueEntry entry;  ///< as taken
  struct Change {
    std::uint32_t recipient;
    RecipientProgress progress;
  };
  std::vector<Change> changes;      ///< recipients whose progress changed
  std::vector<DueEntry> remaining;  ///< new due records for the recipients of `entry` that are still pending
  /// A new message (a DSN telling of this outcome) stored in the same write: it exists if and only if the outcome is
  /// recorded. It is announced to the on_accepted sink like any other.
  std::optional<NewMessage> report;
};

/// Why new mail cannot be taken now.
enum class Refusal { None, DiskReserve, MemoryLimit, WriteFailed };

/// One page of a lane on disk.
struct LanePage {
  std::vector<DueEntry> entries;  ///< in key order, due at or before `until`
  std::optional<DueEntry>
      next;  ///< first record not returned: due later, or beyond the limit; nullopt: the lane ends here
};

struct LaneCount {
  LaneKey lane;
  std::uint64_t entries = 0;
  std::uint64_t recipients = 0;
  TimePoint earliest_due{};
};

struct StoredMessage {
  MessageId id;
  mail::Envelope envelope;
  std::vector<RecipientProgress> progress;
  std::vector<DueEntry> entries;  ///< what is still due
};

struct SpoolStats {
  std::uint64_t messages = 0;  ///< now in the spool
  std::uint64_t accepted = 0, removed = 0, syncs = 0, batches = 0, failed_writes = 0;
  std::uint64_t unrecorded_outcomes = 0;
  std::uint64_t bytes_in_memory = 0;  ///< contents held by live messages
  std::uint64_t disk_free_bytes = 0;
  std::uint64_t unreadable_due_records = 0;  ///< met so far; passed over and kept
  bool write_failing = false;
};

/// Threads: accept, record and reschedule may be called from anywhere and never block; their callbacks run on the
/// commit thread and must be short (post and return). load, read_*, list and show block on the disk: call them on a
/// worker.
class Spool {
 public:
  /// Opens or creates the database in options.directory. Fails with the reason and the repair command when the log is
  /// damaged other than at its tail. `env` null: the real file system; tests pass a failing one. It must outlive the
  /// spool.
  static Result<std::unique_ptr<Spool>> open(SpoolOptions options, const Clock& clock, rocksdb::Env* env = nullptr);
  ~Spool();

  /// Called on the commit thread with each batch that became durable, before the `done` of its messages: clients wait
  /// for it. Set once before the first accept.
  void on_stored(std::function<void(const std::vector<Accepted>&)> witness);
  /// Called on the commit thread with each batch that became durable, after the `done` of its messages; once a batch,
  /// in the order of ids, which rise from batch to batch. Set once before the first accept.
  void on_accepted(std::function<void(std::vector<Accepted>)> sink);

  /// `done` gets the id after the sync, or why it was not stored (nothing is kept then).
  void accept(NewMessage message, std::function<void(Result<MessageId>)> done);
  /// Never fails: kept and written again until it succeeds. `applied` runs once the records are in the database
  /// (visible to readers; on stable storage with the next sync, at the latest 200 ms later).
  void record(std::vector<Outcome> outcomes, std::function<void()> applied);
  /// Moves due records to another time (operator's retry). Records that no longer exist are skipped.
  void reschedule(std::vector<DueEntry> entries, TimePoint due, std::function<void()> applied);

  /// Drops due records that read_lane returned although their message is gone (load said no_such_file_or_directory): a
  /// power cut between unsynced records may leave such. Those of a message that exists stay.
  void discard(std::vector<DueEntry> entries);

  /// What a new message would hear now. Cheap; any thread.
  Refusal refusal() const;
  /// Outcomes handed to record() and not yet in the database.
  std::size_t unrecorded() const;
  /// How many of them there may be (SpoolOptions); whoever takes mail for delivery keeps to it.
  std::size_t max_unrecorded() const;
  /// The last write failed and none has succeeded since. Cheap; any thread.
  bool write_fails() const;

  /// The live object of `id`, or one read from disk (progress and stored signature included, content not). Error
  /// no_such_file_or_directory if gone.
  Result<MessagePtr> load(MessageId id);
  Result<std::string> read_content(MessageId id);
  /// The content of a live message, read when it is not in memory, kept with it and counted in bytes_in_memory.
  Result<std::shared_ptr<const std::string>> load_content(const MessagePtr& message);
  /// Records of `lane` not before `from` in key order (nullopt: from its start), due at or before `until`, at most
  /// `limit`.
  Result<LanePage> read_lane(const LaneKey& lane, const std::optional<DueEntry>& from, TimePoint until,
                             std::size_t limit);
  /// Every lane with its counts: one pass over the due index. Records of messages above `up_to` are not counted (they
  /// are announced by on_accepted).
  Result<std::vector<LaneCount>> scan_lanes(MessageId up_to);
  /// The highest id given out so far; any thread.
  MessageId last_id() const;
  /// Due records in key order after `after` (nullopt: from the start); for listings.
  Result<std::vector<DueEntry>> list(const std::optional<DueEntry>& after, std::size_t limit);
  Result<StoredMessage> show(MessageId id);

  /// Durable small values that must survive a restart (column family counters).
  Result<std::optional<std::string>> counter(const std::string& key);
  void set_counter(std::string key, std::string value);

  SpoolStats stats() const;
  /// Writes and syncs everything pending, then refuses further work. Idempotent.
  void close();

  struct Impl;

 private:
  explicit Spool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace danki::queue
