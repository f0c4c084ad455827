#include "events/log_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace danki::events {
namespace {

constexpr std::string_view kLineStart = "{\"event_id\":";
constexpr std::size_t kTailBytes = 256 * 1024;  // the longest line is some 30 KiB: a reply of 4 KiB, all of it escaped
constexpr mode_t kFileMode = 0640;              // addresses of recipients are nobody else's business

Error errno_error(const std::filesystem::path& path) {
  return Error{std::error_code(errno, std::generic_category()), path.string()};
}

Result<void> write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return std::unexpected(Error{std::error_code(errno, std::generic_category())});
    data.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

/// Up to `bytes` octets from `offset` on.
Result<std::string> read_at(int fd, std::uint64_t offset, std::size_t bytes) {
  std::string text(bytes, '\0');
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(fd, text.data() + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(Error{std::error_code(errno, std::generic_category())});
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

std::uint64_t id_of(std::string_view line) {
  if (!line.starts_with(kLineStart)) return 0;
  line.remove_prefix(kLineStart.size());
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), id);
  return error == std::errc{} ? id : 0;
}

/// Of the last line in `text` that ends in a newline and has an id.
std::uint64_t last_id(std::string_view text) {
  while (!text.empty()) {
    const std::size_t newline = text.rfind('\n');
    if (newline == std::string_view::npos) return 0;
    text = text.substr(0, newline);
    const std::size_t before = text.rfind('\n');
    const std::string_view line = before == std::string_view::npos ? text : text.substr(before + 1);
    if (const std::uint64_t id = id_of(line); id != 0) return id;
    if (before == std::string_view::npos) return 0;
    text = text.substr(0, before + 1);
  }
  return 0;
}

}  // namespace

Result<LogFile> LogFile::open(const std::filesystem::path& path) {
  auto descriptor =
      std::make_shared<const FileDescriptor>(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, kFileMode));
  if (!*descriptor) return std::unexpected(errno_error(path));
  struct stat status {};
  if (::fstat(descriptor->get(), &status) != 0) return std::unexpected(errno_error(path));
  LogFile file(std::move(descriptor), static_cast<std::uint64_t>(status.st_size));
  if (file.size_ > 0) {
    auto last = read_at(file.descriptor_->get(), file.size_ - 1, 1);
    if (!last) return std::unexpected(Error{last.error().code, path.string()});
    file.is_torn_ = *last != "\n";  // ended with the first append: a full disk must not stop the start
  }
  return file;
}

Result<void> LogFile::append(std::string_view lines) {
  if (is_torn_) {
    if (auto ended = write_all(descriptor_->get(), "\n"); !ended) return ended;
    is_torn_ = false;
    ++size_;
  }
  if (auto written = write_all(descriptor_->get(), lines); !written) {
    undo();
    return written;
  }
  size_ += lines.size();
  return {};
}

void LogFile::undo() {
  struct stat status {};
  if (::fstat(descriptor_->get(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) == size_) return;
  if (::ftruncate(descriptor_->get(), static_cast<off_t>(size_)) == 0) return;
  is_torn_ = true;
  size_ = static_cast<std::uint64_t>(status.st_size);
}

Result<IdRange> read_id_range(const std::filesystem::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::unexpected(errno_error(path));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return std::unexpected(errno_error(path));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  auto head = read_at(file.get(), 0, 64);
  auto tail = read_at(file.get(), size > kTailBytes ? size - kTailBytes : 0, kTailBytes);
  if (!head) return std::unexpected(Error{head.error().code, path.string()});
  if (!tail) return std::unexpected(Error{tail.error().code, path.string()});
  IdRange range{.first = id_of(*head), .last = last_id(*tail)};
  if (range.first == 0) range.first = range.last;
  return range;
}

}  // namespace danki::events
