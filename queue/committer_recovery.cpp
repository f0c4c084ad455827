#include "base/log.hpp"
#include "queue/committer.hpp"
#include "queue/errc.hpp"

#include <algorithm>
#include <thread>

/// The commit thread after a failed write: what is promised stays in memory, new mail is refused, and the database is
/// brought back.
namespace danki::queue {
namespace {

constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{1000};
constexpr std::uint64_t kRoomToOpen = 4 << 20;  // logs, manifest, and tables that are a little larger than memtables
constexpr int kLastAttempts = 4;                // when the spool is closed meanwhile

rocksdb::Status to_status(const Error& error) {
  if (error.code == Errc::DiskReserve) return rocksdb::Status::NoSpace(error.message());
  return rocksdb::Status::IOError(error.message());
}

}  // namespace

void Committer::begin_failure(const rocksdb::Status& status, Failure failure) {
  ++counters_.failed_writes;
  counters_.failing_for_space = status.IsNoSpace();
  counters_.failing = true;
  log::error("the spool cannot be written", {{"error", status.ToString()}});
  if (status.IsNoSpace()) reserve_.release();
  failure_ = std::move(failure);
  failure_->pause = kFirstPause;
  failure_->retry_at = Steady::now() + kFirstPause;
}

/// Whoever waits for an admission hears at once; everything else will be written again.
void Committer::batch_failed(const rocksdb::Status& status, const Head& head, Consequences consequences,
                             std::vector<Admission> admissions) {
  builder_.drop_after_save_point();
  Failure failure{.head = head, .batch = std::move(builder_.batch()), .consequences = std::move(consequences)};
  for (const Admission& admission : admissions) failure.refused.push_back(admission.message);
  begin_failure(status, std::move(failure));
  for (Admission& admission : admissions) {
    const Errc why = status.IsNoSpace() ? Errc::DiskReserve : Errc::WriteFailed;
    admission.done(std::unexpected(Error{why, status.ToString()}));
  }
}

void Committer::recover(Steady::time_point now) {
  reserve_.check(false);
  auto status = bring_back();
  if (status.ok()) {
    status = write_again();
    if (!status.ok() && !status.IsNoSpace()) failure_->resuming_helps = false;
  }
  if (!status.ok()) {
    ++counters_.failed_writes;
    counters_.failing_for_space = status.IsNoSpace();
    if (status.IsNoSpace()) reserve_.release();
    failure_->pause = std::min(2 * failure_->pause, kLongestPause);
    failure_->retry_at = now + failure_->pause;
    return;
  }
  Consequences consequences = std::move(failure_->consequences);
  failure_.reset();
  store_.show_up_to(last_id());
  counters_.failing = false;
  counters_.failing_for_space = false;
  log::info("the spool can be written again");
  admitted(std::move(consequences.reports));
  applied(std::move(consequences));
}

rocksdb::Status Committer::bring_back() {
  if (store_.is_open()) {
    // Opening writes what the log holds to tables. Before there is room for that it would only fail, and while the
    // database stays open it can be read.
    if (counters_.failing_for_space && reserve_.free_bytes() < store_.memtable_bytes() + kRoomToOpen)
      return rocksdb::Status::NoSpace("not enough to open the database again");
    if (failure_->resuming_helps && !store_.log_failed()) {
      const auto status = store_.resume();
      if (status.ok() || status.IsNoSpace()) return status;
    }
    if (const auto status = store_.try_disk(); !status.ok()) return status;  // as above
  }
  if (const auto opened = store_.reopen(); !opened) {
    log::error("the spool cannot be opened again", {{"error", opened.error().message()}});
    return to_status(opened.error());
  }
  failure_->resuming_helps = true;
  return rocksdb::Status::OK();
}

/// The database is open again, and all it holds is on stable storage: resuming and opening write the memtables out. The
/// number of its last batch says what it does not hold.
rocksdb::Status Committer::write_again() {
  const auto stored = store_.read_head();
  if (!stored) return to_status(stored.error());
  head_ = stored->value_or(Head{.next_id = next_id_});
  for (UnsyncedBatch& lost : unsynced_) {
    if (lost.head.batch <= head_.batch) continue;
    if (const auto status = store_.write(lost.batch, true); !status.ok()) return status;
    head_ = lost.head;
  }
  if (const auto status = settle_failed_batch(); !status.ok()) return status;
  unsynced_.clear();
  synced_ = head_.batch;
  counters_.messages = head_.messages;
  return rocksdb::Status::OK();
}

rocksdb::Status Committer::settle_failed_batch() {
  if (!failure_->head) return rocksdb::Status::OK();
  if (head_.batch >= failure_->head->batch) return withdraw_refused();
  failure_->refused.clear();  // certainly not stored: what the failed write left in the log is gone
  rocksdb::WriteBatch& batch = failure_->batch;
  if (batch.Count() == 0) return rocksdb::Status::OK();
  const Head head = head_after(failure_->consequences.reports.size(), failure_->consequences.removed);
  batch.SetSavePoint();
  std::swap(builder_.batch(), batch);
  builder_.head(head);
  std::swap(builder_.batch(), batch);
  const auto status = store_.write(batch, true);
  if (status.ok()) {
    head_ = head;
    ++counters_.batches;
    ++counters_.syncs;
  } else {
    batch.RollbackToSavePoint().PermitUncheckedError();
  }
  return status;
}

/// The failed batch had reached the log after all, with the messages whose senders were told that they were not stored.
rocksdb::Status Committer::withdraw_refused() {
  const bool is_withdrawn = head_.batch > failure_->head->batch;
  if (is_withdrawn || failure_->refused.empty()) return rocksdb::Status::OK();
  builder_.begin();
  for (const MessagePtr& message : failure_->refused) builder_.withdraw(*message);
  const Head head = head_after(0, failure_->refused.size());
  builder_.head(head);
  const auto status = store_.write(builder_.batch(), true);
  if (status.ok()) head_ = head;
  return status;
}

/// Closed: the kept operations get a few more tries, then the mail they are about will be tried again after the next
/// start.
void Committer::last_attempts() {
  std::vector<AcceptOp> none;
  for (int attempt = 0; failure_ && attempt < kLastAttempts; ++attempt) {
    std::this_thread::sleep_until(failure_->retry_at);
    recover(Steady::now());
    commit_all(none);
  }
  sync_at_ = {};
  sync_if_due(Steady::now());
  if (counters_.unrecorded > 0)
    log::error("outcomes could not be recorded", {{"outcomes", counters_.unrecorded.load()}});
}

}  // namespace danki::queue
