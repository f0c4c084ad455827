#include "mta/delivery/dot_stuffing.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace danki::delivery {
namespace {

/// Where the next dot that begins a line is, at `from` or after it; the first octet of `text` does not begin a line.
/// One memchr a line: faster than looking for three octets at once, and dots are far more frequent than line ends.
const char* next_line_dot(const char* from, const char* end) {
  while (from < end) {
    const char* newline = static_cast<const char*>(std::memchr(from, '\n', static_cast<std::size_t>(end - from)));
    if (newline == nullptr || newline + 1 == end) return nullptr;
    if (newline[1] == '.' && newline > from && newline[-1] == '\r') return newline + 1;
    from = newline + 1;
  }
  return nullptr;
}

/// As next_line_dot for a whole piece, whose first octets may belong to a line that an earlier piece began.
const char* first_line_dot(std::string_view piece, bool at_line_start, bool after_cr) {
  if (at_line_start && piece[0] == '.') return piece.data();
  if (after_cr && piece.starts_with("\n.")) return piece.data() + 1;
  return next_line_dot(piece.data(), piece.data() + piece.size());
}

}  // namespace

void DotStuffer::append(std::string_view piece, std::string& out) {
  if (piece.empty()) return;
  const char* done = piece.data();
  const char* const end = done + piece.size();
  const char* dot = first_line_dot(piece, at_ == At::LineStart, at_ == At::AfterCr);
  while (dot != nullptr) {
    out.append(done, dot);
    out += '.';
    done = dot;
    dot = next_line_dot(dot, end);
  }
  out.append(done, end);
  at_ = after(piece);
}

bool DotStuffer::passes(std::string_view piece) {
  if (piece.empty()) return true;
  if (first_line_dot(piece, at_ == At::LineStart, at_ == At::AfterCr) != nullptr) return false;
  at_ = after(piece);
  return true;
}

DotStuffer::At DotStuffer::after(std::string_view piece) const {
  if (piece.ends_with('\r')) return At::AfterCr;
  if (!piece.ends_with('\n')) return At::Within;
  const bool crlf = piece.size() == 1 ? at_ == At::AfterCr : piece[piece.size() - 2] == '\r';
  return crlf ? At::LineStart : At::Within;
}

std::string_view DotStuffer::terminator() const {
  return at_ == At::LineStart ? ".\r\n" : "\r\n.\r\n";
}

bool has_eight_bit(std::string_view text) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080u;
  const char* from = text.data();
  std::size_t left = text.size();
  for (; left >= 32; from += 32, left -= 32) {
    std::uint64_t words[4];
    std::memcpy(words, from, sizeof words);
    if (((words[0] | words[1] | words[2] | words[3]) & kHighBits) != 0) return true;
  }
  for (; left > 0; ++from, --left) {
    if (static_cast<unsigned char>(*from) >= 0x80) return true;
  }
  return false;
}

}  // namespace danki::delivery
