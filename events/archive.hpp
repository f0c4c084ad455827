#pragma once

#include "base/result.hpp"
#include "base/time.hpp"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Closed event logs: their names, their compression, and how long they stay.
namespace danki::events {

inline constexpr std::size_t kFrameBytes = 1 << 20;  ///< of text in a zstd frame, rounded up to whole lines

/// A closed log: "events-20261123T054939.120Z.log", with ".zst" once it is compressed. The time is not before that of
/// its last event and not after that of any later one, so the order of names is the order of events.
struct Archive {
  std::filesystem::path path;
  TimePoint ends_at{};
  bool is_compressed = false;
  std::uint64_t bytes = 0;
};

std::string archive_name(TimePoint ends_at);
/// When the log of that name ends; nullopt for other files.
std::optional<TimePoint> parse_archive_name(std::string_view name);

/// All closed logs in `directory`, oldest first.
Result<std::vector<Archive>> list_archives(const std::filesystem::path& directory);

/// Replaces `log` by `log`.zst: independent frames of about kFrameBytes of text each, whole lines, each with its size
/// and checksum in the frame, so that a reader can seek. Leaves `log` as it was when it fails, or when `stop` becomes
/// true (operation_canceled).
Result<void> compress_log(const std::filesystem::path& log, const std::atomic<bool>& stop);

/// The archives that have to go: older than `retain_for`, and the oldest while all of them are over `retain_bytes`.
/// `archives` is sorted as by list_archives.
std::vector<Archive> expired_archives(const std::vector<Archive>& archives, TimePoint now,
                                      std::chrono::seconds retain_for, std::uint64_t retain_bytes);

}  // namespace danki::events
