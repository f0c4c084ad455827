#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <rocksdb/file_system.h>

namespace danki::queue {

/// Reads one write-ahead log file (the format of LevelDB and RocksDB: blocks of 32 KiB, records in fragments with a
/// checksum each) and goes on behind damage with the next record that is whole.
class LogScanner {
 public:
  struct Item {
    enum class Kind { Record, Damage, End } kind;
    std::uint64_t offset = 0;  ///< where it begins in the file
    std::string record;
  };

  explicit LogScanner(std::unique_ptr<rocksdb::FSSequentialFile> file) : file_(std::move(file)) {}
  Item next();

 private:
  enum class Fragment { Full, First, Middle, Last, Bad, End };
  Fragment next_fragment();
  bool read_block();
  bool only_zeros_follow();

  std::unique_ptr<rocksdb::FSSequentialFile> file_;
  std::string block_;
  std::size_t at_ = 0;              ///< in the block
  std::uint64_t block_offset_ = 0;  ///< of the block in the file
  bool last_block_ = false;
  std::uint64_t fragment_offset_ = 0;
  std::string_view fragment_;  ///< into block_
  std::optional<Fragment> pushed_back_;
};

}  // namespace danki::queue
