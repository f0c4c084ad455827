#pragma once

#include <cstdint>
#include <string_view>

namespace danki::delivery {

/// What the host announced after EHLO (after STARTTLS the second time).
struct Extensions {
  bool pipelining = false, eightbitmime = false, smtputf8 = false, chunking = false, dsn = false, starttls = false;
  bool enhanced = false, size = false;
  std::uint64_t max_size = 0;  ///< 0: no limit stated
  bool operator==(const Extensions&) const = default;
};

/// From the text of a positive reply to EHLO, lines joined by '\n' as mail::Reply has it: the first line greets, each
/// further one is a keyword with parameters (RFC 5321 section 4.1.1.1). Keywords in any case; unknown ones are ignored.
Extensions parse_extensions(std::string_view ehlo_text);

}  // namespace danki::delivery
