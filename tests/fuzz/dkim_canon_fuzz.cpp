// DKIM canonicalisation: whatever a body or header holds, the relaxed form is the same however the body was cut, is its
// own relaxed form, and holds no white space that RFC 6376 section 3.4 takes away.
#include "dkim/canonical.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using danki::dkim::RelaxedBody;

std::string relaxed(std::string_view body, std::size_t piece_size) {
  std::string out;
  RelaxedBody canonical([&](std::string_view piece) { out += piece; });
  while (!body.empty()) {
    const std::string_view piece = body.substr(0, piece_size);
    canonical.append(piece);
    body.remove_prefix(piece.size());
  }
  canonical.finish();
  return out;
}

void require(bool holds) {
  if (!holds) std::abort();
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

/// The first octet is the size of the pieces; the rest is a body and, up to its first colon, a field name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);

  const std::string whole = relaxed(input, input.size() + 1);
  require(relaxed(input, data[0] + std::size_t{1}) == whole);
  require(relaxed(whole, whole.size() + 1) == whole);
  require(whole.empty() || (whole.ends_with("\r\n") && !whole.ends_with("\r\n\r\n") && whole != "\r\n"));
  require(!contains(whole, "  ") && !contains(whole, "\t") && !contains(whole, " \r\n"));
  require(whole.size() <= input.size() + 2);

  const std::size_t colon = input.find(':');
  if (colon == std::string_view::npos) return 0;
  std::string field;
  danki::dkim::append_relaxed_header(input.substr(0, colon), input.substr(colon + 1), field);
  require(field.ends_with("\r\n"));
  const std::string_view line = std::string_view(field).substr(0, field.size() - 2);
  const std::string_view value = line.substr(line.find(':') + 1);
  require(!contains(value, "  ") && !contains(value, "\t") && !value.starts_with(' ') && !value.ends_with(' '));
  return 0;
}
