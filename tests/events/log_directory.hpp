#pragma once

#include "base/time.hpp"
#include "events/event.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace danki::events {

/// A folder of its own for a log, removed at the end.
class LogDirectory {
 public:
  LogDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "danki-events-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~LogDirectory() { std::filesystem::remove_all(path); }
  LogDirectory(const LogDirectory&) = delete;
  LogDirectory& operator=(const LogDirectory&) = delete;

  std::filesystem::path live() const { return path / "events.log"; }

  /// Names of the files whose name ends so, sorted.
  std::vector<std::string> names(std::string_view suffix) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(suffix)) found.push_back(name);
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  std::filesystem::path path;
};

/// Threads of the log read it while the test moves it.
class SharedClock final : public Clock {
 public:
  TimePoint now() const override { return from_millis(now_); }
  SteadyPoint steady() const override { return SteadyPoint(std::chrono::milliseconds(now_)); }
  void advance(Duration by) { now_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_ = 1'795'412'979'120;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t start = 0;
  for (std::size_t end; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
    lines.push_back(text.substr(start, end - start));
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

inline std::uint64_t event_id_of(const std::string& line) {
  std::uint64_t id = 0;
  const std::string_view digits = std::string_view(line).substr(std::min<std::size_t>(line.size(), 12));
  std::from_chars(digits.data(), digits.data() + digits.size(), id);
  return id;
}

/// True as soon as `condition` holds; false after half a minute.
template <class Condition>
bool eventually(Condition condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

inline Event outcome(std::string id) {
  return Event{.type = Type::Delivered,
               .at = from_millis(1'795'412'979'120),
               .id = std::move(id),
               .tenant = "signup",
               .klass = mail::MailClass::Transactional,
               .from = "bounce@example.com",
               .to = "someone@example.net",
               .site = "mx.example.net",
               .source = "out01",
               .source_ip = "192.0.2.1",
               .mx = "mx.example.net",
               .mx_ip = "198.51.100.7",
               .attempt = 1,
               .reply = mail::Reply{250, mail::EnhancedStatus{2, 0, 0}, "Ok: queued as 4F2A1"},
               .queued_ms = 25,
               .delivery_ms = 12};
}

}  // namespace danki::events
