#include "queue/repair.hpp"

#include "queue/batch_builder.hpp"
#include "queue/blob_salvage.hpp"
#include "queue/directory_lock.hpp"
#include "queue/ledger.hpp"
#include "queue/reader.hpp"
#include "queue/store.hpp"
#include "queue/table_source.hpp"

#include <filesystem>
#include <functional>
#include <utility>

#include <fmt/format.h>
#include <rocksdb/write_batch.h>

namespace danki::queue {
namespace {

constexpr std::size_t kChangesPerBatch = 1000;

/// Makes the families of an opened database agree with each other.
class Sweep {
 public:
  Sweep(Store& store, RepairReport& report) : store_(store), report_(report) {}

  Result<void> run() {
    for (auto step :
         {&Sweep::check_envelopes, &Sweep::check_due, &Sweep::check_bodies, &Sweep::check_state, &Sweep::write_head}) {
      if (auto done = (this->*step)(); !done) return done;
    }
    if (const auto status = store_.compact(); !status.ok()) return std::unexpected(to_error(status, "compaction"));
    return {};
  }

 private:
  using Visit = std::function<void(const Store::Reading&, std::string_view key, std::string_view value)>;

  /// Visits a family's records as they were at the begin; writes what the visits changed.
  Result<void> each(Family family, const Visit& visit) {
    auto reading = store_.read();
    if (!reading) return std::unexpected(reading.error());
    const std::unique_ptr<rocksdb::Iterator> at((*reading)->NewIterator({}, reading->family(family)));
    for (at->SeekToFirst(); at->Valid(); at->Next()) {
      visit(*reading, at->key().ToStringView(), at->value().ToStringView());
      if (batch_.Count() >= kChangesPerBatch) {
        if (auto done = write(); !done) return done;
      }
    }
    if (auto done = write(); !done) return done;
    if (!at->status().ok())
      report_.steps.push_back(fmt::format("{} could be read in part: {}",
                                          kFamilyNames[static_cast<std::size_t>(family)], at->status().ToString()));
    return {};
  }

  Result<void> write() {
    const auto status = store_.write(batch_, true);
    batch_.Clear();
    if (!status.ok()) return std::unexpected(to_error(status, "repair"));
    return {};
  }

  void remove(Family family, std::string_view key) {
    batch_.Delete(store_.family(family), rocksdb::Slice(key)).PermitUncheckedError();
    ++report_.removed_records;
  }

  /// Every envelope has its body, and every pending recipient a due record; or it goes.
  Result<void> check_envelopes() {
    return each(Family::Envelopes, [this](const Store::Reading& reading, std::string_view key, std::string_view) {
      const MessageId id = id_of_key(key);
      if (!read_body(reading, id)) {
        ++report_.lost_bodies;
        remove(Family::Envelopes, key);
        return;
      }
      const auto message = read_message(reading, id);
      if (!message || (*message)->ledger()->pending == 0) {
        remove(Family::Envelopes, key);
        return;
      }
      ++report_.messages;
      highest_id_ = id;
      for (const Ledger::Record& record : (*message)->ledger()->records)
        restore_due(reading, due_entry(**message, record));
    });
  }

  void restore_due(const Store::Reading& reading, const DueEntry& entry) {
    const std::string value = encode_due_value(entry.recipients);
    std::string stored;
    const auto status = reading->Get({}, reading.family(Family::Due), due_key(entry), &stored);
    if (status.ok() && stored == value) return;
    batch_.Put(store_.family(Family::Due), due_key(entry), value).PermitUncheckedError();
    ++report_.restored_due;
  }

  Result<void> check_due() {
    return each(Family::Due, [this](const Store::Reading& reading, std::string_view key, std::string_view value) {
      const auto entry = decode_due(key, value);
      const auto message = entry ? read_message(reading, entry->id) : std::unexpected(entry.error());
      bool is_known = false;
      if (message) {
        for (const Ledger::Record& record : (*message)->ledger()->records)
          is_known |= due_entry(**message, record) == *entry;
      }
      if (!is_known) remove(Family::Due, key);
    });
  }

  Result<void> remove_without_envelope(Family family) {
    return each(family, [this, family](const Store::Reading& reading, std::string_view key, std::string_view) {
      std::string envelope;
      const auto status = reading->Get({}, reading.family(Family::Envelopes), id_key(id_of_key(key)), &envelope);
      if (status.IsNotFound()) remove(family, key);
    });
  }
  Result<void> check_bodies() { return remove_without_envelope(Family::Bodies); }
  Result<void> check_state() { return remove_without_envelope(Family::State); }

  Result<void> write_head() {
    auto stored = store_.read_head();
    Head head = stored && *stored ? **stored : Head{};
    ++head.batch;
    head.synced = head.batch;
    head.next_id = std::max(head.next_id, (highest_id_.value >> 8) + 1);
    head.messages = report_.messages;
    batch_.Put(store_.family(Family::Default), rocksdb::Slice(kHeadKey), encode_head(head)).PermitUncheckedError();
    return write();
  }

  Store& store_;
  RepairReport& report_;
  rocksdb::WriteBatch batch_;
  MessageId highest_id_;
};

Result<void> sweep(const SpoolOptions& options, RepairReport& report) {
  auto store = Store::open_damaged(options);
  if (!store) return std::unexpected(store.error());
  return Sweep(**store, report).run();
}

/// Tables and blob files never change, so a second name is as good as a copy; the others are copied.
Result<std::filesystem::path> keep_what_is_there(const SpoolOptions& options) {
  std::filesystem::path kept;
  for (int number = 1; kept.empty() || std::filesystem::exists(kept); ++number)
    kept = options.directory / fmt::format("db.before-repair-{}", number);
  std::error_code problem;
  std::filesystem::create_directories(kept, problem);
  for (const auto& entry : std::filesystem::directory_iterator(database_path(options), problem)) {
    const auto extension = entry.path().extension();
    if (extension == ".sst" || extension == ".blob")
      std::filesystem::create_hard_link(entry.path(), kept / entry.path().filename(), problem);
    else
      std::filesystem::copy_file(entry.path(), kept / entry.path().filename(), problem);
    if (problem) break;
  }
  if (problem) return std::unexpected(Error{problem, kept.string()});
  return kept;
}

/// Without its manifest RocksDB finds its tables again, but neither its blob files nor which family is which in its
/// log. So what it finds is copied into a new database, and the rest is read by code of ours.
Result<void> rebuild(const SpoolOptions& options, const std::filesystem::path& before, RepairReport& report) {
  const std::filesystem::path old_path = database_path(options);
  SpoolOptions target_options = options;
  target_options.directory = options.directory / "repair";
  std::error_code problem;
  std::filesystem::remove_all(target_options.directory, problem);
  for (const auto& entry : std::filesystem::directory_iterator(old_path, problem)) {
    if (entry.path().extension() == ".log") std::filesystem::remove(entry.path(), problem);
  }
  auto rebuilt = [&]() -> Result<void> {
    auto source = TableSource::open(options);
    if (!source) return std::unexpected(source.error());
    auto target = Store::open(target_options, nullptr);
    if (!target) return std::unexpected(target.error());
    const BlobSalvage blobs(before);
    if (auto done = source->copy_to(**target, blobs); !done) return done;
    const auto replayed = replay_logs(before, **target);
    if (!replayed) return std::unexpected(replayed.error());
    report.steps.push_back(
        fmt::format("a new database was made: from the tables, {} bodies in blob files, and {} batches in logs",
                    blobs.size(), *replayed));
    return {};
  }();
  if (!rebuilt) return rebuilt;
  std::filesystem::remove_all(old_path, problem);
  std::filesystem::rename(database_path(target_options), old_path, problem);
  if (problem) return std::unexpected(Error{problem, old_path.string()});
  std::filesystem::remove_all(target_options.directory, problem);
  return sweep(options, report);
}

}  // namespace

Result<RepairReport> repair(const SpoolOptions& options) {
  RepairReport report;
  const auto lock = DirectoryLock::take(options.directory);
  if (!lock) return std::unexpected(lock.error());
  const auto before = keep_what_is_there(options);
  if (!before) return std::unexpected(before.error());
  report.steps.push_back(fmt::format("what was there before is in {}", before->string()));
  if (auto done = sweep(options, report); done) {
    report.steps.push_back("the database was opened, reading its log around damage");
  } else {
    report = {.steps = std::move(report.steps)};
    report.steps.push_back("the database does not open: " + done.error().message());
    if (auto rebuilt = rebuild(options, *before, report); !rebuilt) return std::unexpected(rebuilt.error());
  }
  report.steps.push_back(
      fmt::format("{} messages are whole, {} bodies were lost, {} due records made anew, {} records removed",
                  report.messages, report.lost_bodies, report.restored_due, report.removed_records));
  return report;
}

}  // namespace danki::queue
