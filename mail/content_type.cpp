#include "mail/content_type.hpp"

#include "mail/ascii.hpp"

namespace danki::mail {
namespace {

constexpr std::size_t kMaxBoundaryBytes = 200;  // RFC 2046 section 5.1.1 allows 70; some programs write more

/// token of RFC 2045 section 5.1.
constexpr bool is_token_char(char c) {
  return c > ' ' && static_cast<unsigned char>(c) < 0x7F &&
         std::string_view("()<>@,;:\\\"/[]?=").find(c) == std::string_view::npos;
}

/// Takes pieces of a structured field from the front; line ends count as spaces.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  bool at_end() const { return text_.empty(); }
  bool take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  /// Spaces and comments.
  void skip_blank() {
    while (!text_.empty()) {
      if (is_wsp(text_.front()) || text_.front() == '\r' || text_.front() == '\n') {
        text_.remove_prefix(1);
      } else if (text_.front() == '(') {
        skip_comment();
      } else {
        return;
      }
    }
  }
  std::string_view token() {
    std::size_t end = 0;
    while (end < text_.size() && is_token_char(text_[end])) ++end;
    return cut(end);
  }
  /// As far as a value without quotes may go where it is not quite a token: programs write "boundary=----=_Part".
  std::string_view bare_value() {
    std::size_t end = 0;
    while (end < text_.size() &&
           (is_token_char(text_[end]) || std::string_view("=:/?").find(text_[end]) != std::string_view::npos))
      ++end;
    return cut(end);
  }
  /// Empty if it does not end.
  std::optional<std::string> quoted() {
    std::string value;
    text_.remove_prefix(1);
    while (!text_.empty()) {
      char c = text_.front();
      text_.remove_prefix(1);
      if (c == '"') return value;
      if (c == '\r' || c == '\n') continue;  // folding
      if (c == '\\' && !text_.empty()) {
        c = text_.front();
        text_.remove_prefix(1);
      }
      value += c;
    }
    return std::nullopt;
  }
  bool at(char c) const { return !text_.empty() && text_.front() == c; }
  /// Behind the next semicolon that stands in no quotes.
  void skip_parameter() {
    while (!text_.empty() && text_.front() != ';') {
      if (text_.front() == '"') {
        if (!quoted()) return;
      } else {
        text_.remove_prefix(1);
      }
    }
  }

 private:
  std::string_view cut(std::size_t bytes) {
    const std::string_view piece = text_.substr(0, bytes);
    text_.remove_prefix(bytes);
    return piece;
  }
  void skip_comment() {
    std::size_t depth = 0;
    while (!text_.empty()) {
      const char c = text_.front();
      text_.remove_prefix(c == '\\' && text_.size() > 1 ? 2 : 1);
      if (c == '(') ++depth;
      if (c == ')' && --depth == 0) return;
    }
  }

  std::string_view text_;
};

/// The parameters behind type and subtype; false if they are no clear list.
bool read_boundary(Cursor& cursor, std::string& boundary) {
  bool found = false;
  for (cursor.skip_blank(); !cursor.at_end(); cursor.skip_blank()) {
    if (!cursor.take(';')) return false;
    cursor.skip_blank();
    if (cursor.at_end() || cursor.at(';')) continue;
    const std::string name = to_lower(cursor.token());
    cursor.skip_blank();
    if (name != "boundary") {
      if (name.starts_with("boundary*")) return false;
      cursor.skip_parameter();
      continue;
    }
    if (found || !cursor.take('=')) return false;
    found = true;
    cursor.skip_blank();
    if (cursor.at('"')) {
      auto value = cursor.quoted();
      if (!value) return false;
      boundary = std::move(*value);
    } else {
      boundary = cursor.bare_value();
    }
  }
  while (!boundary.empty() && is_wsp(boundary.back())) boundary.pop_back();  // RFC 2046 section 5.1.1: never ends so
  return boundary.size() <= kMaxBoundaryBytes;
}

}  // namespace

std::optional<ContentType> parse_content_type(std::string_view value) {
  Cursor cursor(value);
  ContentType content_type;
  cursor.skip_blank();
  content_type.type = to_lower(cursor.token());
  cursor.skip_blank();
  if (content_type.type.empty() || !cursor.take('/')) return std::nullopt;
  cursor.skip_blank();
  content_type.subtype = to_lower(cursor.token());
  if (content_type.subtype.empty()) return std::nullopt;
  if (!read_boundary(cursor, content_type.boundary)) content_type.boundary.clear();
  return content_type;
}

TransferEncoding parse_transfer_encoding(std::string_view value) {
  Cursor cursor(value);
  cursor.skip_blank();
  const std::string name = to_lower(cursor.token());
  cursor.skip_blank();
  if (!cursor.at_end()) return TransferEncoding::Unknown;
  if (name == "7bit") return TransferEncoding::SevenBit;
  if (name == "8bit") return TransferEncoding::EightBit;
  if (name == "binary") return TransferEncoding::Binary;
  if (name == "quoted-printable") return TransferEncoding::QuotedPrintable;
  if (name == "base64") return TransferEncoding::Base64;
  return TransferEncoding::Unknown;
}

}  // namespace danki::mail
