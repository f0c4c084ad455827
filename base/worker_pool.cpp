#include "base/worker_pool.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <cassert>
#include <exception>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

namespace danki {

WorkerPool::WorkerPool(std::string name, unsigned threads, std::size_t max_queued, int nice)
    : name_(std::move(name)), max_queued_(max_queued) {
  assert(threads >= 1 && max_queued >= 1);
  threads_.reserve(threads);
  try {
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this, i, nice] { run(i, nice); });
  } catch (...) {
    stop();  // a thread that cannot start must not leave the others running in a dead object
    throw;
  }
}

WorkerPool::~WorkerPool() {
  stop();
}

bool WorkerPool::try_submit(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || work_.size() >= max_queued_) return false;
    work_.push_back(std::move(work));
  }
  wake_.notify_one();
  return true;
}

std::size_t WorkerPool::queued() const {
  std::lock_guard lock(mutex_);
  return work_.size();
}

void WorkerPool::stop() {
  std::deque<std::function<void()>> dropped;  // destroyed outside the lock: a closure's destructor may call back
  std::vector<std::thread> joining;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(work_);
    joining.swap(threads_);
  }
  wake_.notify_all();
  for (std::thread& thread : joining) thread.join();
}

void WorkerPool::run(unsigned index, int nice) {
  name_this_thread(name_ + "-" + std::to_string(index), nice);
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !work_.empty(); });
      if (stopping_) return;
      work = std::move(work_.front());
      work_.pop_front();
    }
    try {
      work();
    } catch (const std::exception& failure) {
      log::error("work ended by an exception", {{"pool", name_}, {"error", failure.what()}});
    } catch (...) {
      log::error("work ended by an unknown exception", {{"pool", name_}});
    }
  }
}

void name_this_thread(const std::string& name, int nice) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  // On Linux the priority belongs to the thread, addressed by its thread id.
  if (nice > 0) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), std::min(nice, 19));
}

}  // namespace danki
