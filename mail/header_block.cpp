#include "mail/header_block.hpp"

#include <algorithm>

namespace danki::mail {
namespace {

/// Walks over the fields of a header section without keeping them.
class FieldScanner {
 public:
  explicit FieldScanner(std::string_view message) : message_(message) {}

  /// False at the end of the section; size() and body_offset() are known then.
  bool next(HeaderField& field) {
    const std::size_t begin = position_;
    const std::string_view first = line_at(begin);
    const std::size_t name_end = name_length(first);
    if (name_end == 0) {
      const bool is_separator = first == "\r\n" || first == "\n";
      body_offset_ = begin + (is_separator ? first.size() : 0);
      return false;
    }
    std::size_t end = begin + first.size();
    while (end < message_.size() && is_wsp(message_[end])) end += line_at(end).size();
    position_ = end;

    field.raw = message_.substr(begin, end - begin);
    field.name = field.raw.substr(0, name_end);
    field.value = field.raw.substr(field.raw.find(':', name_end) + 1);
    if (field.value.ends_with('\n')) field.value.remove_suffix(1);
    if (field.value.ends_with('\r')) field.value.remove_suffix(1);
    return true;
  }

  std::size_t size() const { return position_; }
  std::size_t body_offset() const { return body_offset_; }

 private:
  /// With its line end; empty at the end of the message.
  std::string_view line_at(std::size_t offset) const {
    const std::size_t newline = message_.find('\n', offset);
    const std::size_t end = newline == std::string_view::npos ? message_.size() : newline + 1;
    return message_.substr(offset, end - offset);
  }

  /// Octets of the field name that `line` begins with; 0 if it is no field. Spaces may stand before the colon (RFC 5322
  /// section 4.5).
  static std::size_t name_length(std::string_view line) {
    std::size_t end = 0;
    while (end < line.size() && line[end] > ' ' && line[end] < 0x7F && line[end] != ':') ++end;
    std::size_t colon = end;
    while (colon < line.size() && is_wsp(line[colon])) ++colon;
    return colon < line.size() && line[colon] == ':' ? end : 0;
  }

  std::string_view message_;
  std::size_t position_ = 0;
  std::size_t body_offset_ = 0;
};

bool matches(std::string_view field_name, std::string_view pattern) {
  if (pattern.ends_with('*')) return istarts_with(field_name, pattern.substr(0, pattern.size() - 1));
  return iequals(field_name, pattern);
}

}  // namespace

HeaderBlock HeaderBlock::parse(std::string_view message) {
  HeaderBlock block;
  block.fields_.reserve(32);
  FieldScanner scanner(message);
  for (HeaderField field; scanner.next(field);) {
    if (block.fields_.size() < kMaxHeaderFields) {
      block.fields_.push_back(field);
    } else {
      block.truncated_ = true;
    }
  }
  block.size_ = scanner.size();
  block.body_offset_ = scanner.body_offset();
  return block;
}

std::size_t HeaderBlock::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(fields_.begin(), fields_.end(), [&](const HeaderField& f) { return iequals(f.name, name); }));
}

const HeaderField* HeaderBlock::first(std::string_view name) const {
  for (const HeaderField& field : fields_) {
    if (iequals(field.name, name)) return &field;
  }
  return nullptr;
}

std::string remove_fields(std::string_view message, std::span<const std::string_view> names) {
  std::string kept;
  kept.reserve(message.size());
  FieldScanner scanner(message);
  for (HeaderField field; scanner.next(field);) {
    const bool unwanted =
        std::any_of(names.begin(), names.end(), [&](std::string_view name) { return matches(field.name, name); });
    if (!unwanted) kept += field.raw;
  }
  kept += message.substr(scanner.size());
  return kept;
}

std::string unfold(std::string_view value) {
  std::string line;
  line.reserve(value.size());
  for (const char c : value) {
    if (c != '\r' && c != '\n') line += c;
  }
  return std::string(trim_wsp(line));
}

}  // namespace danki::mail
