#include "events/log_syncer.hpp"

#include "base/log.hpp"
#include "base/worker_pool.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>

#include <unistd.h>

namespace danki::events {
namespace {

constexpr std::chrono::seconds kSyncInterval{1};  // DESIGN section 11: a power cut costs at most the last second

}  // namespace

LogSyncer::LogSyncer() : thread_([this] { run(); }) {}

LogSyncer::~LogSyncer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void LogSyncer::mark_dirty(const SharedDescriptor& file) {
  bool was_clean = false;
  {
    std::lock_guard lock(mutex_);
    ++marks_;
    was_clean = dirty_.empty();
    if (std::find(dirty_.begin(), dirty_.end(), file) == dirty_.end()) dirty_.push_back(file);
  }
  if (was_clean) wake_.notify_one();
}

void LogSyncer::sync_now() {
  std::unique_lock lock(mutex_);
  const std::uint64_t wanted = marks_;
  if (synced_marks_ >= wanted) return;
  hurry_ = true;
  wake_.notify_one();
  synced_.wait(lock, [&] { return synced_marks_ >= wanted; });
}

void LogSyncer::run() {
  name_this_thread("events-sync");
  std::vector<SharedDescriptor> files;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !dirty_.empty(); });
    wake_.wait_for(lock, kSyncInterval, [this] { return stopping_ || hurry_; });
    const std::uint64_t marks = marks_;
    files.swap(dirty_);
    hurry_ = false;
    lock.unlock();
    sync_files(files);
    lock.lock();
    synced_marks_ = marks;
    synced_.notify_all();
    if (stopping_ && dirty_.empty()) return;
  }
}

void LogSyncer::sync_files(std::vector<SharedDescriptor>& files) {
  int failure = 0;
  for (const SharedDescriptor& file : files) {
    // EINVAL: a device or pipe put in the log's place has nothing to sync.
    if (::fdatasync(file->get()) != 0 && errno != EINVAL) failure = errno;
  }
  files.clear();
  if (failure != 0 && !is_failing_) {
    log::error("event log sync failed", {{"error", std::generic_category().message(failure)}});
  } else if (failure == 0 && is_failing_) {
    log::info("event log syncs again");
  }
  is_failing_ = failure != 0;
}

}  // namespace danki::events
