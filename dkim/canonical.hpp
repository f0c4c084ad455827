#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

/// The "relaxed" canonicalisation of RFC 6376 section 3.4: plain code over bytes, without keys or hashes.
namespace danki::dkim {

/// Appends `name` and `value` (folded or not, without its last CRLF) in relaxed form, ending in CRLF, to `out`.
/// "SubjecT : a  b\r\n\tc " gives "subject:a b c\r\n". RFC 6376 section 3.4.2.
void append_relaxed_header(std::string_view name, std::string_view value, std::string& out);

/// The relaxed form of a body that arrives in pieces, handed on in pieces of at most kBufferBytes: white space at line
/// ends and empty lines at the end are dropped, runs of white space become one space, a missing last CRLF is added.
/// How the body is cut into pieces does not change what comes out. RFC 6376 section 3.4.4.
class RelaxedBody {
 public:
  static constexpr std::size_t kBufferBytes = 8192;

  explicit RelaxedBody(std::function<void(std::string_view)> sink) : sink_(std::move(sink)) {}
  RelaxedBody(const RelaxedBody&) = delete;
  RelaxedBody& operator=(const RelaxedBody&) = delete;

  void append(std::string_view piece);
  /// Hands on what is left and makes the object ready for the next body.
  void finish();

 private:
  const char* append_byte(const char* at);
  const char* copy_text(const char* at, const char* end);
  void put(char c);
  void put_waiting();
  void flush();

  std::function<void(std::string_view)> sink_;
  std::array<char, kBufferBytes> buffer_;
  std::size_t used_ = 0;
  std::size_t waiting_line_ends_ = 0;  ///< dropped unless more text follows
  bool waiting_space_ = false;         ///< white space was seen in this line: one space if more text follows in it
  bool waiting_cr_ = false;            ///< a CR was seen: a line end if LF follows, else text
  bool has_text_ = false;              ///< the body is not only white space and empty lines
};

}  // namespace danki::dkim
