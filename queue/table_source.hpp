#pragma once

#include "base/result.hpp"
#include "queue/blob_salvage.hpp"
#include "queue/options.hpp"
#include "queue/store.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include <rocksdb/db.h>

/// For repair, when the database no longer knows its own files.
namespace danki::queue {

/// What RocksDB's repair finds in the tables of a database without manifest. Bodies that were in blob files read as
/// errors there.
class TableSource {
 public:
  static Result<TableSource> open(const SpoolOptions& options, rocksdb::Env& env);
  TableSource(TableSource&&) = default;
  ~TableSource();

  /// Copies all that reads; bodies that do not are taken from `blobs`.
  Result<void> copy_to(Store& target, const BlobSalvage& blobs);

 private:
  TableSource() = default;
  rocksdb::Status copy_family(Family family, Store& target);
  rocksdb::Status copy_bodies(Store& target, const BlobSalvage& blobs);
  rocksdb::ColumnFamilyHandle* handle(Family family) const { return handles_[static_cast<std::size_t>(family)]; }

  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

/// Applies every batch that reads in the logs of `directory`, oldest first. Returns how many.
Result<std::uint64_t> replay_logs(const std::filesystem::path& directory, Store& target);

}  // namespace danki::queue
