#pragma once

#include "base/result.hpp"
#include "mail/transfer_encoding.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace danki::mail {

inline constexpr std::size_t kMaxTextLineBytes = 998;  ///< RFC 5322 section 2.1.1, without CRLF

/// How a message with lines over the limit becomes one without, whose readers see the same: the bodies of parts that
/// have such lines get a transfer encoding (quoted-printable for text, base64 for others) or have theirs wrapped anew,
/// header lines are folded (RFC 5322 section 2.2.3); all else stays octet by octet. Linear time; memory is in
/// proportion to the number of long lines until write().
class LineFitting {
 public:
  /// `message` has no NUL, bare CR or bare LF, and must outlive the result. The error's detail says, fit for an SMTP
  /// reply, why a line cannot be made to fit: it is in a signed or encrypted part, in a header field without spaces, in
  /// no part, or in one whose structure is not clear. `max_line` is not below 100.
  static Result<LineFitting> plan(std::string_view message, std::size_t max_line = kMaxTextLineBytes);

  bool changes_anything() const { return !edits_.empty(); }
  std::uint64_t bytes() const { return bytes_; }  ///< of the result
  std::string write() const;

 private:
  friend class LineFitter;
  enum class Action { Put, Fold, QuotedPrintable, Base64, WrapQuotedPrintable, WrapBase64 };
  struct Edit {
    std::size_t from, to;  // in the message; equal: an insertion
    Action action;
    std::string text;  // for Put
  };
  LineFitting(std::string_view message, std::size_t max_line) : message_(message), max_line_(max_line) {}
  /// False if it cannot be done.
  bool run(const Edit& edit, Output& out) const;

  std::string_view message_;
  std::size_t max_line_;
  std::vector<Edit> edits_;  // in their order, apart from each other
  std::uint64_t bytes_ = 0;
};

/// Breaks a header line (without its CRLF) before spaces and tabs, at about 78 octets; never so that a line would
/// consist of them alone. False if a piece is still longer than `max_line`.
bool fold_header_line(std::string_view line, std::size_t max_line, Output& out);

}  // namespace danki::mail
