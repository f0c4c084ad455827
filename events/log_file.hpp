#pragma once

#include "base/result.hpp"
#include "events/file_descriptor.hpp"

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace danki::events {

/// The file that event lines are appended to. It only ever grows by whole lines, but for what a crash cut short. One
/// thread.
class LogFile {
 public:
  /// Opens or creates. A line that a crash cut short will be ended before the next one is written.
  static Result<LogFile> open(const std::filesystem::path& path);

  /// All of `lines` (each with its newline) or nothing: what a failed write left is cut off again.
  Result<void> append(std::string_view lines);

  const SharedDescriptor& descriptor() const { return descriptor_; }
  std::uint64_t size() const { return size_; }

 private:
  LogFile(SharedDescriptor descriptor, std::uint64_t size) : descriptor_(std::move(descriptor)), size_(size) {}
  void undo();

  SharedDescriptor descriptor_;
  std::uint64_t size_;
  bool is_torn_ = false;  ///< the file ends in half a line that could not be cut off
};

/// `event_id` of the first and of the last whole line; 0 where there is none. A newest line of another making is
/// skipped.
struct IdRange {
  std::uint64_t first = 0, last = 0;
};
Result<IdRange> read_id_range(const std::filesystem::path& path);

}  // namespace danki::events
