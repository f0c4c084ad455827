#include "events/archive.hpp"

#include "events/file_descriptor.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zstd.h>

namespace danki::events {
namespace {

constexpr int kLevel = 3;  // zstd's default; event lines shrink to a tenth, and higher levels gain little
constexpr std::size_t kMaxFrameBytes = 4 * kFrameBytes;
constexpr std::string_view kPrefix = "events-";
constexpr std::string_view kLogSuffix = ".log";
constexpr std::string_view kZstSuffix = ".log.zst";
constexpr std::string_view kTimePattern =
    "dddddddd"
    "Tdddddd.dddZ";

Error errno_error(const std::filesystem::path& path) {
  return Error{std::error_code(errno, std::generic_category()), path.string()};
}

bool has_time_shape(std::string_view text) {
  if (text.size() != kTimePattern.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (kTimePattern[i] == 'd' ? !is_digit : text[i] != kTimePattern[i]) return false;
  }
  return true;
}

int number_at(std::string_view text, std::size_t offset, std::size_t digits) {
  int number = 0;
  for (const char c : text.substr(offset, digits)) number = number * 10 + (c - '0');
  return number;
}

Result<void> write_all(const FileDescriptor& file, std::string_view data, const std::filesystem::path& path) {
  while (!data.empty()) {
    const ssize_t written = ::write(file.get(), data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return std::unexpected(errno_error(path));
    data.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

/// Appends what the file still has, up to `bytes`; false at its end.
Result<bool> read_more(const FileDescriptor& file, std::string& into, std::size_t bytes,
                       const std::filesystem::path& path) {
  const std::size_t before = into.size();
  into.resize(before + bytes);
  ssize_t got = 0;
  do {
    got = ::read(file.get(), into.data() + before, bytes);
  } while (got < 0 && errno == EINTR);
  into.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) return std::unexpected(errno_error(path));
  return got > 0;
}

class FrameWriter {
 public:
  FrameWriter() : context_(ZSTD_createCCtx(), &ZSTD_freeCCtx) {
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }

  /// One frame that holds `text`; valid until the next call.
  Result<std::string_view> compress(std::string_view text) {
    buffer_.resize(ZSTD_compressBound(text.size()));
    const std::size_t size = ZSTD_compress2(context_.get(), buffer_.data(), buffer_.size(), text.data(), text.size());
    if (ZSTD_isError(size)) return std::unexpected(Error{std::errc::io_error, ZSTD_getErrorName(size)});
    return std::string_view(buffer_.data(), size);
  }

 private:
  std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context_;
  std::string buffer_;
};

/// Octets of `text` up to and with its last newline; 0 without one.
std::size_t whole_lines(std::string_view text) {
  const std::size_t at = text.rfind('\n');
  return at == std::string_view::npos ? 0 : at + 1;
}

Result<void> compress_frames(const FileDescriptor& from, const FileDescriptor& to, const std::filesystem::path& log,
                             const std::atomic<bool>& stop) {
  FrameWriter frames;
  std::string text;
  for (bool has_more = true; has_more || !text.empty();) {
    if (stop) return std::unexpected(Error{std::errc::operation_canceled, log.string()});
    // Until the frame's share of text is there and a line ends in it; a damaged file may have no line ends.
    while (has_more && (text.size() < kFrameBytes || (whole_lines(text) == 0 && text.size() < kMaxFrameBytes))) {
      auto more = read_more(from, text, kFrameBytes / 4, log);
      if (!more) return std::unexpected(more.error());
      has_more = *more;
    }
    const std::size_t lines = whole_lines(text);
    const std::size_t whole = has_more && lines > 0 ? lines : text.size();
    if (whole == 0) continue;
    auto frame = frames.compress(std::string_view(text).substr(0, whole));
    if (!frame) return std::unexpected(frame.error());
    if (auto written = write_all(to, *frame, log); !written) return written;
    text.erase(0, whole);
  }
  return {};
}

void sync_directory(const std::filesystem::path& directory) {
  const FileDescriptor handle(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle) ::fsync(handle.get());
}

}  // namespace

std::string archive_name(TimePoint ends_at) {
  std::string time;
  for (const char c : to_rfc3339(ends_at)) {
    if (c != '-' && c != ':') time += c;
  }
  return fmt::format("{}{}{}", kPrefix, time, kLogSuffix);
}

std::optional<TimePoint> parse_archive_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  if (name.ends_with(kZstSuffix)) {
    name.remove_suffix(kZstSuffix.size());
  } else if (name.ends_with(kLogSuffix)) {
    name.remove_suffix(kLogSuffix.size());
  } else {
    return std::nullopt;
  }
  if (!has_time_shape(name)) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(number_at(name, 0, 4)),
                                         std::chrono::month(static_cast<unsigned>(number_at(name, 4, 2))),
                                         std::chrono::day(static_cast<unsigned>(number_at(name, 6, 2)))};
  if (!date.ok()) return std::nullopt;
  return TimePoint(std::chrono::sys_days(date) + std::chrono::hours(number_at(name, 9, 2)) +
                   std::chrono::minutes(number_at(name, 11, 2)) + std::chrono::seconds(number_at(name, 13, 2)) +
                   Duration(number_at(name, 16, 3)));
}

Result<std::vector<Archive>> list_archives(const std::filesystem::path& directory) {
  std::vector<Archive> archives;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const auto ends_at = parse_archive_name(entry->path().filename().string());
    if (!ends_at) continue;
    std::error_code gone;
    const std::uint64_t bytes = entry->file_size(gone);
    if (gone) continue;
    archives.push_back({entry->path(), *ends_at, entry->path().extension() == ".zst", bytes});
  }
  if (failure) return std::unexpected(Error{failure, directory.string()});
  std::sort(archives.begin(), archives.end(), [](const Archive& a, const Archive& b) { return a.path < b.path; });
  return archives;
}

Result<void> compress_log(const std::filesystem::path& log, const std::atomic<bool>& stop) {
  const std::filesystem::path target = log.string() + ".zst";
  const std::filesystem::path unfinished = target.string() + ".tmp";
  const FileDescriptor from(::open(log.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from) return std::unexpected(errno_error(log));
  const FileDescriptor to(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (!to) return std::unexpected(errno_error(unfinished));
  auto done = compress_frames(from, to, log, stop);
  if (done && ::fsync(to.get()) != 0) done = std::unexpected(errno_error(unfinished));
  if (done && ::rename(unfinished.c_str(), target.c_str()) != 0) done = std::unexpected(errno_error(target));
  if (!done) {
    ::unlink(unfinished.c_str());
    return done;
  }
  sync_directory(log.parent_path());  // the compressed one must be there for good before the other goes
  ::unlink(log.c_str());
  return {};
}

std::vector<Archive> expired_archives(const std::vector<Archive>& archives, TimePoint now,
                                      std::chrono::seconds retain_for, std::uint64_t retain_bytes) {
  std::uint64_t total = 0;
  for (const Archive& archive : archives) total += archive.bytes;
  std::vector<Archive> expired;
  for (const Archive& archive : archives) {
    if (now - archive.ends_at <= retain_for && total <= retain_bytes) break;
    expired.push_back(archive);
    total -= archive.bytes;
  }
  return expired;
}

}  // namespace danki::events
