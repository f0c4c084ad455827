#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

namespace danki::queue {

struct SpoolOptions {
  std::filesystem::path directory;                  ///< data_dir/spool
  std::uint64_t body_memory_bytes = 64ull << 20;    ///< contents kept in memory from commit to first attempt
  std::uint64_t cache_bytes = 32ull << 20;          ///< block cache and memtables together
  std::uint64_t disk_reserve_bytes = 256ull << 20;  ///< below this much free space new mail hears 452 4.3.1
  std::uint64_t reserve_file_bytes =
      32ull << 20;  ///< preallocated; given up when the disk is full so that outcomes can be recorded
  std::uint64_t max_wal_bytes = 128ull << 20;   ///< bounds the replay at start
  std::chrono::milliseconds removal_sync{200};  ///< outcomes reach stable storage at the latest so much later
  std::size_t max_unrecorded_outcomes = 1000;   ///< then delivery stops until writes succeed
  std::size_t max_batch = 512;                  ///< operations in one write
  std::uint8_t node = 0;                        ///< the lower 8 bits of every id
};

}  // namespace danki::queue
