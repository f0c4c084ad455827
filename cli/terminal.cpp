#include "cli/terminal.hpp"

#include "base/utf8.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include <sys/ioctl.h>
#include <unistd.h>

namespace danki::cli {
namespace {

struct Range {
  char32_t first, last;
};

/// East Asian Wide and Fullwidth of Unicode Standard Annex 11, and emoji, in whole blocks: what mail and names hold.
constexpr Range kWide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0x33FF},  {0x3400, 0x4DBF},
                           {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xAC00, 0xD7A3},  {0xF900, 0xFAFF},
                           {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},  {0x1F300, 0x1F64F},
                           {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
/// Combining marks, joiners, direction marks and variation selectors.
constexpr Range kZeroWidth[] = {{0x0300, 0x036F}, {0x200B, 0x200F}, {0x202A, 0x202E}, {0x2060, 0x206F},
                                {0x3099, 0x309A}, {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}};

bool is_in(char32_t character, const auto& ranges) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [&](const Range& range) { return character >= range.first && character <= range.last; });
}

/// Of a well-formed sequence.
char32_t code_point(std::string_view sequence) {
  const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(sequence[i]); };
  if (sequence.size() == 1) return octet(0);
  char32_t point = octet(0) & (0x7F >> sequence.size());
  for (std::size_t i = 1; i < sequence.size(); ++i) point = point << 6 | (octet(i) & 0x3F);
  return point;
}

std::size_t width_of(char32_t character) {
  if (is_in(character, kZeroWidth)) return 0;
  return is_in(character, kWide) ? 2 : 1;
}

/// Takes one character off the front; of invalid text one octet.
std::string_view take_character(std::string_view& text) {
  const std::size_t length = std::max<std::size_t>(utf8_sequence_length(text), 1);
  const std::string_view character = text.substr(0, length);
  text.remove_prefix(length);
  return character;
}

bool is_bidi_control(char32_t point) {
  return (point >= 0x202A && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
}

std::size_t columns_from_environment() {
  const char* const columns = std::getenv("COLUMNS");
  std::size_t width = 0;
  if (columns) std::from_chars(columns, columns + std::strlen(columns), width);
  return width;
}

}  // namespace

Terminal detect_terminal() {
  Terminal terminal;
  const bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
  const char* const no_colour = std::getenv("NO_COLOR");
  const char* const kind = std::getenv("TERM");
  terminal.has_colour = is_terminal && !(no_colour && *no_colour) && !(kind && std::string_view(kind) == "dumb");
  terminal.width = columns_from_environment();
  winsize size{};
  if (terminal.width == 0 && is_terminal) {
    const bool is_known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    terminal.width = is_known ? size.ws_col : 80;
  }
  return terminal;
}

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const std::string_view character = take_character(text);
    const char32_t point = character.size() == 1 ? static_cast<unsigned char>(character[0]) : code_point(character);
    if (point == '\n' || point == '\r' || point == '\t') {
      clean += ' ';
    } else if (point < 0x20 || (point >= 0x7F && point < 0xA0) || (character.size() == 1 && point >= 0x80) ||
               is_bidi_control(point)) {
      clean += '?';
    } else {
      clean += character;
    }
  }
  return clean;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) width += width_of(code_point(take_character(text)));
  return width;
}

std::string cut_to_width(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  const std::string_view mark = std::string_view("..").substr(0, width);
  std::string cut;
  for (std::size_t used = mark.size(); !text.empty();) {
    const std::string_view character = take_character(text);
    used += width_of(code_point(character));
    if (used > width) break;
    cut += character;
  }
  return cut.append(mark);
}

std::string coloured(const Terminal& terminal, Colour colour, std::string_view text) {
  static constexpr std::string_view kCodes[] = {"", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[32m"};
  if (!terminal.has_colour || colour == Colour::None) return std::string(text);
  return std::string(kCodes[static_cast<std::size_t>(colour)]).append(text).append("\x1b[0m");
}

}  // namespace danki::cli
