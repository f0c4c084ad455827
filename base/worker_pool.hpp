#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace danki {

/// Named threads for work that blocks or computes long. The queue is bounded: try_submit says no when it is full.
/// Stops and joins in the destructor; work queued but not begun is dropped then. An exception out of work is logged.
class WorkerPool {
 public:
  /// `threads` >= 1; `max_queued` >= 1; `nice` lowers the CPU priority of these threads (0..19).
  WorkerPool(std::string name, unsigned threads, std::size_t max_queued, int nice = 0);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// False when the queue is full or the pool stops; `work` is then not run.
  bool try_submit(std::function<void()> work);
  /// Waiting, not counting what runs.
  std::size_t queued() const;
  /// Returns when the work that had begun is done. Not from one of the pool's own threads.
  void stop();

 private:
  void run(unsigned index, int nice);

  std::string name_;
  std::size_t max_queued_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> work_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Names the calling thread as seen in top and gdb (cut to 15 octets) and sets its nice value if above 0.
void name_this_thread(const std::string& name, int nice = 0);

}  // namespace danki
