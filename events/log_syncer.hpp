#pragma once

#include "events/file_descriptor.hpp"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace danki::events {

/// Brings written files to stable storage once a second while there is something to bring, on a thread of its own: a
/// sync may take a disk's time, and outcomes wait for the writer. The destructor syncs what is left.
class LogSyncer {
 public:
  LogSyncer();
  ~LogSyncer();
  LogSyncer(const LogSyncer&) = delete;
  LogSyncer& operator=(const LogSyncer&) = delete;

  /// Something was written to `file` (or made in that directory).
  void mark_dirty(const SharedDescriptor& file);
  /// Returns when everything marked before is synced, or has failed to be.
  void sync_now();

 private:
  void run();
  void sync_files(std::vector<SharedDescriptor>& files);

  std::mutex mutex_;
  std::condition_variable wake_, synced_;
  std::vector<SharedDescriptor> dirty_;
  std::uint64_t marks_ = 0, synced_marks_ = 0;
  bool hurry_ = false, stopping_ = false;
  bool is_failing_ = false;  ///< the thread's own
  std::thread thread_;
};

}  // namespace danki::events
