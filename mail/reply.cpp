#include "mail/reply.hpp"

#include "base/utf8.hpp"
#include "mail/ascii.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danki::mail {
namespace {

constexpr std::size_t kLongestEnhancedStatus = std::string_view("5.999.999").size();

/// The code that a line's text begins with, if a space or the end follows it.
std::optional<EnhancedStatus> leading_status(std::string_view text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  if (end > kLongestEnhancedStatus) return std::nullopt;
  return EnhancedStatus::parse(text.substr(0, end));
}

std::string_view without_leading_status(std::string_view text) {
  const std::size_t space = text.find(' ');
  return space == std::string_view::npos ? std::string_view{} : text.substr(space + 1);
}

/// 200 to 599, or 0.
int leading_code(std::string_view line) {
  if (line.size() < 3 || line[0] < '2' || line[0] > '5' || !is_digit(line[1]) || !is_digit(line[2])) return 0;
  return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

}  // namespace

std::string Reply::to_string() const {
  std::string line = std::to_string(code);
  if (enhanced) {
    line += ' ';
    line += enhanced->to_string();
  }
  if (!text.empty()) {
    line += ' ';
    line += text;
  }
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

ReplyParser::Step ReplyParser::feed(std::string_view bytes) {
  if (!problem_.empty()) return {Status::Malformed, 0};
  if (complete_) {
    complete_ = false;
    lines_ = 0;
    reply_.code = 0;
    reply_.enhanced.reset();
    reply_.text.clear();
  }
  std::size_t consumed = 0;
  while (consumed < bytes.size()) {
    const std::string_view rest = bytes.substr(consumed);
    const std::size_t newline = rest.find('\n');
    if (newline == std::string_view::npos) {
      if (line_.size() + rest.size() > kMaxReplyLineBytes) return malformed("a line is too long", bytes.size());
      line_ += rest;
      return {Status::NeedMore, bytes.size()};
    }
    consumed += newline + 1;
    std::string_view line = rest.substr(0, newline);
    if (line_.size() + line.size() > kMaxReplyLineBytes) return malformed("a line is too long", consumed);
    if (!line_.empty()) {
      line_ += line;
      line = line_;
    }
    if (line.ends_with('\r')) line.remove_suffix(1);
    const Step step = take_line(line, consumed);
    line_.clear();
    if (step.status != Status::NeedMore) return step;
  }
  return {Status::NeedMore, consumed};
}

ReplyParser::Step ReplyParser::take_line(std::string_view line, std::size_t consumed) {
  const int code = leading_code(line);
  if (code == 0) return malformed("a line does not begin with a reply code", consumed);
  const char separator = line.size() > 3 ? line[3] : ' ';  // "250" alone is a reply, RFC 5321 section 4.2
  if (separator != ' ' && separator != '-') {
    return malformed("neither space nor hyphen after the reply code", consumed);
  }
  // The lines' codes must be equal (RFC 5321 section 4.2.1). Hosts that vary the last two digits mean the last line;
  // one that says both yes and no cannot be understood.
  if (lines_ > 0 && code / 100 != reply_.code / 100) return malformed("the lines' reply codes disagree", consumed);
  if (++lines_ > kMaxReplyLines) return malformed("too many lines", consumed);
  reply_.code = code;
  take_text(line.substr(std::min<std::size_t>(line.size(), 4)));
  if (separator == '-') return {Status::NeedMore, consumed};
  complete_ = true;
  return {Status::Complete, consumed};
}

void ReplyParser::take_text(std::string_view text) {
  const auto status = leading_status(text);
  if (lines_ == 1 && status && status->klass == reply_.code / 100) reply_.enhanced = status;
  // Each line of a long reply repeats the code (RFC 2034 section 4): it is kept once.
  if (status && status == reply_.enhanced) text = without_leading_status(text);

  std::string& kept = reply_.text;
  if (lines_ > 1 && kept.size() < kMaxReplyTextBytes) kept += '\n';
  const std::size_t begin = kept.size();
  kept += utf8_prefix(text, kMaxReplyTextBytes - begin);
  std::replace_if(kept.begin() + static_cast<std::ptrdiff_t>(begin), kept.end(), is_control, '?');
}

ReplyParser::Step ReplyParser::malformed(std::string problem, std::size_t consumed) {
  problem_ = std::move(problem);
  return {Status::Malformed, consumed};
}

}  // namespace danki::mail
