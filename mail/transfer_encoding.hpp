#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Bodies in the transfer encodings of RFC 2045, in lines of at most 76 octets.
namespace danki::mail {

/// Where encoded octets go: counted, and kept if told where.
class Output {
 public:
  explicit Output(std::string* kept = nullptr) : kept_(kept) {}
  void put(char c) {
    ++bytes_;
    if (kept_ != nullptr) kept_->push_back(c);
  }
  void put(std::string_view text) {
    bytes_ += text.size();
    if (kept_ != nullptr) kept_->append(text);
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::string* kept_;
  std::uint64_t bytes_ = 0;
};

/// Quoted-printable (RFC 2045 section 6.7) of text whose lines end in CRLF; other CR and LF are data. No line begins
/// with "-": a soft line break cannot make the delimiter of a multipart.
void encode_quoted_printable(std::string_view text, Output& out);

/// Base64 (RFC 2045 section 6.8). Ends in CRLF if `octets` do: a body of a part does not, a whole message's does.
void encode_base64(std::string_view octets, Output& out);

/// The same base64 in lines of 76. False if there are characters that are not base64: a line could then begin with
/// anything. `out` has got something all the same.
bool rewrap_base64(std::string_view body, Output& out);

/// The same quoted-printable, lines over `max_line` broken softly. False if one of them is not well formed ("=" before
/// other than two hexadecimal digits), for readers disagree on what it means.
bool rewrap_quoted_printable(std::string_view body, std::size_t max_line, Output& out);

}  // namespace danki::mail
