#include "queue/repair.hpp"

#include "queue/batch_builder.hpp"
#include "queue/blob_salvage.hpp"
#include "queue/database_swap.hpp"
#include "queue/directory_lock.hpp"
#include "queue/errc.hpp"
#include "queue/ledger.hpp"
#include "queue/reader.hpp"
#include "queue/repair_copy.hpp"
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

/// From an empty working directory to the database that takes the damaged one's place. That one is only read: wherever
/// this ends early, it is as it was.
class Repair {
 public:
  Repair(const SpoolOptions& options, rocksdb::Env& env)
      : options_(options), env_(env), old_(database_path(options)), work_(repair_work_path(options.directory)) {}

  Result<RepairReport> run() {
    auto made = make();
    if (!made) return std::unexpected(made.error());
    if (auto adopted = adopt_owner_and_mode(env_, old_, work_); !adopted) return std::unexpected(adopted.error());
    const auto before = replace_database(env_, options_.directory, *made);
    if (!before) return std::unexpected(before.error());
    report_.steps.push_back(fmt::format("what was there before is in {}", before->string()));
    report_.steps.push_back(
        fmt::format("{} messages are whole, {} bodies were lost, {} due records made anew, {} records removed",
                    report_.messages, report_.lost_bodies, report_.restored_due, report_.removed_records));
    return report_;
  }

 private:
  /// A spool of its own below the working directory.
  SpoolOptions at(const char* name) const {
    SpoolOptions options = options_;
    options.directory = work_ / name;
    return options;
  }

  Result<std::filesystem::path> make() {
    const SpoolOptions opened = at("opened");
    auto done = copy_database(env_, old_, database_path(opened), What::Everything);
    const bool is_copied = done.has_value();
    if (is_copied) done = sweep(opened);
    if (done) {
      report_.steps.push_back("the database was opened, reading its log around damage");
      return std::filesystem::path(database_path(opened));
    }
    // No damage, and what could be made anew would be less than what is there.
    const auto& code = done.error().code;
    if (code == Errc::DiskReserve || code == std::errc::no_space_on_device || code == Errc::UnknownFormat)
      return std::unexpected(done.error());
    report_ = {};
    // A bad sector in one file is no reason to give up the others.
    report_.steps.push_back(
        fmt::format("the database {}: {}", is_copied ? "does not open" : "cannot be copied", done.error().message()));
    if (auto removed = remove_tree(env_, opened.directory); !removed) return std::unexpected(removed.error());
    return rebuild();
  }

  /// Without its manifest RocksDB finds its tables again, but neither its blob files nor which family is which in its
  /// log. So what it finds is copied into a new database, and the rest is read by code of ours.
  Result<std::filesystem::path> rebuild() {
    const SpoolOptions tables = at("tables"), rebuilt = at("rebuilt");
    if (auto copied = copy_database(env_, old_, database_path(tables), What::TablesAndBlobs); !copied)
      return std::unexpected(copied.error());
    if (auto made = make_directories(database_path(rebuilt), old_); !made) return std::unexpected(made.error());
    if (auto filled = fill(tables, rebuilt); !filled) return std::unexpected(filled.error());
    if (auto swept = sweep(rebuilt); !swept) return std::unexpected(swept.error());
    return std::filesystem::path(database_path(rebuilt));
  }

  Result<void> fill(const SpoolOptions& tables, const SpoolOptions& rebuilt) {
    auto source = TableSource::open(tables, env_);
    if (!source) return std::unexpected(source.error());
    auto target = Store::open(rebuilt, &env_);
    if (!target) return std::unexpected(target.error());
    const BlobSalvage blobs(old_);
    if (auto done = source->copy_to(**target, blobs); !done) return done;
    const auto replayed = replay_logs(old_, **target);
    if (!replayed) return std::unexpected(replayed.error());
    report_.steps.push_back(
        fmt::format("a new database was made: from the tables, {} bodies in blob files, and {} batches in logs",
                    blobs.size(), *replayed));
    return {};
  }

  Result<void> sweep(const SpoolOptions& options) {
    auto store = Store::open_damaged(options, &env_);
    if (!store) return std::unexpected(store.error());
    return Sweep(**store, report_).run();
  }

  const SpoolOptions& options_;
  rocksdb::Env& env_;
  const std::filesystem::path old_, work_;
  RepairReport report_;
};

}  // namespace

Result<RepairReport> repair(const SpoolOptions& options, rocksdb::Env* env) {
  rocksdb::Env& files = env ? *env : *rocksdb::Env::Default();
  const auto lock = DirectoryLock::take(options.directory);
  if (!lock) return std::unexpected(lock.error());
  if (auto finished = finish_interrupted_repair(files, options.directory); !finished)
    return std::unexpected(finished.error());
  if (auto removed = remove_repair_leftovers(files, options.directory); !removed)
    return std::unexpected(removed.error());
  const std::filesystem::path database = database_path(options);
  const auto there = is_there(database);
  if (!there) return std::unexpected(there.error());
  if (!*there) return std::unexpected(Error{std::errc::no_such_file_or_directory, database.string()});
  auto report = Repair(options, files).run();
  (void)remove_tree(files, repair_work_path(options.directory));  // what this leaves, the next start removes
  return report;
}

}  // namespace danki::queue
