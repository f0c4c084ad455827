#include "mta/delivery/disk_work.hpp"

#include "base/log.hpp"

#include <limits>
#include <memory>
#include <utility>

namespace danki::delivery {

DiskWork::DiskWork(std::string name, unsigned threads, std::size_t max_waiting)
    : max_waiting_(max_waiting), pool_(std::move(name), threads, std::numeric_limits<std::size_t>::max()) {}

DiskWork::~DiskWork() {
  stop();
}

bool DiskWork::submit(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    ++unfinished_;
  }
  // Runs when the work is done or dropped, also when it threw.
  std::shared_ptr<void> finished(nullptr, [this](void*) {
    std::lock_guard lock(mutex_);
    if (--unfinished_ == 0) idle_.notify_all();
  });
  return pool_.try_submit([work = std::move(work), finished = std::move(finished)] { work(); });
}

void DiskWork::must(std::function<void()> work) {
  if (!submit(std::move(work))) log::error("disk work after the end of delivery");
}

bool DiskWork::may(std::function<void()> work) {
  return pool_.queued() < max_waiting_ && submit(std::move(work));
}

void DiskWork::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return unfinished_ == 0; });
}

void DiskWork::stop() {
  drain();
  pool_.stop();
}

}  // namespace danki::delivery
