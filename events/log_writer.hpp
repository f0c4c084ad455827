#pragma once

#include "events/archive_keeper.hpp"
#include "events/event_log.hpp"
#include "events/log_file.hpp"
#include "events/log_syncer.hpp"

#include <atomic>
#include <optional>

namespace danki::events {

/// Turns events into lines of the live log: numbers them, writes them, rotates the file. One thread at a time,
/// but for live_bytes().
class LogWriter {
 public:
  static Result<std::unique_ptr<LogWriter>> open(const EventOptions& options, const Clock& clock);

  /// Adds the event's line to the block that write() writes.
  void add(const Event& event);
  std::size_t block_bytes() const { return block_.size(); }
  /// Hands the block to the kernel, in one write(2) unless it is cut short. False if that failed: its lines are lost.
  bool write();
  /// Everything written so far is on stable storage, as far as the disk obeys.
  void sync() { syncer_.sync_now(); }
  /// Closes the live log if it has grown or aged enough.
  void rotate_if_due();

 private:
  LogWriter(const EventOptions& options, const Clock& clock, LogFile file, SharedDescriptor directory, IdRange ids);
  std::uint64_t next_id();
  bool is_rotation_due() const;
  Result<void> replace_file();
  void report_write(const Result<void>& written, std::uint64_t lines);

  const EventOptions& options_;
  const Clock& clock_;
  std::filesystem::path path_;
  SharedDescriptor directory_;
  LogFile file_;
  IdRange ids_;  ///< first of the live log (0: none), last of all
  std::string block_;
  std::uint64_t block_lines_ = 0;
  std::uint64_t block_first_id_ = 0;
  std::uint64_t lost_lines_ = 0;  ///< since writes began to fail; 0: they do not
  std::optional<SteadyPoint> rotate_not_before_;
  std::atomic<std::uint64_t> live_bytes_ = 0;
  LogSyncer syncer_;
  ArchiveKeeper keeper_;
};

}  // namespace danki::events
