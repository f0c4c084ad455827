#pragma once

#include "base/worker_pool.hpp"

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>

namespace danki::delivery {

/// The threads that wait for the disk, and what may be refused to them. Thread-safe.
class DiskWork {
 public:
  /// `max_waiting`: how much may wait before may() refuses.
  DiskWork(std::string name, unsigned threads, std::size_t max_waiting);
  ~DiskWork();

  /// Work that must not be lost: outcomes, and what somebody waits for. Never refused until stop(); its amount is
  /// bounded by what is in flight.
  void must(std::function<void()> work);
  /// Work that its owner can ask for again. False: too much waits.
  bool may(std::function<void()> work);
  /// Waits until nothing waits or runs.
  void drain();
  /// Runs what waits, and what that brings with it; then ends the threads.
  void stop();

 private:
  bool submit(std::function<void()> work);

  const std::size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t unfinished_ = 0;
  WorkerPool pool_;  // last: its threads use the others
};

}  // namespace danki::delivery
