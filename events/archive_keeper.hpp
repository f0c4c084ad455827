#pragma once

#include "base/time.hpp"
#include "events/archive.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace danki::events {

struct EventOptions;

/// Compresses closed logs and removes old ones, on a thread of its own with low priority: at start, after each rotation
/// and once an hour. What fails is tried again the next time.
class ArchiveKeeper {
 public:
  /// `live_bytes` tells the size of the log being written, which counts towards retain_bytes too.
  ArchiveKeeper(const EventOptions& options, const Clock& clock, std::function<std::uint64_t()> live_bytes);
  ~ArchiveKeeper();
  ArchiveKeeper(const ArchiveKeeper&) = delete;
  ArchiveKeeper& operator=(const ArchiveKeeper&) = delete;

  /// A log was closed.
  void wake();

 private:
  void run();
  void tidy();
  void compress_all();
  void remove_expired();

  const EventOptions& options_;
  const Clock& clock_;
  std::function<std::uint64_t()> live_bytes_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_work_ = true;  ///< from a run before this one
  std::thread thread_;
};

}  // namespace danki::events
