#pragma once

#include <string>
#include <string_view>

namespace danki::delivery {

/// Transparency, RFC 5321 section 4.5.2: a line of content that begins with a dot gets one more. Content comes in
/// pieces of any length; what matters of a piece to the next is remembered. Only CRLF ends a line: content with bare LF
/// is never accepted, and were it here, a host that keeps to the RFC would see our dot as part of it.
class DotStuffer {
 public:
  /// Appends `piece` to `out` with the dots it needs.
  void append(std::string_view piece, std::string& out);
  /// True when `piece` may go as it is: it is then counted as sent. False: nothing has changed, append() it.
  bool passes(std::string_view piece);
  /// What ends the content: the CRLF it lacks, if it lacks one, then the final dot.
  std::string_view terminator() const;

 private:
  enum class At { LineStart, AfterCr, Within };
  At after(std::string_view piece) const;

  At at_ = At::LineStart;
};

/// True if an octet above 127 is in `text`, at memory speed (it is asked about every message of every attempt).
bool has_eight_bit(std::string_view text);

}  // namespace danki::delivery
