#pragma once

#include "mail/enhanced_status.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace danki::mail {

/// One SMTP reply (RFC 5321 section 4.2). `text` joins the lines with '\n', reply codes and `enhanced` removed from
/// each, cut at kMaxReplyTextBytes. Control characters are '?' in it; octets above 127 are as sent, so it may be no
/// valid UTF-8.
struct Reply {
  int code = 0;                            ///< 200..599
  std::optional<EnhancedStatus> enhanced;  ///< from the first line, if its class fits the code (RFC 2034 section 4)
  std::string text;

  bool positive() const { return code >= 200 && code < 300; }
  bool intermediate() const { return code >= 300 && code < 400; }
  bool transient() const { return code >= 400 && code < 500; }
  bool permanent() const { return code >= 500 && code < 600; }
  /// "451 4.7.1 text" on one line, for people.
  std::string to_string() const;
  bool operator==(const Reply&) const = default;
};

inline constexpr std::size_t kMaxReplyLineBytes = 2048;  ///< RFC 5321 4.5.3.1.5 says 512; providers write long URLs
inline constexpr std::size_t kMaxReplyLines = 128;       ///< an EHLO answer has about 20
inline constexpr std::size_t kMaxReplyTextBytes = 4096;  ///< what is kept of the text

/// Reads replies out of bytes as they come. Accepts a bare LF as line end (some old hosts); refuses what is no reply. A
/// reply that arrives whole is not copied but for its text.
class ReplyParser {
 public:
  enum class Status { NeedMore, Complete, Malformed };
  struct Step {
    Status status;
    std::size_t consumed;  ///< octets of the input used up; with Complete the rest belongs to the next reply
  };

  /// After Complete, reply() is valid until the next call. After Malformed the connection cannot be used on.
  Step feed(std::string_view bytes);
  const Reply& reply() const { return reply_; }
  /// Why the input was malformed.
  const std::string& problem() const { return problem_; }

 private:
  Step take_line(std::string_view line, std::size_t consumed);
  void take_text(std::string_view text);
  Step malformed(std::string problem, std::size_t consumed);

  Reply reply_;
  std::string line_;  ///< of a line whose end has not come
  std::string problem_;
  std::size_t lines_ = 0;
  bool complete_ = false;
};

}  // namespace danki::mail
