#pragma once

#include "queue/options.hpp"

#include <vector>

#include <rocksdb/db.h>

namespace danki::queue {

struct DatabaseOptions {
  rocksdb::DBOptions db;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;  ///< in the order of kFamilyNames
};

/// How RocksDB is set up for a queue: what is written is mostly removed soon, memory is one small budget, and the log
/// is what counts.
DatabaseOptions database_options(const SpoolOptions& options, rocksdb::Env* env);

}  // namespace danki::queue
