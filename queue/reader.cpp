#include "queue/reader.hpp"

#include "queue/errc.hpp"
#include "queue/ledger.hpp"
#include "queue/records.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include <fmt/format.h>

namespace danki::queue {
namespace {

constexpr std::size_t kScanReadahead = 512 << 10;

/// All reads that belong together see the same moment.
class Snapshot {
 public:
  explicit Snapshot(const Store::Reading& reading) : reading_(reading), snapshot_(reading->GetSnapshot()) {}
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() { reading_->ReleaseSnapshot(snapshot_); }
  const rocksdb::Snapshot* get() const { return snapshot_; }

 private:
  const Store::Reading& reading_;
  const rocksdb::Snapshot* snapshot_;
};

std::string about(MessageId id) {
  return "message " + id.to_string();
}

Error with_id(Error error, MessageId id) {
  error.detail = fmt::format("{}: {}", about(id), error.detail);
  return error;
}

/// Everything the state family holds of one message.
struct StateOfMessage {
  std::vector<RecipientProgress> progress;
  std::vector<std::optional<DuePlace>> places;
  std::vector<std::uint8_t> flags;
  std::shared_ptr<const Message::Prepared> prepared;
};

Result<void> take_state_record(std::string_view key, std::string_view value, StateOfMessage& state) {
  constexpr std::size_t kStateKeyBytes = 8 + 4;
  const auto damaged = std::unexpected(Error{Errc::Damaged, "a key of the state family"});
  if (key.size() < kStateKeyBytes) return damaged;
  std::uint32_t index = 0;
  for (std::size_t i = 8; i < kStateKeyBytes; ++i) index = (index << 8) | static_cast<unsigned char>(key[i]);
  if (index == kPreparedIndex) {
    auto prepared = decode_prepared(value);
    if (!prepared) return std::unexpected(prepared.error());
    state.prepared = std::make_shared<const Message::Prepared>(std::move(*prepared));
    return {};
  }
  if (index >= state.progress.size()) return damaged;
  if (key.size() > kStateKeyBytes) {  // sorts after the recipient's state, whose place it replaces
    const auto place = decode_moved(value);
    if (!place) return std::unexpected(place.error());
    state.places[index] = *place;
    state.flags[index] |= Ledger::kMovedWritten;
    return {};
  }
  auto record = decode_state(value);
  if (!record) return std::unexpected(record.error());
  state.progress[index] = std::move(record->progress);
  state.places[index] = record->place;
  state.flags[index] |= Ledger::kStateWritten;
  if (state.progress[index].state != RecipientProgress::State::Pending) state.flags[index] |= Ledger::kFinished;
  return {};
}

Result<StateOfMessage> read_state(const Store::Reading& reading, rocksdb::ReadOptions options, MessageId id,
                                  std::size_t recipients) {
  StateOfMessage state{.progress = std::vector<RecipientProgress>(recipients),
                       .places = std::vector<std::optional<DuePlace>>(recipients),
                       .flags = std::vector<std::uint8_t>(recipients),
                       .prepared = nullptr};
  const std::string end_key = id_key(MessageId{id.value + 1});
  const rocksdb::Slice end(end_key);
  if (id.value + 1 != 0) options.iterate_upper_bound = &end;
  const std::unique_ptr<rocksdb::Iterator> at(reading->NewIterator(options, reading.family(Family::State)));
  for (at->Seek(id_key(id)); at->Valid(); at->Next()) {
    if (auto taken = take_state_record(at->key().ToStringView(), at->value().ToStringView(), state); !taken)
      return std::unexpected(taken.error());
  }
  if (!at->status().ok()) return std::unexpected(to_error(at->status(), "state"));
  return state;
}

/// Which due records exist follows from where each pending recipient was put last.
Result<std::unique_ptr<Ledger>> rebuild_ledger(const mail::Envelope& envelope, StateOfMessage& state) {
  auto ledger = std::make_unique<Ledger>();
  std::map<std::string_view, Ledger::Record> first_records;  // where nothing was recorded yet
  std::map<std::pair<std::uint32_t, TimePoint>, Ledger::Record> later_records;
  for (std::uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (state.flags[i] & Ledger::kFinished) continue;
    ++ledger->pending;
    const auto& place = state.places[i];
    Ledger::Record& record =
        place ? later_records[{place->first, place->due}] : first_records[envelope.recipients[i].address.domain];
    record.due = place ? place->due : first_due(envelope);
    record.recipients.push_back(i);
  }
  for (auto& [domain, record] : first_records) ledger->records.push_back(std::move(record));
  for (auto& [place, record] : later_records) {
    if (record.recipients.front() != place.first)
      return std::unexpected(Error{Errc::Damaged, "the due records of its recipients"});
    ledger->records.push_back(std::move(record));
  }
  std::sort(ledger->records.begin(), ledger->records.end(), [](const Ledger::Record& a, const Ledger::Record& b) {
    return a.recipients.front() < b.recipients.front();
  });
  ledger->flags = std::move(state.flags);
  ledger->prepared_written = state.prepared != nullptr;
  ledger->prepared = std::move(state.prepared);
  return ledger;
}

rocksdb::ReadOptions scan_options() {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = kScanReadahead;
  return options;
}

}  // namespace

Result<std::unique_ptr<Message>> read_message(const Store::Reading& reading, MessageId id) {
  if (!reading.shows(id)) return std::unexpected(Error{std::errc::no_such_file_or_directory, about(id)});
  const Snapshot snapshot(reading);
  rocksdb::ReadOptions options;
  options.snapshot = snapshot.get();
  rocksdb::PinnableSlice value;
  const auto status = reading->Get(options, reading.family(Family::Envelopes), id_key(id), &value);
  if (!status.ok()) return std::unexpected(to_error(status, about(id)));
  auto envelope = decode_envelope(value.ToStringView());
  if (!envelope) return std::unexpected(with_id(envelope.error(), id));
  auto state = read_state(reading, options, id, envelope->recipients.size());
  if (!state) return std::unexpected(with_id(state.error(), id));
  auto ledger = rebuild_ledger(*envelope, *state);
  if (!ledger) return std::unexpected(with_id(ledger.error(), id));
  auto message = std::make_unique<Message>(id, std::move(*envelope));
  message->progress = std::move(state->progress);
  if ((*ledger)->prepared) {
    message->set_prepared((*ledger)->prepared);
    message->prepared_stored = true;
  }
  message->set_ledger(std::move(*ledger));
  return message;
}

Result<std::string> read_body(const Store::Reading& reading, MessageId id) {
  rocksdb::ReadOptions options;
  options.fill_cache = false;  // read once and sent
  std::string content;
  const auto status = reading->Get(options, reading.family(Family::Bodies), id_key(id), &content);
  if (!status.ok()) return std::unexpected(to_error(status, about(id)));
  return content;
}

Result<LanePage> read_lane_page(const Store::Reading& reading, const LaneKey& lane, const std::optional<DueEntry>& from,
                                TimePoint until, std::size_t limit, UnreadableRecords& unreadable) {
  const std::string end_key = lane_end(lane);
  const rocksdb::Slice end(end_key);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &end;
  const std::unique_ptr<rocksdb::Iterator> at(reading->NewIterator(options, reading.family(Family::Due)));
  LanePage page;
  // Never from the head: what was taken there has left removal marks that would have to be walked over.
  for (at->Seek(from ? due_key(*from) : lane_begin(lane)); at->Valid(); at->Next()) {
    auto entry = decode_due(at->key().ToStringView(), at->value().ToStringView());
    if (!entry) {
      unreadable.note(at->key().ToStringView(), entry.error());
      continue;
    }
    if (!reading.shows(entry->id)) continue;
    if (entry->due > until || page.entries.size() >= limit) {
      page.next = std::move(*entry);
      break;
    }
    page.entries.push_back(std::move(*entry));
  }
  if (!at->status().ok()) return std::unexpected(to_error(at->status(), "lane " + lane.domain));
  return page;
}

Result<std::vector<LaneCount>> count_lanes(const Store::Reading& reading, MessageId up_to,
                                           UnreadableRecords& unreadable) {
  const std::unique_ptr<rocksdb::Iterator> at(reading->NewIterator(scan_options(), reading.family(Family::Due)));
  std::vector<LaneCount> lanes;
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    const auto record = summarise_due(at->key().ToStringView(), at->value().ToStringView());
    if (!record) {
      unreadable.note(at->key().ToStringView(), record.error());
      continue;
    }
    if (record->id > up_to || !reading.shows(record->id)) continue;
    const bool same_lane = !lanes.empty() && lanes.back().lane.domain == record->domain &&
                           lanes.back().lane.klass == record->klass && lanes.back().lane.tenant == record->tenant;
    if (!same_lane) {
      LaneKey lane{
          .domain = std::string(record->domain), .klass = record->klass, .tenant = std::string(record->tenant)};
      lanes.push_back(
          {.lane = std::move(lane), .earliest_due = record->due});  // in key order the first is the earliest
    }
    ++lanes.back().entries;
    lanes.back().recipients += record->recipients;
  }
  if (!at->status().ok()) return std::unexpected(to_error(at->status(), "due index"));
  return lanes;
}

Result<std::vector<DueEntry>> list_due(const Store::Reading& reading, const std::optional<DueEntry>& after,
                                       std::size_t limit, UnreadableRecords& unreadable) {
  const std::unique_ptr<rocksdb::Iterator> at(reading->NewIterator({}, reading.family(Family::Due)));
  if (after) {
    const std::string key = due_key(*after);
    at->Seek(key);
    if (at->Valid() && at->key() == rocksdb::Slice(key)) at->Next();
  } else {
    at->SeekToFirst();
  }
  std::vector<DueEntry> entries;
  for (; at->Valid() && entries.size() < limit; at->Next()) {
    auto entry = decode_due(at->key().ToStringView(), at->value().ToStringView());
    if (!entry) {
      unreadable.note(at->key().ToStringView(), entry.error());
      continue;
    }
    if (!reading.shows(entry->id)) continue;
    entries.push_back(std::move(*entry));
  }
  if (!at->status().ok()) return std::unexpected(to_error(at->status(), "due index"));
  return entries;
}

Result<std::optional<std::string>> read_counter(const Store::Reading& reading, const std::string& key) {
  std::string value;
  const auto status = reading->Get({}, reading.family(Family::Counters), key, &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return std::unexpected(to_error(status, "counter " + key));
  return value;
}

Result<Head> count_head(const Store::Reading& reading) {
  const std::unique_ptr<rocksdb::Iterator> at(reading->NewIterator(scan_options(), reading.family(Family::Envelopes)));
  Head head;
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    ++head.messages;
    head.next_id = (id_of_key(at->key().ToStringView()).value >> 8) + 1;
  }
  if (!at->status().ok()) return std::unexpected(to_error(at->status(), "envelopes"));
  return head;
}

}  // namespace danki::queue
