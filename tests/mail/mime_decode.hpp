#pragma once

#include "mail/mime_walk.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// A reader's view of a message, to compare two that should mean the same. Written apart from what it judges.
namespace danki::mail::test {

inline std::string decode_base64(std::string_view text) {
  std::string octets;
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    std::uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<std::uint32_t>(c - 'a' + 26);
    } else if (c >= '0' && c <= '9') {
      value = static_cast<std::uint32_t>(c - '0' + 52);
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else {
      continue;
    }
    bits = (bits << 6 | value) & 0xFFFFFFu;
    if ((have += 6) >= 8) octets += static_cast<char>(bits >> (have -= 8) & 0xFFu);
  }
  return octets;
}

inline int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

inline std::string decode_quoted_printable(std::string_view text) {
  std::string octets;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find("\r\n"), text.size());
    std::string_view line = text.substr(0, end);
    const bool has_end = end != text.size();
    text.remove_prefix(has_end ? end + 2 : end);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    const bool is_soft = line.ends_with('=');
    if (is_soft) line.remove_suffix(1);
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '=' && i + 2 < line.size() && hex_value(line[i + 1]) >= 0 && hex_value(line[i + 2]) >= 0) {
        octets += static_cast<char>(hex_value(line[i + 1]) << 4 | hex_value(line[i + 2]));
        i += 2;
      } else {
        octets += line[i];
      }
    }
    if (!is_soft && has_end) octets += "\r\n";
  }
  return octets;
}

struct SeenEntity {
  MimeEntity::Kind kind;
  std::string type;
  std::vector<std::string> fields;  ///< unfolded, without those an encoding brings
  std::string body;                 ///< decoded; empty for one that has parts
  bool operator==(const SeenEntity&) const = default;
};

inline std::vector<SeenEntity> read_message(std::string_view message) {
  std::vector<SeenEntity> seen;
  walk_mime(message, [&](const MimeEntity& entity) {
    SeenEntity& one = seen.emplace_back();
    one.kind = entity.kind;
    one.type = entity.type.type + "/" + entity.type.subtype;
    for (const HeaderField& field : entity.header->fields()) {
      const std::string name = to_lower(field.name);
      if (name == "mime-version" || name == "content-transfer-encoding") continue;
      one.fields.push_back(name + ":" + unfold(field.value));
    }
    if (entity.kind == MimeEntity::Kind::Parts) return;
    const std::string_view body = message.substr(entity.body_begin, entity.body_end - entity.body_begin);
    if (entity.kind == MimeEntity::Kind::Leaf && entity.encoding == TransferEncoding::Base64) {
      one.body = decode_base64(body);
    } else if (entity.kind == MimeEntity::Kind::Leaf && entity.encoding == TransferEncoding::QuotedPrintable) {
      one.body = decode_quoted_printable(body);
    } else {
      one.body = body;
    }
  });
  return seen;
}

inline std::size_t longest_line(std::string_view message) {
  std::size_t longest = 0;
  while (!message.empty()) {
    const std::size_t end = std::min(message.find("\r\n"), message.size());
    longest = std::max(longest, end);
    message.remove_prefix(std::min(end + 2, message.size()));
  }
  return longest;
}

}  // namespace danki::mail::test
