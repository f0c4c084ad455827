#include "events/archive_keeper.hpp"

#include "base/log.hpp"
#include "base/worker_pool.hpp"
#include "events/event_log.hpp"

namespace danki::events {
namespace {

constexpr std::chrono::hours kInterval{1};  // how much longer than retain_for a log may stay
constexpr int kNice = 15;                   // compressing may take all the time that mail leaves over

}  // namespace

ArchiveKeeper::ArchiveKeeper(const EventOptions& options, const Clock& clock, std::function<std::uint64_t()> live_bytes)
    : options_(options), clock_(clock), live_bytes_(std::move(live_bytes)), thread_([this] { run(); }) {}

ArchiveKeeper::~ArchiveKeeper() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void ArchiveKeeper::wake() {
  {
    std::lock_guard lock(mutex_);
    has_work_ = true;
  }
  changed_.notify_one();
}

void ArchiveKeeper::run() {
  name_this_thread("events-archive", kNice);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    has_work_ = false;
    lock.unlock();
    tidy();
    lock.lock();
    changed_.wait_for(lock, kInterval, [this] { return stopping_ || has_work_; });
  }
}

void ArchiveKeeper::tidy() {
  remove_expired();  // first, so that a full disk has room for the compressed copies
  compress_all();
  remove_expired();
}

void ArchiveKeeper::compress_all() {
  const auto archives = list_archives(options_.directory);
  if (!archives) {
    log::warn("event logs cannot be listed", {{"error", archives.error().message()}});
    return;
  }
  for (const Archive& archive : *archives) {
    if (archive.is_compressed) continue;
    const auto done = compress_log(archive.path, stopping_);
    if (stopping_) return;
    if (!done)
      log::warn("event log not compressed", {{"file", archive.path.string()}, {"error", done.error().message()}});
  }
}

void ArchiveKeeper::remove_expired() {
  const auto archives = list_archives(options_.directory);
  if (!archives) return;
  const std::uint64_t live = live_bytes_();
  const std::uint64_t room = options_.retain_bytes > live ? options_.retain_bytes - live : 0;
  for (const Archive& archive : expired_archives(*archives, clock_.now(), options_.retain_for, room)) {
    std::error_code failure;
    std::filesystem::remove(archive.path.string() + ".zst.tmp", failure);  // of a compression that was cut short
    std::filesystem::remove(archive.path, failure);
    if (failure) {
      log::warn("old event log not removed", {{"file", archive.path.string()}, {"error", failure.message()}});
    } else {
      log::info("old event log removed", {{"file", archive.path.string()}});
    }
  }
}

}  // namespace danki::events
