#pragma once

#include "queue/options.hpp"

#include <atomic>
#include <cstdint>

#include <rocksdb/file_system.h>

namespace danki::queue {

/// Watches the free space of the spool's disk and holds the reserve file: space given up when the disk is full, so that
/// outcomes can still be recorded, in the spool and in the event log beside it. One thread checks, any may ask.
class DiskReserve {
 public:
  DiskReserve(const SpoolOptions& options, rocksdb::FileSystem& files) : options_(options), files_(files) {}

  /// Looks at the disk; makes the reserve file when it is missing and there is room for it beside the reserve,
  /// gives it up when hardly anything is free. `may_make` false: only looks.
  void check(bool may_make);
  /// Gives the file's space back to the disk. True if there was one.
  bool release();

  std::uint64_t free_bytes() const { return free_bytes_; }
  bool is_low() const { return free_bytes_ < options_.disk_reserve_bytes; }
  bool is_held() const { return held_; }

 private:
  void make();

  const SpoolOptions& options_;
  rocksdb::FileSystem& files_;
  std::atomic<std::uint64_t> free_bytes_{~0ull};  // until the first look
  std::atomic<bool> held_{false};
};

}  // namespace danki::queue
