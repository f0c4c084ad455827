#pragma once

#include "base/result.hpp"

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

/// The program's own log (not the event log): a fixed message, then key=value. Remote text is quoted and cut at 256
/// octets, control characters escaped, so no reply can forge a line. Thread-safe; lines go to stderr or a file.
namespace danki::log {

enum class Level { Debug, Info, Warn, Error };

struct Field {
  std::string_view key;
  std::string value;
  bool is_whole = false;  ///< not cut at 256 octets, but at 4,096

  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  template <std::integral T>
  Field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}

  /// For words of our own that a person needs to the end, never for what a client or host said.
  static Field whole(std::string_view k, std::string v) {
    Field field(k, std::move(v));
    field.is_whole = true;
    return field;
  }
};

/// `path` empty: stderr. Lines are "2026-11-23T05:49:39.120Z warn message key=value". Call once, before threads start:
/// from then on a thread of its own writes them (warnings and errors at once, others within a second), so no caller
/// waits for the disk; should it fall 8,192 lines behind, the oldest are lost. Until then lines go to stderr, from info
/// up. Throws when the file cannot be opened.
void configure(Level lowest, const std::string& path);
/// Opens the file at `path` anew: logrotate has moved the old one away. Does nothing where lines go to stderr; on an
/// error the old file stays in use. From the thread that called configure().
Result<void> reopen();
/// Writes what still waits and ends that thread; later lines go to stderr. Call when the other threads have ended.
void shutdown();
bool enabled(Level level);
void write(Level level, std::string_view message, std::initializer_list<Field> fields = {});
inline void debug(std::string_view m, std::initializer_list<Field> f = {}) {
  if (enabled(Level::Debug)) write(Level::Debug, m, f);
}
inline void info(std::string_view m, std::initializer_list<Field> f = {}) {
  write(Level::Info, m, f);
}
inline void warn(std::string_view m, std::initializer_list<Field> f = {}) {
  write(Level::Warn, m, f);
}
inline void error(std::string_view m, std::initializer_list<Field> f = {}) {
  write(Level::Error, m, f);
}

/// The line that `write` logs, without time and level; shown for tests.
std::string format_line(std::string_view message, std::initializer_list<Field> fields);

}  // namespace danki::log
