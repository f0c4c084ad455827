#include "mail/mime_walk.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace danki::mail {
namespace {

class Walker {
 public:
  Walker(std::string_view text, const std::function<void(const MimeEntity&)>& visit) : text_(text), visit_(visit) {}

  void run() { entity(0, {.is_message = true}); }

 private:
  static constexpr std::size_t kNoLevel = static_cast<std::size_t>(-1);

  /// A delimiter line, or the end of the text.
  struct Stop {
    std::size_t level = kNoLevel;  ///< which of the open multiparts it belongs to
    bool is_last = false;
    std::size_t begin = 0, end = 0;  ///< of the line
  };
  struct Place {
    bool is_message = false;
    bool in_digest = false;
    std::size_t depth = 0;
  };

  Stop entity(std::size_t begin, Place place);
  Stop parts(const MimeEntity& entity, std::size_t depth);
  Stop next_delimiter(std::size_t from) const;
  bool read_delimiter(std::size_t begin, Stop& stop) const;
  std::size_t section_end(std::size_t begin) const;
  std::size_t line_end(std::size_t begin) const;
  std::size_t without_line_end(std::size_t begin, std::size_t end) const;

  std::string_view text_;
  const std::function<void(const MimeEntity&)>& visit_;
  std::vector<std::string> boundaries_;  // of the open multiparts, the outermost first
};

/// Behind the LF.
std::size_t Walker::line_end(std::size_t begin) const {
  const std::size_t newline = text_.find('\n', begin);
  return newline == std::string_view::npos ? text_.size() : newline + 1;
}

std::size_t Walker::without_line_end(std::size_t begin, std::size_t end) const {
  if (end > begin && text_[end - 1] == '\n') --end;
  if (end > begin && text_[end - 1] == '\r') --end;
  return end;
}

bool Walker::read_delimiter(std::size_t begin, Stop& stop) const {
  const std::string_view line = text_.substr(begin);
  if (!line.starts_with("--")) return false;
  for (std::size_t level = 0; level < boundaries_.size(); ++level) {
    std::string_view rest = line.substr(2);
    if (!rest.starts_with(boundaries_[level])) continue;
    rest.remove_prefix(boundaries_[level].size());
    const bool is_last = rest.starts_with("--");
    if (is_last) rest.remove_prefix(2);
    const std::size_t padding = std::min(rest.find_first_not_of(" \t"), rest.size());
    rest.remove_prefix(padding);
    if (!rest.empty() && !rest.starts_with("\r\n") && !rest.starts_with('\n')) continue;
    stop = {.level = level, .is_last = is_last, .begin = begin, .end = line_end(begin)};
    return true;
  }
  return false;
}

/// `from` is where a line begins.
Walker::Stop Walker::next_delimiter(std::size_t from) const {
  Stop stop{.begin = text_.size(), .end = text_.size()};
  if (boundaries_.empty()) return stop;
  for (std::size_t line = from; line < text_.size(); line = line_end(line)) {
    if (read_delimiter(line, stop)) break;
  }
  return stop;
}

/// Behind the empty line, or where a delimiter begins.
std::size_t Walker::section_end(std::size_t begin) const {
  Stop stop;
  for (std::size_t line = begin; line < text_.size(); line = line_end(line)) {
    if (read_delimiter(line, stop)) return line;
    const std::string_view rest = text_.substr(line);
    if (rest.starts_with("\r\n") || rest.starts_with('\n')) return line_end(line);
  }
  return text_.size();
}

/// What the header says of the body; `depth` counts those around it.
MimeEntity::Kind judge(MimeEntity& entity, bool in_digest, std::size_t depth) {
  using Kind = MimeEntity::Kind;
  const HeaderBlock& header = *entity.header;
  if (in_digest) entity.type = {.type = "message", .subtype = "rfc822", .boundary = {}};  // RFC 2046 section 5.1.5
  if (const HeaderField* field = header.first("Content-Type")) {
    entity.type = parse_content_type(field->value).value_or(ContentType());
  }
  if (const HeaderField* field = header.first("Content-Transfer-Encoding")) {
    entity.encoding = parse_transfer_encoding(field->value);
  }
  const bool is_clear = header.count("Content-Type") <= 1 && header.count("Content-Transfer-Encoding") <= 1;
  if (!is_clear || header.truncated() || entity.encoding == TransferEncoding::Unknown) return Kind::Opaque;

  const bool is_multipart = entity.type.type == "multipart";
  if (!is_multipart && entity.type.type != "message") return Kind::Leaf;
  const bool is_encoded =
      entity.encoding == TransferEncoding::QuotedPrintable || entity.encoding == TransferEncoding::Base64;
  if (is_multipart && (entity.type.subtype == "signed" || entity.type.subtype == "encrypted")) return Kind::Sealed;
  // RFC 2045 section 6.4 forbids it, but for a message/* it happens, and then it is a body like others.
  if (is_encoded) return is_multipart ? Kind::Opaque : Kind::Leaf;
  if (depth >= kMaxMimeDepth) return Kind::Opaque;
  if (is_multipart) return entity.type.boundary.empty() ? Kind::Opaque : Kind::Parts;
  const bool is_whole = entity.type.subtype == "rfc822" || entity.type.subtype == "global";  // RFC 6532 section 3.7
  return is_whole ? Kind::Parts : Kind::Opaque;
}

Walker::Stop Walker::entity(std::size_t begin, Place place) {
  const HeaderBlock header = HeaderBlock::parse(text_.substr(begin, section_end(begin) - begin));
  MimeEntity entity;
  entity.header = &header;
  entity.is_message = place.is_message;
  entity.header_begin = begin;
  entity.header_end = begin + header.size();
  entity.body_begin = begin + header.body_offset();
  entity.kind = judge(entity, place.in_digest, place.depth);
  const Stop stop =
      entity.kind == MimeEntity::Kind::Parts ? parts(entity, place.depth) : next_delimiter(entity.body_begin);
  entity.body_end = stop.level == kNoLevel ? stop.begin : without_line_end(entity.body_begin, stop.begin);
  visit_(entity);
  return stop;
}

Walker::Stop Walker::parts(const MimeEntity& container, std::size_t depth) {
  if (container.type.type == "message") return entity(container.body_begin, {.is_message = true, .depth = depth + 1});
  const std::size_t level = boundaries_.size();
  const bool is_digest = container.type.subtype == "digest";
  boundaries_.push_back(container.type.boundary);
  Stop stop = next_delimiter(container.body_begin);  // behind the preamble
  while (stop.level == level && !stop.is_last) {
    stop = entity(stop.end, {.in_digest = is_digest, .depth = depth + 1});
  }
  boundaries_.pop_back();
  return stop.level == level ? next_delimiter(stop.end) : stop;  // behind the epilogue
}

}  // namespace

void walk_mime(std::string_view message, const std::function<void(const MimeEntity&)>& visit) {
  Walker(message, visit).run();
}

}  // namespace danki::mail
