#include "queue/removal_collector.hpp"

namespace danki::queue {
namespace {

// Few removals, or few beside what stays, are not worth rewriting their neighbours for: they go with the next regular
// compaction.
constexpr std::uint64_t kLeastRemovals = 256;
constexpr std::uint64_t kLeastShare = 8;  // one in so many entries

class RemovalCollector final : public rocksdb::TablePropertiesCollector {
 public:
  const char* Name() const override { return "danki.removals"; }

  rocksdb::Status AddUserKey(const rocksdb::Slice&, const rocksdb::Slice&, rocksdb::EntryType type,
                             rocksdb::SequenceNumber, std::uint64_t) override {
    ++entries_;
    if (type == rocksdb::kEntrySingleDelete || type == rocksdb::kEntryDelete) ++removals_;
    return rocksdb::Status::OK();
  }
  rocksdb::Status Finish(rocksdb::UserCollectedProperties*) override { return rocksdb::Status::OK(); }
  rocksdb::UserCollectedProperties GetReadableProperties() const override { return {}; }
  bool NeedCompact() const override { return removals_ >= kLeastRemovals && removals_ * kLeastShare >= entries_; }

 private:
  std::uint64_t entries_ = 0, removals_ = 0;
};

class RemovalCollectorFactory final : public rocksdb::TablePropertiesCollectorFactory {
 public:
  const char* Name() const override { return "danki.removals"; }
  rocksdb::TablePropertiesCollector* CreateTablePropertiesCollector(Context) override { return new RemovalCollector; }
};

}  // namespace

std::shared_ptr<rocksdb::TablePropertiesCollectorFactory> make_removal_collector() {
  return std::make_shared<RemovalCollectorFactory>();
}

}  // namespace danki::queue
