#pragma once

#include "queue/batch_builder.hpp"
#include "queue/content_memory.hpp"
#include "queue/disk_reserve.hpp"
#include "queue/operations.hpp"
#include "queue/registry.hpp"
#include "queue/store.hpp"

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace danki::queue {

/// The commit thread: gathers what all sessions left into one batch, writes and syncs it, and tells them. While it
/// waits for the disk the next batch gathers by itself, so a lone session never waits for company. After a failed write
/// it refuses new mail, keeps everything else, and brings the database back.
class Committer {
 public:
  struct Counters {
    std::atomic<std::uint64_t> messages{0}, accepted{0}, removed{0}, syncs{0}, batches{0}, failed_writes{0};
    std::atomic<std::uint64_t> unrecorded{0};
    std::atomic<bool> failing{false}, failing_for_space{false};
  };

  Committer(const SpoolOptions& options, const Clock& clock, Store& store, Registry& registry, ContentMemory& memory,
            DiskReserve& reserve);
  ~Committer();

  /// Reads where the last run ended and starts the thread.
  Result<void> start();
  void on_stored(std::function<void(const std::vector<Accepted>&)> witness) { witness_ = std::move(witness); }
  void on_accepted(std::function<void(std::vector<Accepted>)> sink) { sink_ = std::move(sink); }
  OperationQueue& queue() { return queue_; }
  const Counters& counters() const { return counters_; }
  Counters& counters() { return counters_; }
  /// The highest id given out, in this run or an earlier one.
  MessageId last_id() const { return MessageId{last_id_}; }
  /// Writes and syncs what was left so far, then ends the thread.
  void stop();

 private:
  using Steady = std::chrono::steady_clock;

  /// A message in the batch being written, and who waits for it.
  struct Admission {
    MessagePtr message;
    std::string content;
    std::function<void(Result<MessageId>)> done;  // null for a report
    std::optional<MessageId> report_on;
  };
  /// What happens when the batch is in the database.
  struct Consequences {
    std::vector<KeptOp> operations;  // with the messages they hold, and who wants to know
    std::vector<MessagePtr> loaded;  // for this batch only; the next one must find the same object
    std::vector<BatchBuilder::StoredPrepared> stored_prepared;
    std::vector<Admission> reports;  // of outcomes
    std::size_t outcomes = 0;
    std::size_t looked_up = 0;  // due records of moves and discards
    std::size_t removed = 0;
  };
  /// A written batch that must be written again if the log should lose it.
  struct UnsyncedBatch {
    Head head;
    rocksdb::WriteBatch batch;
  };
  /// What a failed write left behind.
  struct Failure {
    std::optional<Head> head;   // of the failed batch; nullopt when it was a sync that failed
    rocksdb::WriteBatch batch;  // the failed one, without admissions and head
    Consequences consequences;
    std::vector<MessagePtr> refused;  // in the failed batch; withdrawn should it be in the database after all
    bool resuming_helps = true;
    Steady::time_point retry_at{};
    std::chrono::milliseconds pause{};
  };

  void run();
  Steady::time_point next_wake() const;
  void gather_if_slow();
  void commit_all(std::vector<AcceptOp>& accepts);
  bool commit_batch(std::vector<AcceptOp>& accepts, std::size_t& next);
  void add_kept(Consequences& consequences);
  bool add(RecordOp& op, Consequences& consequences);
  bool add(RescheduleOp& op, Consequences& consequences);
  bool add(DiscardOp& op, Consequences& consequences);
  bool add(CounterOp& op, Consequences& consequences);
  std::vector<Admission> add_accepts(std::vector<AcceptOp>& accepts, std::size_t& next);
  bool is_full(std::size_t operations) const;
  Admission admit(NewMessage message, std::function<void(Result<MessageId>)> done);
  MessageId new_id();
  Result<MessagePtr> load(MessageId id);
  Head head_after(std::size_t admitted, std::size_t removed) const;
  void written(bool synced, const Head& head);
  void admitted(std::vector<Admission> admissions);
  void applied(Consequences consequences);
  void refuse(std::vector<AcceptOp>& accepts, std::size_t from);

  void sync_if_due(Steady::time_point now);
  void look_after_disk(Steady::time_point now);
  void flush_if_useful(Steady::time_point now);
  void begin_failure(const rocksdb::Status& status, Failure failure);
  void batch_failed(const rocksdb::Status& status, const Head& head, Consequences consequences,
                    std::vector<Admission> admissions);
  void recover(Steady::time_point now);
  rocksdb::Status bring_back();
  rocksdb::Status write_again();
  rocksdb::Status settle_failed_batch();
  rocksdb::Status withdraw_refused();
  void last_attempts();

  const SpoolOptions& options_;
  const Clock& clock_;
  Store& store_;
  Registry& registry_;
  ContentMemory& memory_;
  DiskReserve& reserve_;
  OperationQueue queue_;
  Counters counters_;
  std::function<void(const std::vector<Accepted>&)> witness_;
  std::function<void(std::vector<Accepted>)> sink_;
  std::atomic<std::uint64_t> last_id_{0};

  // The rest belongs to the thread.
  BatchBuilder builder_;
  std::deque<KeptOp> kept_;
  Head head_;                  // of the last batch in the database
  std::uint64_t synced_ = 0;   // batches up to this one are on stable storage
  std::uint64_t next_id_ = 0;  // not lowered when a batch fails
  std::deque<UnsyncedBatch> unsynced_;
  Steady::time_point sync_at_{};  // when unsynced_ is not empty
  std::optional<Failure> failure_;
  std::size_t answered_ = 0;  // messages of the last synced batch
  Steady::duration last_sync_took_{};
  Steady::time_point disk_check_at_{};
  Steady::time_point flushed_at_{};
  std::uint64_t flushed_batch_ = 0;
  std::uint64_t removed_since_flush_ = 0, bytes_since_flush_ = 0;

  std::jthread thread_;  // last: everything above outlives it
};

}  // namespace danki::queue
