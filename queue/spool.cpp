#include "queue/spool.hpp"

#include "queue/committer.hpp"
#include "queue/content_memory.hpp"
#include "queue/disk_reserve.hpp"
#include "queue/errc.hpp"
#include "queue/reader.hpp"
#include "queue/registry.hpp"
#include "queue/store.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

namespace danki::queue {
namespace {

/// Counters handed over and not yet in the database: a reader finds the newest, and one that is set many times while
/// writes fail waits as one operation.
class PendingCounters {
 public:
  /// True when an operation must be queued for it.
  bool set(const std::string& key, std::string value) {
    const std::scoped_lock lock(mutex_);
    Pending& pending = values_[key];
    pending.value = std::move(value);
    return !std::exchange(pending.is_queued, true);
  }
  /// The queued operation is being written.
  std::string take(const std::string& key) {
    const std::scoped_lock lock(mutex_);
    Pending& pending = values_[key];
    pending.is_queued = false;
    ++pending.writes;
    return pending.value;
  }
  void written(const std::string& key) {
    const std::scoped_lock lock(mutex_);
    const auto at = values_.find(key);
    if (--at->second.writes == 0 && !at->second.is_queued) values_.erase(at);
  }
  std::optional<std::string> find(const std::string& key) {
    const std::scoped_lock lock(mutex_);
    const auto at = values_.find(key);
    return at == values_.end() ? std::nullopt : std::optional(at->second.value);
  }

 private:
  struct Pending {
    std::string value;
    bool is_queued = false;
    std::size_t writes = 0;
  };

  std::mutex mutex_;
  std::map<std::string, Pending> values_;
};

}  // namespace

struct Spool::Impl {
  Impl(SpoolOptions o, const Clock& clock, std::unique_ptr<Store> s)
      : options(std::move(o)),
        store(std::move(s)),
        memory(options.body_memory_bytes),
        reserve(options, store->files()),
        committer(options, clock, *store, *registry, memory, reserve) {}

  template <class F>
  auto reading(F&& read) -> decltype(read(std::declval<const Store::Reading&>())) {
    const auto place = store->read();
    if (!place) return std::unexpected(place.error());
    return read(*place);
  }

  const SpoolOptions options;
  const std::unique_ptr<Store> store;
  const std::shared_ptr<Registry> registry = std::make_shared<Registry>();  // with the live messages
  ContentMemory memory;
  DiskReserve reserve;
  PendingCounters pending_counters;
  UnreadableRecords unreadable;
  std::atomic<bool> closed{false};
  Committer committer;
};

Result<std::unique_ptr<Spool>> Spool::open(SpoolOptions options, const Clock& clock, rocksdb::Env* env) {
  auto store = Store::open(options, env);
  if (!store) return std::unexpected(store.error());
  auto impl = std::make_unique<Impl>(std::move(options), clock, std::move(*store));
  if (auto started = impl->committer.start(); !started) return std::unexpected(started.error());
  return std::unique_ptr<Spool>(new Spool(std::move(impl)));
}

Spool::Spool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Spool::~Spool() {
  close();
}

void Spool::on_stored(std::function<void(const std::vector<Accepted>&)> witness) {
  impl_->committer.on_stored(std::move(witness));
}

void Spool::on_accepted(std::function<void(std::vector<Accepted>)> sink) {
  impl_->committer.on_accepted(std::move(sink));
}

void Spool::accept(NewMessage message, std::function<void(Result<MessageId>)> done) {
  if (!can_be_stored(message.envelope)) {
    done(std::unexpected(Error{Errc::InvalidMessage}));
    return;
  }
  AcceptOp op{.message = std::move(message), .done = std::move(done)};
  if (!impl_->committer.queue().push(op)) op.done(std::unexpected(Error{Errc::Closed}));
}

void Spool::record(std::vector<Outcome> outcomes, std::function<void()> applied) {
  const std::size_t count = outcomes.size();
  auto& unrecorded = impl_->committer.counters().unrecorded;
  unrecorded += count;
  KeptOp op = RecordOp{.outcomes = std::move(outcomes), .applied = std::move(applied)};
  if (!impl_->committer.queue().push(std::move(op))) unrecorded -= count;  // tried again after the next start
}

void Spool::reschedule(std::vector<DueEntry> entries, TimePoint due, std::function<void()> applied) {
  impl_->committer.queue().push(RescheduleOp{.entries = std::move(entries), .due = due, .applied = std::move(applied)});
}

void Spool::discard(std::vector<DueEntry> entries) {
  impl_->committer.queue().push(DiscardOp{.entries = std::move(entries), .applied = nullptr});
}

void Spool::set_counter(std::string key, std::string value) {
  PendingCounters& pending = impl_->pending_counters;
  if (!pending.set(key, std::move(value))) return;
  impl_->committer.queue().push(CounterOp{.key = key,
                                          .take = [&pending, key] { return pending.take(key); },
                                          .applied = [&pending, key] { pending.written(key); }});
}

Refusal Spool::refusal() const {
  const auto& counters = impl_->committer.counters();
  if (counters.failing) return counters.failing_for_space ? Refusal::DiskReserve : Refusal::WriteFailed;
  if (impl_->reserve.is_low()) return Refusal::DiskReserve;
  // Contents stay in memory only where there is room; what waits to be written has nowhere else to be.
  if (impl_->committer.queue().waiting_bytes() > impl_->options.body_memory_bytes) return Refusal::MemoryLimit;
  return Refusal::None;
}

std::size_t Spool::unrecorded() const {
  return impl_->committer.counters().unrecorded;
}

std::size_t Spool::max_unrecorded() const {
  return impl_->options.max_unrecorded_outcomes;
}

bool Spool::write_fails() const {
  return impl_->committer.counters().failing;
}

Result<MessagePtr> Spool::load(MessageId id) {
  return impl_->registry->load(
      id, [&] { return impl_->reading([&](const Store::Reading& reading) { return read_message(reading, id); }); });
}

Result<std::string> Spool::read_content(MessageId id) {
  return impl_->reading([&](const Store::Reading& reading) { return read_body(reading, id); });
}

Result<std::shared_ptr<const std::string>> Spool::load_content(const MessagePtr& message) {
  if (auto content = message->content()) return content;
  auto read = read_content(message->id);
  if (!read) return std::unexpected(read.error());
  auto content = impl_->memory.share(std::move(*read));
  message->set_content(content);
  return content;
}

Result<LanePage> Spool::read_lane(const LaneKey& lane, const std::optional<DueEntry>& from, TimePoint until,
                                  std::size_t limit) {
  return impl_->reading([&](const Store::Reading& reading) {
    return read_lane_page(reading, lane, from, until, limit, impl_->unreadable);
  });
}

Result<std::vector<LaneCount>> Spool::scan_lanes(MessageId up_to) {
  return impl_->reading([&](const Store::Reading& reading) { return count_lanes(reading, up_to, impl_->unreadable); });
}

MessageId Spool::last_id() const {
  return impl_->committer.last_id();
}

Result<std::vector<DueEntry>> Spool::list(const std::optional<DueEntry>& after, std::size_t limit) {
  return impl_->reading(
      [&](const Store::Reading& reading) { return list_due(reading, after, limit, impl_->unreadable); });
}

Result<StoredMessage> Spool::show(MessageId id) {
  auto message = impl_->reading([&](const Store::Reading& reading) { return read_message(reading, id); });
  if (!message) return std::unexpected(message.error());
  const Message& stored = **message;
  StoredMessage shown{.id = id, .envelope = stored.envelope, .progress = stored.progress};
  for (const Ledger::Record& record : stored.ledger()->records) shown.entries.push_back(due_entry(stored, record));
  return shown;
}

Result<std::optional<std::string>> Spool::counter(const std::string& key) {
  if (auto pending = impl_->pending_counters.find(key)) return pending;
  return impl_->reading([&](const Store::Reading& reading) { return read_counter(reading, key); });
}

SpoolStats Spool::stats() const {
  const auto& c = impl_->committer.counters();
  return {.messages = c.messages,
          .accepted = c.accepted,
          .removed = c.removed,
          .syncs = c.syncs,
          .batches = c.batches,
          .failed_writes = c.failed_writes,
          .unrecorded_outcomes = c.unrecorded,
          .bytes_in_memory = impl_->memory.used(),
          .disk_free_bytes = impl_->reserve.free_bytes(),
          .unreadable_due_records = impl_->unreadable.count(),
          .write_failing = c.failing};
}

void Spool::close() {
  if (impl_->closed.exchange(true)) return;
  impl_->committer.stop();
  impl_->store->close();
}

}  // namespace danki::queue
