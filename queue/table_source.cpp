#include "queue/table_source.hpp"

#include "queue/log_scanner.hpp"
#include "queue/records.hpp"
#include "queue/store_options.hpp"
#include "queue/wal_check.hpp"

#include <rocksdb/file_system.h>
#include <rocksdb/write_batch.h>

namespace danki::queue {
namespace {

constexpr std::size_t kBatchBytes = 1 << 20;

/// Writes to a store in batches.
class Filler {
 public:
  explicit Filler(Store& target) : target_(target) {}

  rocksdb::Status put(Family family, const rocksdb::Slice& key, const rocksdb::Slice& value) {
    auto status = batch_.Put(target_.family(family), key, value);
    if (status.ok() && batch_.GetDataSize() > kBatchBytes) status = flush();
    return status;
  }
  rocksdb::Status flush() {
    auto status = target_.write(batch_, true);
    batch_.Clear();
    return status;
  }

 private:
  Store& target_;
  rocksdb::WriteBatch batch_;
};

/// Repeats a batch of the log on another database, whose families have the same numbers: they are made in the order of
/// kFamilyNames. What the batch removes may be there more than once by now, so every removal is a full one.
class Repeater final : public rocksdb::WriteBatch::Handler {
 public:
  explicit Repeater(Store& target) : target_(target) {}
  rocksdb::WriteBatch batch;

  rocksdb::Status PutCF(std::uint32_t family, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    return family < kFamilyNames.size() ? batch.Put(target_.family(static_cast<Family>(family)), key, value)
                                        : rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(std::uint32_t family, const rocksdb::Slice& key) override {
    return family < kFamilyNames.size() ? batch.Delete(target_.family(static_cast<Family>(family)), key)
                                        : rocksdb::Status::OK();
  }
  rocksdb::Status SingleDeleteCF(std::uint32_t family, const rocksdb::Slice& key) override {
    return DeleteCF(family, key);
  }

 private:
  Store& target_;
};

}  // namespace

Result<TableSource> TableSource::open(const SpoolOptions& options, rocksdb::Env& env) {
  const std::string path = database_path(options);
  DatabaseOptions database = database_options(options, &env);
  database.db.paranoid_checks = false;
  for (auto& family : database.families) family.options.disable_auto_compactions = true;
  TableSource source;
  rocksdb::DB* db = nullptr;
  auto status = rocksdb::RepairDB(path, database.db, database.families);
  if (status.ok()) status = rocksdb::DB::Open(database.db, path, database.families, &source.handles_, &db);
  if (!status.ok()) return std::unexpected(to_error(status, path));
  source.db_.reset(db);
  return source;
}

TableSource::~TableSource() {
  if (!db_) return;
  for (auto* family : handles_) db_->DestroyColumnFamilyHandle(family);
}

Result<void> TableSource::copy_to(Store& target, const BlobSalvage& blobs) {
  for (std::size_t i = 0; i < kFamilyNames.size(); ++i) {
    const auto family = static_cast<Family>(i);
    const auto status = family == Family::Bodies ? copy_bodies(target, blobs) : copy_family(family, target);
    if (!status.ok()) return std::unexpected(to_error(status, kFamilyNames[i]));
  }
  return {};
}

/// A table that does not read ends its family here: what is missing then is removed or counted by who looks for it.
rocksdb::Status TableSource::copy_family(Family family, Store& target) {
  Filler filler(target);
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}, handle(family)));
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    if (auto status = filler.put(family, at->key(), at->value()); !status.ok()) return status;
  }
  return filler.flush();
}

rocksdb::Status TableSource::copy_bodies(Store& target, const BlobSalvage& blobs) {
  Filler filler(target);
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}, handle(Family::Envelopes)));
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    std::string stored;
    const bool reads = db_->Get({}, handle(Family::Bodies), at->key(), &stored).ok();
    const auto body = reads ? std::optional(std::move(stored)) : blobs.find(id_of_key(at->key().ToStringView()));
    if (!body) continue;
    if (auto status = filler.put(Family::Bodies, at->key(), *body); !status.ok()) return status;
  }
  return filler.flush();
}

Result<std::uint64_t> replay_logs(const std::filesystem::path& directory, Store& target) {
  rocksdb::FileSystem& files = target.files();
  const auto logs = list_logs(files, directory.string(), 0);
  if (!logs) return std::unexpected(logs.error());
  std::uint64_t replayed = 0;
  for (const LogFile& log : *logs) {
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    if (!files.NewSequentialFile(log.path, {}, &file, nullptr).ok()) continue;
    LogScanner scanner(std::move(file));
    for (auto item = scanner.next(); item.kind != LogScanner::Item::Kind::End; item = scanner.next()) {
      if (item.kind == LogScanner::Item::Kind::Damage) continue;
      Repeater repeater(target);
      if (!rocksdb::WriteBatch(std::move(item.record)).Iterate(&repeater).ok()) continue;
      if (const auto status = target.write(repeater.batch, true); !status.ok())
        return std::unexpected(to_error(status, log.path));
      ++replayed;
    }
  }
  return replayed;
}

}  // namespace danki::queue
