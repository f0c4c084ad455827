#include "mail/transfer_encoding.hpp"

#include "mail/ascii.hpp"

#include <algorithm>

namespace danki::mail {
namespace {

constexpr std::size_t kEncodedLineBytes = 76;  // RFC 2045 sections 6.7 (5) and 6.8
constexpr std::size_t kBase64OctetsPerLine = kEncodedLineBytes / 4 * 3;
constexpr std::string_view kCrLf = "\r\n";
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr bool is_base64(char c) {
  return is_alnum(c) || c == '+' || c == '/' || c == '=';
}

constexpr bool is_hex(char c) {
  return is_digit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/// Writes the octets of one line, with soft line breaks before it grows too long.
class QuotedPrintableLine {
 public:
  explicit QuotedPrintableLine(Output& out) : out_(out) {}

  void put_encoded(char c) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const auto octet = static_cast<unsigned char>(c);
    const char triple[3] = {'=', kHex[octet >> 4], kHex[octet & 15]};
    make_room(sizeof triple);
    put_whole({triple, sizeof triple});
  }
  void put_plain(char c) {
    make_room(1);
    if (c == '-' && column_ == 0) return put_encoded(c);
    put_whole({&c, 1});
  }
  /// One that is encoded already.
  void put_triple(std::string_view triple) {
    make_room(triple.size());
    put_whole(triple);
  }
  void end(std::string_view line_end) {
    out_.put(line_end);
    column_ = 0;
  }

 private:
  void make_room(std::size_t bytes) {
    if (column_ + bytes <= kEncodedLineBytes - 1) return;  // 1: the "=" of a soft line break
    out_.put("=\r\n");
    column_ = 0;
  }
  void put_whole(std::string_view octets) {
    out_.put(octets);
    column_ += octets.size();
  }

  Output& out_;
  std::size_t column_ = 0;
};

/// Takes a line from the front; the second is its CRLF, or empty at the end.
std::pair<std::string_view, std::string_view> take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find(kCrLf), text.size());
  const std::pair line(text.substr(0, end), text.substr(end, kCrLf.size()));
  text.remove_prefix(end + line.second.size());
  return line;
}

std::size_t without_trailing_blanks(std::string_view line) {
  const std::size_t last = line.find_last_not_of(" \t");
  return last == std::string_view::npos ? 0 : last + 1;
}

bool break_line(std::string_view line, QuotedPrintableLine& into, std::size_t max_line, Output& out) {
  std::size_t end = without_trailing_blanks(line);
  // A break among blanks that end a line would keep some of them, which readers delete (section 6.7 (3)).
  std::string_view blanks = line.substr(end);
  const bool is_soft = end != 0 && line[end - 1] == '=';
  if (is_soft) --end;
  if (is_soft || blanks.size() > max_line - kEncodedLineBytes) blanks = {};
  for (std::size_t i = 0; i < end;) {
    if (line[i] != '=') {
      into.put_plain(line[i++]);
      continue;
    }
    if (i + 2 >= end || !is_hex(line[i + 1]) || !is_hex(line[i + 2])) return false;
    into.put_triple(line.substr(i, 3));
    i += 3;
  }
  if (is_soft) out.put('=');
  out.put(blanks);
  return true;
}

}  // namespace

void encode_quoted_printable(std::string_view text, Output& out) {
  QuotedPrintableLine into(out);
  while (!text.empty()) {
    const auto [line, line_end] = take_line(text);
    for (std::size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      const bool is_plain = is_wsp(c) ? i + 1 != line.size() : c > ' ' && c < 0x7F && c != '=';
      if (is_plain) {
        into.put_plain(c);
      } else {
        into.put_encoded(c);
      }
    }
    into.end(line_end);
  }
}

void encode_base64(std::string_view octets, Output& out) {
  const bool ends_in_line_end = octets.ends_with(kCrLf);
  for (std::size_t begin = 0; begin < octets.size(); begin += kBase64OctetsPerLine) {
    if (begin != 0) out.put(kCrLf);
    const std::string_view line = octets.substr(begin, kBase64OctetsPerLine);
    for (std::size_t i = 0; i < line.size(); i += 3) {
      const std::size_t left = std::min<std::size_t>(3, line.size() - i);
      std::uint32_t bits = 0;
      for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < left ? static_cast<unsigned char>(line[i + k]) : 0u);
      const char four[4] = {kBase64[bits >> 18], kBase64[bits >> 12 & 63], left > 1 ? kBase64[bits >> 6 & 63] : '=',
                            left > 2 ? kBase64[bits & 63] : '='};
      out.put({four, sizeof four});
    }
  }
  if (ends_in_line_end) out.put(kCrLf);
}

bool rewrap_base64(std::string_view body, Output& out) {
  std::size_t column = 0;
  for (const char c : body) {
    if (is_wsp(c) || c == '\r' || c == '\n') continue;
    if (!is_base64(c)) return false;
    if (column == kEncodedLineBytes) {
      out.put(kCrLf);
      column = 0;
    }
    out.put(c);
    ++column;
  }
  if (body.ends_with(kCrLf)) out.put(kCrLf);
  return true;
}

bool rewrap_quoted_printable(std::string_view body, std::size_t max_line, Output& out) {
  QuotedPrintableLine into(out);
  while (!body.empty()) {
    const auto [line, line_end] = take_line(body);
    if (line.size() <= max_line) {
      out.put(line);
    } else if (!break_line(line, into, max_line, out)) {
      return false;
    }
    into.end(line_end);
  }
  return true;
}

}  // namespace danki::mail
