#include "base/log.hpp"

#include "base/utf8.hpp"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>

#include <fmt/format.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/file_helper.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace danki::log {
namespace {

constexpr std::size_t kMaxValueBytes = 256;  // a reply may be 4 KiB; the event log has it whole
constexpr std::size_t kMaxWholeValueBytes = 4096;
constexpr std::size_t kMaxWaitingLines = 8192;  // at a few hundred octets each: some megabytes when the disk stalls

constexpr const char* kLoggerName = "danki";

std::atomic<Level> lowest_level{Level::Info};

std::string_view name_of(Level level) {
  switch (level) {
    case Level::Debug:
      return "debug";
    case Level::Info:
      return "info";
    case Level::Warn:
      return "warn";
    case Level::Error:
      return "error";
  }
  return "error";
}

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::Debug:
      return spdlog::level::debug;
    case Level::Info:
      return spdlog::level::info;
    case Level::Warn:
      return spdlog::level::warn;
    case Level::Error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::shared_ptr<spdlog::logger> prepared(std::shared_ptr<spdlog::logger> logger) {
  logger->set_formatter(
      std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc));
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::warn);
  return logger;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance =
      prepared(std::make_shared<spdlog::logger>(kLoggerName, std::make_shared<spdlog::sinks::stderr_sink_mt>()));
  return instance;
}

/// A file that can be opened anew while lines are written.
class FileSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FileSink(std::string path) : path_(std::move(path)) { file_ = open(); }

  void reopen() {
    auto fresh = open();
    std::lock_guard lock(mutex_);
    file_->flush();
    file_ = std::move(fresh);
  }

 private:
  std::unique_ptr<spdlog::details::file_helper> open() const {
    auto file = std::make_unique<spdlog::details::file_helper>();
    file->open(path_);
    return file;
  }
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    file_->write(line);
  }
  void flush_() override { file_->flush(); }

  const std::string path_;
  std::unique_ptr<spdlog::details::file_helper> file_;
};

std::weak_ptr<FileSink>& file_sink() {
  static std::weak_ptr<FileSink> instance;
  return instance;
}

/// C1 controls (U+0080 to U+009F) steer terminals as their ASCII brothers do.
bool is_c1_control(std::string_view sequence) {
  return sequence.size() == 2 && sequence[0] == '\xC2' && static_cast<unsigned char>(sequence[1]) < 0xA0;
}

bool is_plain(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(),
                                       [](char c) { return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\'; });
}

/// `text` with every octet that could end the line, close a quote or steer a terminal escaped.
void append_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = std::max<std::size_t>(utf8_sequence_length(text), 1);
    const std::string_view character = text.substr(0, length);
    const auto first = static_cast<unsigned char>(character[0]);
    text.remove_prefix(length);
    if (first == '"' || first == '\\') {
      out += '\\';
      out += character;
    } else if (first == '\n') {
      out += "\\n";
    } else if (first == '\r') {
      out += "\\r";
    } else if (first == '\t') {
      out += "\\t";
    } else if (first < 0x20 || first == 0x7F || (first >= 0x80 && length == 1) || is_c1_control(character)) {
      for (const char c : character)
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += character;
    }
  }
}

void append_value(std::string& out, std::string_view value, std::size_t max_bytes) {
  if (value.size() <= max_bytes && is_plain(value)) {
    out += value;
    return;
  }
  out += '"';
  append_escaped(out, utf8_prefix(value, max_bytes));
  if (value.size() > max_bytes) out += "...";
  out += '"';
}

void append_line(std::string& out, std::string_view message, std::initializer_list<Field> fields) {
  out += message;
  for (const Field& field : fields) {
    out += ' ';
    out += field.key;
    out += '=';
    append_value(out, field.value, field.is_whole ? kMaxWholeValueBytes : kMaxValueBytes);
  }
}

}  // namespace

void configure(Level lowest, const std::string& path) {
  lowest_level = lowest;
  // One writer thread, so that a slow disk or a full pipe stalls no I/O thread; when it cannot follow, old lines are
  // lost.
  if (!spdlog::thread_pool()) spdlog::init_thread_pool(kMaxWaitingLines, 1);
  spdlog::sink_ptr sink;
  if (path.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    auto file = std::make_shared<FileSink>(path);
    file_sink() = file;
    sink = std::move(file);
  }
  logger() = prepared(std::make_shared<spdlog::async_logger>(kLoggerName, std::move(sink), spdlog::thread_pool(),
                                                             spdlog::async_overflow_policy::overrun_oldest));
  spdlog::drop(kLoggerName);
  spdlog::register_logger(logger());
  spdlog::flush_every(std::chrono::seconds(1));
}

Result<void> reopen() {
  const auto file = file_sink().lock();
  if (!file) return {};
  try {
    file->reopen();
  } catch (const spdlog::spdlog_ex& failure) {
    return std::unexpected(Error{std::error_code(), failure.what()});
  }
  return {};
}

void shutdown() {
  // Held until the writer thread has ended, so that it is not that thread which closes the file.
  const std::shared_ptr<spdlog::logger> last = std::exchange(
      logger(),
      prepared(std::make_shared<spdlog::logger>(kLoggerName, std::make_shared<spdlog::sinks::stderr_sink_mt>())));
  spdlog::shutdown();
}

bool enabled(Level level) {
  return level >= lowest_level.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  std::string line(name_of(level));
  line += ' ';
  append_line(line, message, fields);
  logger()->log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

std::string format_line(std::string_view message, std::initializer_list<Field> fields) {
  std::string line;
  append_line(line, message, fields);
  return line;
}

}  // namespace danki::log
