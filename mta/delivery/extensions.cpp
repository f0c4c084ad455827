#include "mta/delivery/extensions.hpp"

#include "mail/ascii.hpp"

#include <algorithm>
#include <charconv>

namespace danki::delivery {
namespace {

/// The next word of `line`, which loses it.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

void note(Extensions& extensions, std::string_view line) {
  const std::string_view keyword = take_word(line);
  if (mail::iequals(keyword, "PIPELINING")) extensions.pipelining = true;  // RFC 2920
  if (mail::iequals(keyword, "8BITMIME")) extensions.eightbitmime = true;  // RFC 6152
  if (mail::iequals(keyword, "SMTPUTF8")) extensions.smtputf8 = true;      // RFC 6531
  if (mail::iequals(keyword, "CHUNKING")) extensions.chunking = true;      // RFC 3030
  if (mail::iequals(keyword, "DSN")) extensions.dsn = true;                // RFC 3461
  if (mail::iequals(keyword, "STARTTLS")) extensions.starttls = true;      // RFC 3207
  if (mail::iequals(keyword, "ENHANCEDSTATUSCODES")) extensions.enhanced = true;
  if (!mail::iequals(keyword, "SIZE")) return;
  // RFC 1870 section 3: without a number, or with 0, no limit is stated. A number too long for us limits nothing.
  extensions.size = true;
  const std::string_view limit = take_word(line);
  std::uint64_t octets = 0;
  const auto [end, problem] = std::from_chars(limit.data(), limit.data() + limit.size(), octets);
  if (problem == std::errc{} && end == limit.data() + limit.size()) extensions.max_size = octets;
}

}  // namespace

Extensions parse_extensions(std::string_view ehlo_text) {
  Extensions extensions;
  while (true) {
    const std::size_t newline = ehlo_text.find('\n');
    if (newline == std::string_view::npos) return extensions;
    ehlo_text.remove_prefix(newline + 1);
    note(extensions, ehlo_text.substr(0, ehlo_text.find('\n')));
  }
}

}  // namespace danki::delivery
