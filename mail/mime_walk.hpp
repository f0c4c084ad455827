#pragma once

#include "mail/content_type.hpp"
#include "mail/header_block.hpp"

#include <cstddef>
#include <functional>
#include <string_view>

namespace danki::mail {

inline constexpr std::size_t kMaxMimeDepth = 20;  ///< real mail nests five deep; bounds the boundaries looked for

/// One entity of a message (RFC 2045 section 2.4): the message itself or a part of it, as offsets into its text.
struct MimeEntity {
  enum class Kind {
    Leaf,    ///< a body that has no parts
    Parts,   ///< multipart, or message/rfc822: its parts are told of before it
    Sealed,  ///< multipart/signed or multipart/encrypted (RFC 1847): its octets must stay; not looked into
    Opaque,  ///< has parts, or rules of its own, that cannot be told with certainty; not looked into
  };
  Kind kind = Kind::Leaf;
  bool is_message = false;  ///< the whole, or what a message/rfc822 holds: MIME-Version belongs into its header
  ContentType type;         ///< as it counts: text/plain where the field is missing or not well formed
  TransferEncoding encoding = TransferEncoding::SevenBit;
  const HeaderBlock* header = nullptr;           ///< during the call only
  std::size_t header_begin = 0, header_end = 0;  ///< the fields, without the empty line
  std::size_t body_begin = 0, body_end = 0;      ///< without the line end that belongs to the delimiter behind it
};

/// Tells `visit` of every entity of `message`, a container after its parts. A line is a delimiter when it consists of
/// "--" and the boundary of a multipart that is open, perhaps "--", and spaces (RFC 2046 section 5.1.1); one of an
/// outer multipart ends the inner ones. Takes linear time and the memory of kMaxMimeDepth header sections.
void walk_mime(std::string_view message, const std::function<void(const MimeEntity&)>& visit);

}  // namespace danki::mail
