#pragma once

#include <memory>

#include <rocksdb/table_properties.h>

namespace danki::queue {

/// Marks tables that hold many removals for compaction, so that a drained queue gives its disk back without waiting for
/// new mail. RocksDB's own collector (7.8) does not count SingleDelete, which is what the queue removes by.
std::shared_ptr<rocksdb::TablePropertiesCollectorFactory> make_removal_collector();

}  // namespace danki::queue
