#include "queue/committer.hpp"

#include "base/log.hpp"
#include "queue/errc.hpp"
#include "queue/reader.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace danki::queue {
namespace {

constexpr std::size_t kMaxBatchBytes =
    8 << 20;  // 20 sessions with 100 KiB are 2 MiB; larger ones gain nothing by company
constexpr std::chrono::milliseconds kDiskCheckEvery{500};
// Lock-step sessions fall into two groups that take turns, each waiting for the other's sync. Where a sync is slow,
// waiting a part of it for the group just answered makes one group of them: half the syncs.
constexpr std::chrono::milliseconds kSlowSync{1};
constexpr std::chrono::milliseconds kLongestGathering{5};
// 2020-01-01T00:00:00Z, from which ids count.
constexpr TimePoint kIdEpoch{std::chrono::seconds{1577836800}};
// What a power cut took may have been given ids (refused mail, reports of outcomes not yet synced): less than in a
// second of them.
constexpr std::uint64_t kIdsSkipped = 1'000'000;

// Memtables are written out by size alone while mail flows. When it ceases, what they hold of removals would pin log,
// tables and blobs.
constexpr std::chrono::seconds kFlushSoonest{15};
constexpr std::chrono::minutes kFlushLatest{5};
constexpr std::uint64_t kFlushBytes = 1 << 20;
constexpr std::uint64_t kFlushRemovals = 1000;

}  // namespace

Committer::Committer(const SpoolOptions& options, const Clock& clock, Store& store, Registry& registry,
                     ContentMemory& memory, DiskReserve& reserve)
    : options_(options),
      clock_(clock),
      store_(store),
      registry_(registry),
      memory_(memory),
      reserve_(reserve),
      builder_(store) {}

Committer::~Committer() {
  stop();
}

Result<void> Committer::start() {
  auto stored = store_.read_head();
  if (!stored) return std::unexpected(stored.error());
  if (*stored) {
    head_ = **stored;
  } else {
    const auto reading = store_.read();
    if (!reading) return std::unexpected(reading.error());
    auto counted = count_head(*reading);
    if (!counted) return std::unexpected(counted.error());
    head_ = *counted;
  }
  synced_ = head_.batch;  // opening wrote the log's content to tables
  flushed_batch_ = head_.batch;
  next_id_ = head_.next_id + kIdsSkipped;
  last_id_ = (next_id_ << 8) - 1;
  store_.show_up_to(last_id());
  counters_.messages = head_.messages;
  flushed_at_ = Steady::now();
  reserve_.check(true);
  disk_check_at_ = Steady::now() + kDiskCheckEvery;
  thread_ = std::jthread([this] { run(); });
  return {};
}

void Committer::stop() {
  queue_.close();
  if (thread_.joinable()) thread_.join();
}

void Committer::run() {
  std::vector<AcceptOp> accepts;
  for (bool open = true; open;) {
    accepts.clear();
    open = queue_.take(accepts, kept_, next_wake());
    const auto now = Steady::now();
    look_after_disk(now);
    if (failure_ && now >= failure_->retry_at) recover(now);
    commit_all(accepts);
    sync_if_due(Steady::now());
    gather_if_slow();
  }
  last_attempts();
}

void Committer::gather_if_slow() {
  const std::size_t answered = std::exchange(answered_, 0);
  if (failure_ || answered == 0 || last_sync_took_ < kSlowSync) return;
  queue_.gather(answered, Steady::now() + std::min<Steady::duration>(last_sync_took_ / 2, kLongestGathering));
}

Committer::Steady::time_point Committer::next_wake() const {
  auto wake = disk_check_at_;
  if (failure_) return std::min(wake, failure_->retry_at);
  if (!unsynced_.empty()) wake = std::min(wake, sync_at_);
  return wake;
}

void Committer::commit_all(std::vector<AcceptOp>& accepts) {
  std::size_t next = 0;
  if (reserve_.is_low()) {
    refuse(accepts, 0);
    next = accepts.size();
  }
  while (!failure_ && (next < accepts.size() || !kept_.empty())) {
    if (!commit_batch(accepts, next)) break;
  }
  refuse(accepts, next);
}

/// Kept operations first: should the write fail, the admissions behind them are taken off and the rest is written again
/// as it is.
bool Committer::commit_batch(std::vector<AcceptOp>& accepts, std::size_t& next) {
  Consequences consequences;
  builder_.begin();
  add_kept(consequences);
  builder_.set_save_point();
  std::vector<Admission> admissions = add_accepts(accepts, next);
  if (builder_.empty()) {  // nothing but late outcomes and the like
    applied(std::move(consequences));
    return true;
  }
  const Head head = head_after(admissions.size() + consequences.reports.size(), consequences.removed);
  builder_.head(head);
  const bool sync = !admissions.empty();
  const auto began = Steady::now();
  const auto status = store_.write(builder_.batch(), sync);
  if (sync) {
    last_sync_took_ = Steady::now() - began;
    answered_ = admissions.size();
  }
  if (!status.ok()) {
    batch_failed(status, head, std::move(consequences), std::move(admissions));
    return false;
  }
  written(sync, head);
  // The reports have the lower ids. One call of the sink for all: whoever hears of an id knows all below it.
  std::vector<Admission> stored = std::move(consequences.reports);
  stored.insert(stored.end(), std::make_move_iterator(admissions.begin()), std::make_move_iterator(admissions.end()));
  admitted(std::move(stored));
  applied(std::move(consequences));
  return true;
}

bool Committer::is_full(std::size_t operations) const {
  return operations >= options_.max_batch || builder_.bytes() >= kMaxBatchBytes;
}

void Committer::add_kept(Consequences& consequences) {
  while (!kept_.empty() && !is_full(consequences.outcomes + consequences.operations.size() + consequences.looked_up)) {
    const bool complete = std::visit([&](auto& op) { return add(op, consequences); }, kept_.front());
    if (!complete) break;
    consequences.operations.push_back(std::move(kept_.front()));
    kept_.pop_front();
  }
  consequences.removed = builder_.removed();
  consequences.stored_prepared = std::move(builder_.stored_prepared());
}

bool Committer::add(RecordOp& op, Consequences& consequences) {
  for (Outcome& outcome : op.outcomes) {
    if (!builder_.record(outcome) || !outcome.report) continue;
    if (can_be_stored(outcome.report->envelope)) {
      consequences.reports.push_back(admit(std::move(*outcome.report), nullptr));
      consequences.reports.back().report_on = outcome.message->id;
    } else {
      log::error("a report is not a message that can be stored", {{"about", outcome.message->id.to_string()}});
    }
  }
  consequences.outcomes += op.outcomes.size();
  return true;
}

bool Committer::add(RescheduleOp& op, Consequences& consequences) {
  for (; op.next < op.entries.size(); ++op.next) {
    if (is_full(consequences.looked_up++)) return false;
    const DueEntry& entry = op.entries[op.next];
    const auto message = load(entry.id);
    if (!message) continue;
    builder_.reschedule(**message, entry, op.due);
    consequences.loaded.push_back(*message);
  }
  return true;
}

bool Committer::add(DiscardOp& op, Consequences& consequences) {
  for (; op.next < op.entries.size(); ++op.next) {
    if (is_full(consequences.looked_up++)) return false;
    const auto message = load(op.entries[op.next].id);
    if (!message && message.error().code == std::errc::no_such_file_or_directory) builder_.discard(op.entries[op.next]);
  }
  return true;
}

bool Committer::add(CounterOp& op, Consequences&) {
  builder_.counter(op.key, op.take());
  return true;
}

std::vector<Committer::Admission> Committer::add_accepts(std::vector<AcceptOp>& accepts, std::size_t& next) {
  std::vector<Admission> admissions;
  admissions.reserve(std::min(accepts.size() - next, options_.max_batch));
  for (; next < accepts.size() && !is_full(admissions.size()); ++next) {
    admissions.push_back(admit(std::move(accepts[next].message), std::move(accepts[next].done)));
  }
  return admissions;
}

Committer::Admission Committer::admit(NewMessage message, std::function<void(Result<MessageId>)> done) {
  auto admitted = std::make_unique<Message>(new_id(), std::move(message.envelope));
  admitted->set_ledger(new_ledger(admitted->envelope));
  builder_.accept(*admitted, message.content);
  // Known before it can be found on disk, so that nobody makes a second object of it.
  return {.message = registry_.add(std::move(admitted)),
          .content = std::move(message.content),
          .done = std::move(done),
          .report_on = {}};
}

/// Rises even when the clock steps back, now or between two runs: the head stores what comes next with every batch.
MessageId Committer::new_id() {
  const std::int64_t micros = std::chrono::duration_cast<std::chrono::microseconds>(clock_.now() - kIdEpoch).count();
  next_id_ = std::max(next_id_, static_cast<std::uint64_t>(std::max<std::int64_t>(micros, 0)));
  last_id_ = next_id_++ << 8 | options_.node;
  return last_id();
}

Result<MessagePtr> Committer::load(MessageId id) {
  return registry_.load(id, [&]() -> Result<std::unique_ptr<Message>> {
    const auto reading = store_.read();
    if (!reading) return std::unexpected(reading.error());
    return read_message(*reading, id);
  });
}

Head Committer::head_after(std::size_t admitted, std::size_t removed) const {
  const std::uint64_t messages = head_.messages + admitted;
  return {.batch = head_.batch + 1,
          .synced = synced_,
          .next_id = next_id_,
          .messages = messages - std::min<std::uint64_t>(messages, removed)};
}

void Committer::written(bool synced, const Head& head) {
  head_ = head;
  store_.show_up_to(last_id());
  counters_.messages = head.messages;
  ++counters_.batches;
  bytes_since_flush_ += builder_.bytes();
  if (synced) {
    ++counters_.syncs;
    synced_ = head.batch;
    unsynced_.clear();
    return;
  }
  if (unsynced_.empty()) sync_at_ = Steady::now() + options_.removal_sync;
  unsynced_.push_back({.head = head, .batch = std::move(builder_.batch())});
}

void Committer::admitted(std::vector<Admission> admissions) {
  if (admissions.empty()) return;
  counters_.accepted += admissions.size();
  std::vector<Accepted> accepted;
  std::vector<MessageId> ids;
  accepted.reserve(admissions.size());
  ids.reserve(admissions.size());
  for (Admission& admission : admissions) {
    Message& message = *admission.message;
    message.set_content(memory_.keep(std::move(admission.content)));
    std::vector<DueEntry> entries;
    entries.reserve(message.ledger()->records.size());
    for (const Ledger::Record& record : message.ledger()->records) entries.push_back(due_entry(message, record));
    ids.push_back(message.id);
    accepted.push_back(
        {.message = std::move(admission.message), .entries = std::move(entries), .report_on = admission.report_on});
  }
  if (witness_) witness_(accepted);
  // The sink wakes other threads, which would be in the way of the one that answers the client.
  for (std::size_t i = 0; i < admissions.size(); ++i) {
    if (admissions[i].done) admissions[i].done(ids[i]);
  }
  if (sink_) sink_(std::move(accepted));
}

void Committer::applied(Consequences consequences) {
  for (const auto& [message, prepared] : consequences.stored_prepared) message->mark_prepared_stored(prepared);
  counters_.removed += consequences.removed;
  removed_since_flush_ += consequences.removed;
  counters_.unrecorded -= consequences.outcomes;
  // Let go of the messages first: whoever hears that they are finished shall not find them live.
  for (KeptOp& op : consequences.operations) {
    if (auto* record = std::get_if<RecordOp>(&op)) record->outcomes.clear();
  }
  consequences.loaded.clear();
  for (KeptOp& op : consequences.operations) {
    std::visit(
        [](auto& o) {
          if (o.applied) o.applied();
        },
        op);
  }
}

void Committer::refuse(std::vector<AcceptOp>& accepts, std::size_t from) {
  const bool for_space = reserve_.is_low() || counters_.failing_for_space;
  for (std::size_t i = from; i < accepts.size(); ++i)
    accepts[i].done(std::unexpected(Error{for_space ? Errc::DiskReserve : Errc::WriteFailed}));
}

void Committer::sync_if_due(Steady::time_point now) {
  if (failure_ || unsynced_.empty() || now < sync_at_) return;
  const auto status = store_.sync();
  if (!status.ok()) {
    begin_failure(status, Failure());
    return;
  }
  ++counters_.syncs;
  synced_ = head_.batch;
  unsynced_.clear();
}

void Committer::look_after_disk(Steady::time_point now) {
  if (now < disk_check_at_) return;
  disk_check_at_ = now + kDiskCheckEvery;
  reserve_.check(!failure_);
  if (failure_) return;
  if (store_.background_failed()) store_.resume().PermitUncheckedError();  // again with the next look
  flush_if_useful(now);
}

void Committer::flush_if_useful(Steady::time_point now) {
  const bool is_drained = head_.messages == 0 && removed_since_flush_ > 0;
  const bool is_much = bytes_since_flush_ >= kFlushBytes || removed_since_flush_ >= kFlushRemovals || is_drained;
  if (head_.batch == flushed_batch_ ||
      now - flushed_at_ < (is_much ? kFlushSoonest : std::chrono::seconds(kFlushLatest)))
    return;
  store_.flush();
  flushed_at_ = now;
  flushed_batch_ = head_.batch;
  removed_since_flush_ = bytes_since_flush_ = 0;
}

}  // namespace danki::queue
