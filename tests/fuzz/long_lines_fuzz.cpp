// Input: a message, its lines ending in LF or CRLF. A low limit, so that short inputs have long lines.

#include "mail/long_lines.hpp"
#include "tests/fuzz/require.hpp"
#include "tests/mail/mime_decode.hpp"

#include <cstdint>

using namespace danki::mail;
using danki::fuzz::require;

namespace {

constexpr std::size_t kLimit = 100;

/// As a session lets a content pass.
std::string with_crlf(std::string_view octets) {
  std::string text;
  for (const char c : octets) {
    if (c == '\0' || c == '\r') continue;
    text += c == '\n' ? "\r\n" : std::string_view(&c, 1);
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string message = with_crlf({reinterpret_cast<const char*>(data), size});
  const auto fitting = LineFitting::plan(message, kLimit);
  if (!fitting) {
    require(!fitting.error().detail.empty() && test::longest_line(message) > kLimit);
    return 0;
  }
  const std::string fitted = fitting->write();
  require(fitted.size() == fitting->bytes());
  require(test::longest_line(fitted) <= kLimit);
  require(fitting->changes_anything() == (test::longest_line(message) > kLimit));
  if (!fitting->changes_anything()) require(fitted == message);
  require(test::read_message(fitted) == test::read_message(message));
  const auto again = LineFitting::plan(fitted, kLimit);
  require(again && !again->changes_anything());
  return 0;
}
