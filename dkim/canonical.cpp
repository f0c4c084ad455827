#include "dkim/canonical.hpp"

#include "mail/ascii.hpp"

#include <algorithm>

namespace danki::dkim {
namespace {

constexpr std::string_view kCrlf = "\r\n";

/// Octets that are copied as they are, whatever stands around them.
constexpr auto kIsText = [] {
  std::array<bool, 256> table{};
  table.fill(true);
  table[' '] = table['\t'] = table['\r'] = false;
  return table;
}();

bool is_text(char c) {
  return kIsText[static_cast<unsigned char>(c)];
}

}  // namespace

void append_relaxed_header(std::string_view name, std::string_view value, std::string& out) {
  for (const char c : mail::trim_wsp(name)) out += mail::to_lower(c);
  out += ':';
  const std::size_t value_begin = out.size();
  bool waiting_space = false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (mail::is_wsp(c)) {
      waiting_space = true;
    } else if (c == '\r' && i + 1 < value.size() && value[i + 1] == '\n') {
      ++i;  // folding: the white space after it stays
    } else {
      if (waiting_space && out.size() > value_begin) out += ' ';
      waiting_space = false;
      out += c;
    }
  }
  out += kCrlf;
}

void RelaxedBody::append(std::string_view piece) {
  const char* at = piece.data();
  const char* const end = at + piece.size();
  while (at < end) {
    if (waiting_cr_ || !is_text(*at)) {
      at = append_byte(at);
    } else {
      put_waiting();
      at = copy_text(at, end);
    }
  }
}

/// One octet that needs thought: white space, CR, or whatever follows a CR. Returns where to go on.
const char* RelaxedBody::append_byte(const char* at) {
  if (waiting_cr_) {
    waiting_cr_ = false;
    if (*at == '\n') {
      ++waiting_line_ends_;
      waiting_space_ = false;
      return at + 1;
    }
    put_waiting();  // a bare CR is text like any other (RFC 6376 section 2.8 knows no other line end than CRLF)
    put('\r');
    return at;
  }
  if (*at == '\r') {
    waiting_cr_ = true;
  } else {
    waiting_space_ = true;
  }
  return at + 1;
}

/// Copies from text to the first place that is not plain: a single space between two words is plain. This loop sees
/// nearly every octet of a body.
const char* RelaxedBody::copy_text(const char* at, const char* end) {
  if (used_ == buffer_.size()) flush();
  char* out = buffer_.data() + used_;
  const char* const stop = at + std::min<std::size_t>(end - at, buffer_.size() - used_);
  for (; at != stop; ++at, ++out) {
    if (!is_text(*at) && !(*at == ' ' && at + 1 != end && is_text(at[1]))) break;
    *out = *at;
  }
  used_ = out - buffer_.data();
  return at;
}

void RelaxedBody::put(char c) {
  if (used_ == buffer_.size()) flush();
  buffer_[used_++] = c;
}

/// Text follows: line ends and white space before it count after all.
void RelaxedBody::put_waiting() {
  has_text_ = true;
  for (; waiting_line_ends_ > 0; --waiting_line_ends_) {
    for (const char c : kCrlf) put(c);
  }
  if (waiting_space_) put(' ');
  waiting_space_ = false;
}

void RelaxedBody::flush() {
  if (used_ > 0) sink_(std::string_view(buffer_.data(), used_));
  used_ = 0;
}

void RelaxedBody::finish() {
  if (waiting_cr_) {
    put_waiting();
    put('\r');
  }
  if (has_text_) {
    for (const char c : kCrlf) put(c);
  }
  flush();
  waiting_line_ends_ = 0;
  waiting_space_ = waiting_cr_ = has_text_ = false;
}

}  // namespace danki::dkim
