#pragma once

#include <string>
#include <string_view>

namespace danki::submission {

/// A reply of one line, decided where the reason is known and sent where the conversation stands.
struct Answer {
  int code = 0;
  std::string_view enhanced;  ///< "5.7.1"; a literal
  std::string text;
  bool operator==(const Answer&) const = default;
};

inline constexpr std::size_t kMaxAnswerTextBytes = 480;  ///< RFC 5321 section 4.5.3.1.5: 512 with code and CRLF

/// Appends "550 5.7.1 text" CRLF. Control characters and octets above 127 in `text` become "?", so that nothing a
/// client said can forge a reply; it is cut at kMaxAnswerTextBytes.
void append_answer(std::string& out, int code, std::string_view enhanced, std::string_view text);
inline void append_answer(std::string& out, const Answer& answer) {
  append_answer(out, answer.code, answer.enhanced, answer.text);
}

}  // namespace danki::submission
