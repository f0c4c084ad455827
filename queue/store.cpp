#include "queue/store.hpp"

#include "base/log.hpp"
#include "queue/database_swap.hpp"
#include "queue/errc.hpp"
#include "queue/log_list.hpp"
#include "queue/wal_check.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include <fmt/format.h>
#include <rocksdb/file_system.h>
#include <rocksdb/listener.h>
#include <rocksdb/metadata.h>
#include <rocksdb/write_batch.h>

namespace danki::queue {
namespace {

constexpr std::chrono::seconds kReopenPatience{10};  // replaying the largest log takes about a second

/// Notes that a flush or compaction failed: nobody else would hear of it while no mail comes.
class FailureListener final : public rocksdb::EventListener {
 public:
  FailureListener(std::atomic<bool>& background_failed, std::atomic<bool>& log_failed)
      : background_failed_(background_failed), log_failed_(log_failed) {}
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override {
    const bool is_job =
        reason == rocksdb::BackgroundErrorReason::kFlush || reason == rocksdb::BackgroundErrorReason::kCompaction;
    (is_job ? background_failed_ : log_failed_) = true;
    if (is_job) log::error("a background job of the spool failed", {{"error", status->ToString()}});
  }
  /// The commit thread resumes, when it knows what to write next; RocksDB's own polling would answer it with "busy".
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
    *auto_recovery = false;
  }

 private:
  std::atomic<bool>& background_failed_;
  std::atomic<bool>& log_failed_;
};

/// Ends the replay of logs before one of them.
class StopAtLog final : public rocksdb::WalFilter {
 public:
  explicit StopAtLog(std::uint64_t log) : log_(log) {}
  const char* Name() const override { return "danki.stop"; }
  WalProcessingOption LogRecordFound(unsigned long long log, const std::string&, const rocksdb::WriteBatch&,
                                     rocksdb::WriteBatch*, bool*) override {
    return log < log_ ? WalProcessingOption::kContinueProcessing : WalProcessingOption::kStopReplay;
  }

 private:
  const std::uint64_t log_;
};

/// A file that is not what it should be, or not there; nothing that may work the next time.
bool is_damage(const rocksdb::Status& status) {
  return status.IsCorruption() || status.IsPathNotFound();
}

Result<std::optional<Head>> read_head_of(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family) {
  std::string stored;
  const auto status = db.Get({}, family, rocksdb::Slice(kHeadKey), &stored);
  if (status.IsNotFound()) return std::nullopt;
  if (is_damage(status)) return std::unexpected(Error{Errc::Damaged, status.ToString()});
  if (!status.ok()) return std::unexpected(to_error(status, "head of the spool"));
  auto head = decode_head(stored);
  if (!head) return std::unexpected(head.error());
  return *head;
}

std::unexpected<Error> damaged(std::string detail) {
  detail += fmt::format("; \"{}\" saves what can be read", kRepairCommand);
  return std::unexpected(Error{Errc::Damaged, std::move(detail)});
}

}  // namespace

Error to_error(const rocksdb::Status& status, std::string_view doing) {
  const std::string detail = fmt::format("{}: {}", doing, status.ToString());
  if (status.IsNotFound()) return {std::errc::no_such_file_or_directory, detail};
  if (status.IsNoSpace()) return {Errc::DiskReserve, detail};
  if (status.IsCorruption()) return {Errc::Damaged, detail};
  return {Errc::WriteFailed, detail};
}

std::string database_path(const SpoolOptions& options) {
  return (options.directory / "db").string();
}

Store::Store(SpoolOptions options, rocksdb::Env* env, bool is_repairing)
    : options_(std::move(options)),
      log_files_(std::make_shared<LogFiles>((env ? env : rocksdb::Env::Default())->GetFileSystem())),
      env_(rocksdb::NewCompositeEnv(log_files_)),
      is_repairing_(is_repairing),
      database_(database_options(options_, env_.get())) {
  if (is_repairing_) {
    // Not without paranoid_checks: then a flush that fails is tried for ever (RocksDB 7.8), and so is a repair.
    database_.db.create_if_missing = false;
    database_.db.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
    database_.db.track_and_verify_wals_in_manifest = false;
  }
  database_.db.listeners.push_back(std::make_shared<FailureListener>(background_failed_, log_failed_));
}

Store::~Store() {
  close();
}

Result<std::unique_ptr<Store>> Store::open(const SpoolOptions& options, rocksdb::Env* env) {
  std::unique_ptr<Store> store(new Store(options, env, false));
  if (auto taken = store->take_directory(); !taken) return std::unexpected(taken.error());
  if (auto opened = store->open_database(); !opened) return std::unexpected(opened.error());
  return store;
}

Result<std::unique_ptr<Store>> Store::open_damaged(const SpoolOptions& options, rocksdb::Env* env) {
  std::unique_ptr<Store> store(new Store(options, env, true));
  if (auto opened = store->open_database(); !opened) return std::unexpected(opened.error());
  return store;
}

Result<void> Store::take_directory() {
  std::error_code problem;
  std::filesystem::create_directories(options_.directory, problem);
  if (problem) return std::unexpected(Error{problem, options_.directory.string()});
  auto lock = DirectoryLock::take(options_.directory);
  if (!lock) return std::unexpected(lock.error());
  directory_lock_.emplace(std::move(*lock));
  if (auto finished = finish_interrupted_repair(*env_, options_.directory); !finished) return finished;
  // They are in nobody's way but the next repair's.
  if (auto removed = remove_repair_leftovers(*env_, options_.directory); !removed)
    log::warn("what an interrupted repair of the spool left could not be removed",
              {{"error", removed.error().message()}});
  std::filesystem::create_directories(database_path(options_), problem);  // RocksDB would warn that it is missing
  if (problem) return std::unexpected(Error{problem, options_.directory.string()});
  return {};
}

Result<void> Store::open_database() {
  if (auto known = check_families(); !known) return known;
  if (!is_repairing_) {
    if (auto there = check_logs(); !there) return there;
  }
  const std::string path = database_path(options_);
  for (bool tail_was_cut = false;;) {
    ContinuityFilter filter;
    database_.db.wal_filter = is_repairing_ ? nullptr : &filter;
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    const auto status = rocksdb::DB::Open(database_.db, path, database_.families, &handles, &db);
    database_.db.wal_filter = nullptr;
    if (status.ok()) {
      db_.reset(db);
      std::copy(handles.begin(), handles.end(), handles_.begin());
      break;
    }
    if (!is_damage(status) && !filter.found_gap()) return std::unexpected(to_error(status, path));
    if (!tail_was_cut && !is_repairing_) {
      auto cut = cut_damaged_tail(files(), path, filter.first_log());
      if (!cut) return std::unexpected(cut.error());
      tail_was_cut = *cut;
      if (tail_was_cut) continue;
    }
    return damaged(fmt::format("{}: {}", path, status.ToString()));
  }
  background_failed_ = log_failed_ = false;
  auto checked = check_format();
  if (checked && !is_repairing_) checked = check_blob_files();
  if (!checked) close_database();
  return checked;
}

/// A family that this version does not know can only come from a later one; opened without it, its records would be
/// left behind.
Result<void> Store::check_families() {
  const std::string path = database_path(options_);
  if (!env_->FileExists(path + "/CURRENT").ok()) return {};
  std::vector<std::string> names;
  // What is wrong with a manifest that does not read is said by opening it.
  if (!rocksdb::DB::ListColumnFamilies(database_.db, path, &names).ok()) return {};
  for (const std::string& name : names) {
    if (std::find(kFamilyNames.begin(), kFamilyNames.end(), name) == kFamilyNames.end())
      return std::unexpected(Error{Errc::UnknownFormat, fmt::format("{}: column family \"{}\"", path, name)});
  }
  return {};
}

/// A log that is gone was removed by RocksDB, if all it held is in tables; else by somebody. Before RocksDB opens the
/// database and goes on without it, so that it can still be put back.
Result<void> Store::check_logs() {
  const std::filesystem::path path = database_path(options_);
  const auto logs = read_log_list(*env_, path);
  for (std::size_t i = 0; i < logs.size(); ++i) {
    const std::string file = (path / log_name(logs[i].number)).string();
    std::uint64_t size = 0;
    if (env_->GetFileSize(file, &size).ok() && size > 0) continue;
    const auto head = head_before(logs[i].number);
    if (!head && head.error().code != Errc::Damaged) return std::unexpected(head.error());
    if (!head) return damaged(fmt::format("{} is missing or empty: {}", file, head.error().message()));
    const bool is_last = i + 1 == logs.size();
    const std::uint64_t wanted = is_last ? logs[i].first_batch : logs[i + 1].first_batch - 1;
    if (!*head || (*head)->batch < wanted)
      return damaged(fmt::format("{} is missing or empty, and the mail in it is nowhere else", file));
  }
  return {};
}

/// What the tables hold together with the logs before number `log`; nullopt when nothing.
Result<std::optional<Head>> Store::head_before(std::uint64_t log) {
  StopAtLog filter(log);
  rocksdb::DBOptions options = database_.db;
  options.wal_filter = &filter;
  options.listeners.clear();
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  options.paranoid_checks = false;
  const std::string path = database_path(options_);
  const auto& family = database_.families[static_cast<std::size_t>(Family::Default)];
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const auto status = rocksdb::DB::OpenForReadOnly(options, path, {family}, &handles, &opened);
  if (is_damage(status)) return std::unexpected(Error{Errc::Damaged, status.ToString()});
  if (!status.ok()) return std::unexpected(to_error(status, path));
  const std::unique_ptr<rocksdb::DB> db(opened);
  auto head = read_head_of(*db, handles.front());
  db->DestroyColumnFamilyHandle(handles.front());
  return head;
}

Result<void> Store::check_format() {
  const std::string path = database_path(options_);
  std::string stored;
  const auto status = db_->Get({}, family(Family::Default), rocksdb::Slice(kFormatKey), &stored);
  const std::string known = std::to_string(kFormatVersion);
  if (status.ok() && stored == known) return {};
  if (status.ok())
    return std::unexpected(Error{Errc::UnknownFormat, fmt::format("{}: version {}, expected {}", path, stored, known)});
  if (!status.IsNotFound()) return std::unexpected(to_error(status, path));
  const std::unique_ptr<rocksdb::Iterator> any(db_->NewIterator({}, family(Family::Envelopes)));
  any->SeekToFirst();
  if (any->Valid() && !is_repairing_) return std::unexpected(Error{Errc::UnknownFormat, path + ": no version stored"});
  rocksdb::WriteBatch version;
  version.Put(family(Family::Default), rocksdb::Slice(kFormatKey), known);
  // The check of the log (queue/wal_check.hpp) wants a number in its first batch.
  if (!is_repairing_) version.Put(family(Family::Default), rocksdb::Slice(kHeadKey), encode_head(Head{}));
  const auto written = write(version, true);
  if (!written.ok()) return std::unexpected(to_error(written, path));
  return {};
}

/// RocksDB looks for its tables when it opens, for blob files only when they are read: too late to hear that mail is
/// missing.
Result<void> Store::check_blob_files() {
  rocksdb::ColumnFamilyMetaData meta;
  db_->GetColumnFamilyMetaData(family(Family::Bodies), &meta);
  for (const rocksdb::BlobMetaData& blob : meta.blob_files) {
    const std::string path = fmt::format("{}/{:06}.blob", database_path(options_), blob.blob_file_number);
    std::uint64_t size = 0;
    const auto status = env_->GetFileSize(path, &size);
    if (!status.ok()) return damaged(fmt::format("{}: {}", path, status.ToString()));
    if (size < blob.blob_file_size)
      return damaged(fmt::format("{} has {} octets instead of {}", path, size, blob.blob_file_size));
  }
  return {};
}

void Store::close_database() {
  if (!db_) return;
  for (auto*& handle : handles_) {
    if (handle) db_->DestroyColumnFamilyHandle(handle);
    handle = nullptr;
  }
  db_->Close();
  db_.reset();
}

Result<Store::Reading> Store::read() {
  std::unique_lock lock(gate_mutex_);
  gate_changed_.wait_for(lock, kReopenPatience, [this] { return gate_ != Gate::Reopening; });
  if (gate_ == Gate::Closed) return std::unexpected(Error{Errc::Closed});
  if (gate_ != Gate::Open) return std::unexpected(Error{Errc::Unavailable});
  ++readers_;
  return Reading(this);
}

void Store::end_reading() {
  const std::scoped_lock lock(gate_mutex_);
  if (--readers_ == 0 && gate_ != Gate::Open) gate_changed_.notify_all();
}

rocksdb::Status Store::write(rocksdb::WriteBatch& batch, bool sync) {
  auto status = db_->Write({}, &batch);
  const std::uint64_t log = log_files_->newest();
  const bool begins_log = log != begun_log_;
  if (!status.ok() || (!sync && !begins_log)) return status;
  status = this->sync();
  if (!status.ok()) return status;
  if (begins_log) {
    begun_log_ = log;
    if (const auto head = head_of(batch)) unlisted_logs_.push_back({.number = log, .first_batch = head->batch});
  }
  list_begun_logs();
  return status;
}

/// In their order, and what fails is tried again behind the next sync: a list with a gap would say of the log before
/// the gap that it held more than it did.
void Store::list_begun_logs() {
  while (!unlisted_logs_.empty()) {
    const auto listed = list_log(*env_, database_path(options_), unlisted_logs_.front());
    if (listed.ok()) {
      unlisted_logs_.pop_front();
      continue;
    }
    const std::uint64_t newest = unlisted_logs_.back().number;
    if (std::exchange(warned_of_log_, newest) != newest)
      log::warn("the list of the spool's logs could not be written", {{"error", listed.ToString()}});
    return;
  }
}

rocksdb::Status Store::sync() {
  auto status = log_files_->sync();
  if (!status.ok()) log_failed_ = true;
  return status;
}

rocksdb::Status Store::resume() {
  auto status = db_->Resume();
  if (status.ok()) background_failed_ = false;
  return status;
}

std::uint64_t Store::memtable_bytes() const {
  std::uint64_t bytes = 0;
  db_->GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &bytes);
  return bytes;
}

rocksdb::Status Store::try_disk() {
  const std::string path = (options_.directory / "probe").string();
  const auto status = rocksdb::WriteStringToFile(env_.get(), std::string(4096, 'x'), path, true);
  env_->DeleteFile(path).PermitUncheckedError();
  return status;
}

Result<void> Store::reopen() {
  {
    std::unique_lock lock(gate_mutex_);
    gate_ = Gate::Reopening;
    gate_changed_.wait(lock, [this] { return readers_ == 0; });
  }
  close_database();
  auto opened = open_database();
  {
    const std::scoped_lock lock(gate_mutex_);
    gate_ = opened ? Gate::Open : Gate::Broken;
  }
  gate_changed_.notify_all();
  return opened;
}

Result<std::optional<Head>> Store::read_head() {
  return read_head_of(*db_, family(Family::Default));
}

void Store::flush() {
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;
  const std::vector<rocksdb::ColumnFamilyHandle*> families(handles_.begin(), handles_.end());
  if (const auto status = db_->Flush(options, families); !status.ok())
    log::warn("the spool's memtables could not be written", {{"error", status.ToString()}});
}

rocksdb::Status Store::compact() {
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  rocksdb::Status status;
  for (auto* handle : handles_) {
    if (status.ok()) status = db_->CompactRange(options, handle, nullptr, nullptr);
  }
  return status;
}

void Store::close() {
  {
    std::unique_lock lock(gate_mutex_);
    gate_ = Gate::Closed;
    gate_changed_.notify_all();
    gate_changed_.wait(lock, [this] { return readers_ == 0; });
  }
  close_database();
  directory_lock_.reset();
}

}  // namespace danki::queue
