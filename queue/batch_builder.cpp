#include "queue/batch_builder.hpp"

#include <algorithm>
#include <iterator>

namespace danki::queue {
namespace {

constexpr std::size_t kKeptBatchBytes = 4 << 20;  // a batch's buffer is used again unless a burst made it larger

using Recipients = std::vector<std::uint32_t>;

std::uint32_t first_of(const Ledger::Record& record) {
  return record.recipients.front();
}

auto place_for(Ledger& ledger, std::uint32_t first) {
  return std::lower_bound(ledger.records.begin(), ledger.records.end(), first,
                          [](const Ledger::Record& r, std::uint32_t f) { return first_of(r) < f; });
}

bool have_common(const Recipients& a, const Recipients& b) {
  auto x = a.begin();
  auto y = b.begin();
  while (x != a.end() && y != b.end()) {
    if (*x == *y) return true;
    *x < *y ? ++x : ++y;
  }
  return false;
}

/// Takes the records out of the ledger that hold any of `recipients`: mostly the one that was handed out. After a move
/// in between it is another one, perhaps several.
std::vector<Ledger::Record> take_records(Ledger& ledger, const Recipients& recipients) {
  std::vector<Ledger::Record> taken;
  if (recipients.empty()) return taken;
  const auto at = place_for(ledger, recipients.front());
  if (at != ledger.records.end() && at->recipients == recipients) {
    taken.push_back(std::move(*at));
    ledger.records.erase(at);
    return taken;
  }
  const auto rest = std::stable_partition(ledger.records.begin(), ledger.records.end(), [&](const Ledger::Record& r) {
    return !have_common(r.recipients, recipients);
  });
  taken.assign(std::move_iterator(rest), std::move_iterator(ledger.records.end()));
  ledger.records.erase(rest, ledger.records.end());
  return taken;
}

/// Splits off those of `from` that are in `wanted`; both rising.
Recipients take_common(Recipients& from, const Recipients& wanted) {
  Recipients common, rest;
  std::set_intersection(from.begin(), from.end(), wanted.begin(), wanted.end(), std::back_inserter(common));
  if (common.empty()) return common;
  std::set_difference(from.begin(), from.end(), common.begin(), common.end(), std::back_inserter(rest));
  from = std::move(rest);
  return common;
}

/// The changes that still count: the first end of a recipient is the one that stays.
std::vector<const Outcome::Change*> settle_changes(const Outcome& outcome, Ledger& ledger) {
  std::vector<const Outcome::Change*> settled;
  settled.reserve(outcome.changes.size());
  for (const Outcome::Change& change : outcome.changes) {
    if (change.recipient >= ledger.flags.size() || (ledger.flags[change.recipient] & Ledger::kFinished)) continue;
    settled.push_back(&change);
    if (change.progress.state == RecipientProgress::State::Pending) continue;
    ledger.flags[change.recipient] |= Ledger::kFinished;
    --ledger.pending;
  }
  return settled;
}

/// The recipients of the entry and of all changes, rising.
Recipients affected_by(const Outcome& outcome) {
  Recipients affected = outcome.entry.recipients;
  for (const Outcome::Change& change : outcome.changes) affected.push_back(change.recipient);
  std::sort(affected.begin(), affected.end());
  affected.erase(std::unique(affected.begin(), affected.end()), affected.end());
  return affected;
}

/// The records for those of the taken ones who are still pending: as the outcome says, and where it forgot somebody,
/// when they were due anyway. Nobody is lost.
std::vector<Ledger::Record> new_records(const Outcome& outcome, std::vector<Ledger::Record> taken,
                                        const Ledger& ledger) {
  std::vector<Ledger::Record> records;
  for (Ledger::Record& old : taken) {
    std::erase_if(old.recipients, [&](std::uint32_t r) { return ledger.flags[r] & Ledger::kFinished; });
    for (const DueEntry& remaining : outcome.remaining) {
      Recipients recipients = take_common(old.recipients, remaining.recipients);
      if (!recipients.empty()) records.push_back({.due = remaining.due, .recipients = std::move(recipients)});
    }
    if (!old.recipients.empty()) records.push_back(std::move(old));
  }
  return records;
}

}  // namespace

void BatchBuilder::begin() {
  if (batch_.GetDataSize() > kKeptBatchBytes)
    batch_ = rocksdb::WriteBatch();
  else
    batch_.Clear();
  removed_ = 0;
  stored_prepared_.clear();
}

// The batch refuses only what is larger than 4 GiB, which no message is.
void BatchBuilder::put(Family family, std::string_view key, std::string_view value) {
  batch_.Put(store_.family(family), rocksdb::Slice(key), rocksdb::Slice(value)).PermitUncheckedError();
}

void BatchBuilder::remove_once(Family family, std::string_view key) {
  batch_.SingleDelete(store_.family(family), rocksdb::Slice(key)).PermitUncheckedError();
}

void BatchBuilder::remove(Family family, std::string_view key) {
  batch_.Delete(store_.family(family), rocksdb::Slice(key)).PermitUncheckedError();
}

void BatchBuilder::put_due(const Message& message, const Ledger::Record& record) {
  const LaneKey lane = lane_of(message.envelope, first_of(record));
  put(Family::Due, due_key(lane, record.due, message.id, first_of(record)), encode_due_value(record.recipients));
}

void BatchBuilder::remove_due(const Message& message, const Ledger::Record& record) {
  const LaneKey lane = lane_of(message.envelope, first_of(record));
  remove_once(Family::Due, due_key(lane, record.due, message.id, first_of(record)));
}

void BatchBuilder::put_moved(const Message& message, Ledger& ledger, std::uint32_t recipient, const DuePlace& place) {
  put(Family::State, moved_key(message.id, recipient), encode_moved(place));
  ledger.flags[recipient] |= Ledger::kMovedWritten;
}

void BatchBuilder::put_state(const Message& message, Ledger& ledger, const Outcome::Change& change,
                             const std::optional<DuePlace>& place) {
  std::uint8_t& flags = ledger.flags[change.recipient];
  put(Family::State, state_key(message.id, change.recipient), encode_state(change.progress, place));
  if (flags & Ledger::kMovedWritten) remove(Family::State, moved_key(message.id, change.recipient));
  flags = static_cast<std::uint8_t>((flags & ~Ledger::kMovedWritten) | Ledger::kStateWritten);
}

void BatchBuilder::put_prepared(Message& message, Ledger& ledger) {
  auto prepared = message.prepared();
  if (!prepared || !prepared->error.empty() || prepared == ledger.prepared) return;
  put(Family::State, state_key(message.id, kPreparedIndex), encode_prepared(*prepared));
  stored_prepared_.emplace_back(&message, prepared.get());
  ledger.prepared_written = true;
  ledger.prepared = std::move(prepared);
}

void BatchBuilder::accept(const Message& message, std::string_view content) {
  put(Family::Bodies, id_key(message.id), content);
  put(Family::Envelopes, id_key(message.id), encode_envelope(message.envelope));
  for (const Ledger::Record& record : message.ledger()->records) put_due(message, record);
}

void BatchBuilder::withdraw(const Message& message) {
  for (const Ledger::Record& record : message.ledger()->records) remove_due(message, record);
  remove_once(Family::Envelopes, id_key(message.id));
  remove_once(Family::Bodies, id_key(message.id));
}

void BatchBuilder::remove_message(const Message& message, Ledger& ledger) {
  for (const Ledger::Record& record : ledger.records) remove_due(message, record);
  remove_once(Family::Envelopes, id_key(message.id));
  remove_once(Family::Bodies, id_key(message.id));
  for (std::uint32_t i = 0; i < ledger.flags.size(); ++i) {
    if (ledger.flags[i] & Ledger::kStateWritten) remove(Family::State, state_key(message.id, i));
    if (ledger.flags[i] & Ledger::kMovedWritten) remove(Family::State, moved_key(message.id, i));
  }
  if (ledger.prepared_written) remove(Family::State, state_key(message.id, kPreparedIndex));
  ledger.records.clear();
  ledger.removed = true;
  ++removed_;
}

bool BatchBuilder::record(const Outcome& outcome) {
  Message& message = *outcome.message;
  Ledger* ledger = message.ledger();
  if (!ledger || ledger->removed) return false;  // ended before: a late outcome brings nothing back
  const auto changes = settle_changes(outcome, *ledger);
  if (changes.empty() && !outcome.changes.empty()) return false;
  auto taken = take_records(*ledger, affected_by(outcome));
  for (const Ledger::Record& record : taken) remove_due(message, record);
  if (ledger->pending == 0) {
    remove_message(message, *ledger);
    return true;
  }
  std::vector<std::optional<DuePlace>> places(changes.size());
  for (Ledger::Record& record : new_records(outcome, std::move(taken), *ledger)) {
    put_due(message, record);
    const DuePlace place{.due = record.due, .first = first_of(record)};
    for (const std::uint32_t recipient : record.recipients) {
      const auto change =
          std::find_if(changes.begin(), changes.end(), [&](auto* c) { return c->recipient == recipient; });
      if (change != changes.end())
        places[static_cast<std::size_t>(change - changes.begin())] = place;
      else
        put_moved(message, *ledger, recipient, place);
    }
    ledger->records.insert(place_for(*ledger, first_of(record)), std::move(record));
  }
  for (std::size_t i = 0; i < changes.size(); ++i) put_state(message, *ledger, *changes[i], places[i]);
  if (!outcome.remaining.empty()) put_prepared(message, *ledger);
  return true;
}

void BatchBuilder::reschedule(Message& message, const DueEntry& entry, TimePoint due) {
  Ledger* ledger = message.ledger();
  if (!ledger || ledger->removed || entry.recipients.empty() || entry.due == due) return;
  const auto at = place_for(*ledger, entry.recipients.front());
  if (at == ledger->records.end() || first_of(*at) != entry.recipients.front() || at->due != entry.due) return;
  remove_due(message, *at);
  at->due = due;
  put_due(message, *at);
  for (const std::uint32_t recipient : at->recipients)
    put_moved(message, *ledger, recipient, {.due = due, .first = first_of(*at)});
}

void BatchBuilder::discard(const DueEntry& entry) {
  remove_once(Family::Due, due_key(entry));
}

void BatchBuilder::counter(const std::string& key, const std::string& value) {
  put(Family::Counters, key, value);
}

void BatchBuilder::head(const Head& head) {
  put(Family::Default, kHeadKey, encode_head(head));
}

}  // namespace danki::queue
