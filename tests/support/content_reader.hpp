#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace danki::support {

/// Takes content off the wire: removes stuffed dots, finds CRLF.CRLF and nothing else as the end of data (RFC 5321
/// section 4.1.1.4), and notes what the sender did wrong.
class ContentReader {
 public:
  void start();                                   ///< a new message
  std::size_t feed_data(std::string_view bytes);  ///< bytes used; is_complete() after the end of data
  void feed_chunk(std::string_view bytes);        ///< BDAT: bytes as they are
  bool is_complete() const { return complete_; }
  const std::string& content() const { return content_; }
  std::string take() { return std::move(content_); }
  std::size_t size() const { return size_; }
  void limit(std::size_t max_bytes) { max_bytes_ = max_bytes; }  ///< content beyond it is counted, not kept

  /// "bare CR", "bare LF", "NUL", "line over 998 octets", "octets above 127", "octets above 127 in the header section",
  /// "no CRLF at the end".
  std::vector<std::string> remarks() const;

 private:
  void keep(char c);

  enum class At { LineStart, Dot, DotCr, Cr, Inside };
  At at_ = At::LineStart;
  bool complete_ = false;
  bool in_header_ = true;
  bool after_cr_ = false;
  std::size_t line_bytes_ = 0;
  std::size_t size_ = 0;
  std::size_t max_bytes_ = SIZE_MAX;
  std::string content_;
  std::set<std::string> remarks_;
};

}  // namespace danki::support
