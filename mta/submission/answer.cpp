#include "mta/submission/answer.hpp"

namespace danki::submission {

void append_answer(std::string& out, int code, std::string_view enhanced, std::string_view text) {
  const char digits[3] = {static_cast<char>('0' + code / 100), static_cast<char>('0' + code / 10 % 10),
                          static_cast<char>('0' + code % 10)};
  out.append(digits, sizeof digits);
  out += ' ';
  if (!enhanced.empty()) {
    out += enhanced;
    out += ' ';
  }
  for (const char c : text.substr(0, kMaxAnswerTextBytes)) {
    out += c >= ' ' && c < 0x7F ? c : '?';
  }
  out += "\r\n";
}

}  // namespace danki::submission
