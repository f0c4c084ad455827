#include "tests/support/content_reader.hpp"

namespace danki::support {
namespace {
constexpr std::size_t kMaxLineOctets = 998;  // RFC 5322 section 2.1.1, CRLF not counted
}

void ContentReader::start() {
  auto max_bytes = max_bytes_;
  *this = {};
  max_bytes_ = max_bytes;
}

std::size_t ContentReader::feed_data(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    char c = bytes[i];
    switch (at_) {
      case At::LineStart:
        if (c == '.') {
          at_ = At::Dot;  // stuffed, or the end of data
          continue;
        }
        break;
      case At::Dot:
        if (c == '\r') {
          at_ = At::DotCr;
          continue;
        }
        if (c != '.') remarks_.insert("dot at the start of a line not stuffed");
        break;
      case At::DotCr:
        if (c == '\n') {
          complete_ = true;
          return i + 1;
        }
        keep('\r');  // a stuffed dot before a bare CR
        break;
      case At::Cr:
      case At::Inside:
        break;
    }
    if (c == '\r') {
      at_ = At::Cr;
    } else {
      at_ = at_ == At::Cr && c == '\n' ? At::LineStart : At::Inside;
    }
    keep(c);
  }
  return bytes.size();
}

void ContentReader::feed_chunk(std::string_view bytes) {
  for (char c : bytes) keep(c);
}

std::vector<std::string> ContentReader::remarks() const {
  std::vector<std::string> remarks(remarks_.begin(), remarks_.end());
  if (after_cr_) remarks.emplace_back("bare CR");
  if (size_ > 0 && size_ <= max_bytes_ && !content_.ends_with("\r\n")) remarks.emplace_back("no CRLF at the end");
  return remarks;
}

void ContentReader::keep(char c) {
  if (++size_ <= max_bytes_) content_ += c;
  bool ends_line = c == '\n' && after_cr_;
  if (c == '\n' && !after_cr_) remarks_.insert("bare LF");
  if (after_cr_ && c != '\n') {
    remarks_.insert("bare CR");
    ++line_bytes_;
  }
  after_cr_ = c == '\r';
  if (c == '\0') remarks_.insert("NUL");
  if (static_cast<unsigned char>(c) > 127) {
    remarks_.insert(in_header_ ? "octets above 127 in the header section" : "octets above 127");
  }
  if (ends_line) {
    if (line_bytes_ == 0) in_header_ = false;
    line_bytes_ = 0;
  } else if (c != '\r' && ++line_bytes_ > kMaxLineOctets) {
    remarks_.insert("line over 998 octets");
  }
}

}  // namespace danki::support
