#include "events/log_writer.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace danki::events {
namespace {

constexpr std::chrono::seconds kRotationRetry{60};
constexpr std::size_t kBlockCapacity = 64 * 1024;  // kept between writes; a burst's larger one is given back

constexpr std::string_view kLiveName = "events.log";

/// Ids are microseconds since 1970, made unique by counting on: they rise, they fit the 53 bits that JavaScript's
/// numbers keep, and a restart needs no stored counter.
TimePoint time_of_id(std::uint64_t id) {
  return from_millis(static_cast<std::int64_t>((id + 999) / 1000));
}

std::uint64_t id_of_time(TimePoint time) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(to_millis(time), 0)) * 1000;
}

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(const EventOptions& options, const Clock& clock) {
  std::error_code failure;
  std::filesystem::create_directories(options.directory, failure);
  if (failure) return std::unexpected(Error{failure, options.directory.string()});
  auto directory =
      std::make_shared<const FileDescriptor>(::open(options.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!*directory) {
    return std::unexpected(Error{std::error_code(errno, std::generic_category()), options.directory.string()});
  }
  const std::filesystem::path path = options.directory / kLiveName;
  auto file = LogFile::open(path);
  if (!file) return std::unexpected(file.error());
  auto ids = read_id_range(path);
  if (!ids) return std::unexpected(ids.error());
  const auto archives = list_archives(options.directory);
  if (!archives) return std::unexpected(archives.error());
  // The clock may have been set back since, so it alone is no promise that ids go on rising.
  if (!archives->empty()) ids->last = std::max(ids->last, id_of_time(archives->back().ends_at));
  return std::unique_ptr<LogWriter>(new LogWriter(options, clock, std::move(*file), std::move(directory), *ids));
}

LogWriter::LogWriter(const EventOptions& options, const Clock& clock, LogFile file, SharedDescriptor directory,
                     IdRange ids)
    : options_(options),
      clock_(clock),
      path_(options.directory / kLiveName),
      directory_(std::move(directory)),
      file_(std::move(file)),
      ids_(ids),
      live_bytes_(file_.size()),
      keeper_(options, clock, [this] { return live_bytes_.load(std::memory_order_relaxed); }) {
  syncer_.mark_dirty(directory_);
}

std::uint64_t LogWriter::next_id() {
  ids_.last = std::max(ids_.last + 1, id_of_time(clock_.now()));
  return ids_.last;
}

void LogWriter::add(const Event& event) {
  const std::uint64_t id = next_id();
  if (block_lines_++ == 0) block_first_id_ = id;
  append_json(block_, event, id);
  block_ += '\n';
}

bool LogWriter::write() {
  if (block_.empty()) return true;
  const auto written = file_.append(block_);
  report_write(written, block_lines_);
  if (written) {
    if (ids_.first == 0) ids_.first = block_first_id_;
    live_bytes_ = file_.size();
    syncer_.mark_dirty(file_.descriptor());
  }
  block_.clear();
  if (block_.capacity() > kBlockCapacity) block_.shrink_to_fit();
  block_lines_ = 0;
  return written.has_value();
}

void LogWriter::report_write(const Result<void>& written, std::uint64_t lines) {
  if (!written) {
    if (lost_lines_ == 0) {
      log::error("event log write failed, events are lost until it succeeds",
                 {{"file", path_.string()}, {"error", written.error().message()}});
    }
    lost_lines_ += lines;
  } else if (lost_lines_ > 0) {
    log::warn("event log is written again", {{"file", path_.string()}, {"lost", lost_lines_}});
    lost_lines_ = 0;
  }
}

bool LogWriter::is_rotation_due() const {
  if (file_.size() == 0) return false;
  if (rotate_not_before_ && clock_.steady() < *rotate_not_before_) return false;
  return file_.size() >= options_.rotate_bytes ||
         (ids_.first != 0 && clock_.now() - time_of_id(ids_.first) >= options_.rotate_after);
}

void LogWriter::rotate_if_due() {
  if (!is_rotation_due()) return;
  if (auto done = replace_file(); !done) {
    log::error("event log not rotated", {{"file", path_.string()}, {"error", done.error().message()}});
    rotate_not_before_ = clock_.steady() + kRotationRetry;
    return;
  }
  rotate_not_before_.reset();
  keeper_.wake();
}

Result<void> LogWriter::replace_file() {
  TimePoint ends_at = time_of_id(ids_.last);
  std::filesystem::path archive;
  struct stat status {};
  do {  // two within a millisecond, or one that an earlier run left: the later name keeps the order
    archive = options_.directory / archive_name(ends_at);
    ends_at += Duration(1);
  } while (::lstat(archive.c_str(), &status) == 0 || ::lstat((archive.string() + ".zst").c_str(), &status) == 0);
  if (::rename(path_.c_str(), archive.c_str()) != 0) {
    return std::unexpected(Error{std::error_code(errno, std::generic_category()), archive.string()});
  }
  auto fresh = LogFile::open(path_);
  if (!fresh) {
    ::rename(archive.c_str(), path_.c_str());
    return std::unexpected(fresh.error());
  }
  file_ = std::move(*fresh);
  ids_.first = 0;
  ids_.last = std::max(ids_.last, id_of_time(ends_at - Duration(1)));
  live_bytes_ = file_.size();
  syncer_.mark_dirty(directory_);
  return {};
}

}  // namespace danki::events
