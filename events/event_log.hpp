#pragma once

#include "base/result.hpp"
#include "events/event.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

namespace danki::events {

struct EventOptions {
  bool enabled = true;
  std::filesystem::path directory;  ///< default: data_dir/events; files events.log, events-<time>.log.zst
  std::uint64_t rotate_bytes = 256ull << 20;
  std::chrono::seconds rotate_after{24 * 3600};
  std::chrono::seconds retain_for{30 * 24 * 3600};
  std::uint64_t retain_bytes = 10ull << 30;
  std::size_t max_buffered = 65536;  ///< events waiting for the writer
};

/// The event log: JSON lines written by a thread of its own (but for write()), one write(2) per batch, synced once a
/// second. Callable
/// from any thread. An outcome's event reaches the kernel before its `written` is called, and only then may the spool
/// commit the outcome: kill -9 loses none. Outcomes (batches with `written`) are never dropped; others past
/// max_buffered are, counted and logged.
class EventLog {
 public:
  static Result<std::unique_ptr<EventLog>> open(EventOptions options, const Clock& clock);
  ~EventLog();

  void append(Event event);
  /// `written` runs on the writer thread after the write, also if it failed (the failure is logged and counted: mail
  /// goes on).
  void append(std::vector<Event> batch, std::function<void()> written);
  /// Hands `batch` to the kernel before it returns, on the calling thread: some microseconds, and what the writer
  /// thread needs for the lines it is writing. What was appended before may be written after it.
  void write(const std::vector<Event>& batch);
  /// Waits until everything appended so far is written and synced.
  void flush();
  struct Stats {
    std::uint64_t written = 0;        ///< events in the file
    std::uint64_t dropped = 0;        ///< events lost, to a full buffer or a failed write
    std::uint64_t failed_writes = 0;  ///< of up to 1 MiB of lines each
  };
  Stats stats() const;

 private:
  struct Impl;
  explicit EventLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace danki::events
