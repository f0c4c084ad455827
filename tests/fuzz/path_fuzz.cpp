// Input: what follows "MAIL FROM:" or "RCPT TO:".

#include "base/utf8.hpp"
#include "mail/path.hpp"
#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <cstdint>
#include <set>

using namespace danki;
using namespace danki::mail;
using danki::fuzz::require;

namespace {

void check_parameters(std::string_view text) {
  const auto parameters = parse_parameters(text);
  if (!parameters) return;
  require(parameters->size() <= kMaxParameters);
  std::set<std::string> keywords;
  std::string again;
  for (const Parameter& parameter : *parameters) {
    require(!parameter.keyword.empty() && keywords.insert(parameter.keyword).second);
    again += ' ' + parameter.keyword;
    if (!parameter.value.empty()) again += '=' + parameter.value;
    if (const auto decoded = decode_xtext(parameter.value)) require(decode_xtext(encode_xtext(*decoded)) == *decoded);
  }
  require(parse_parameters(again) == *parameters);
}

void check_path(std::string_view text, PathRules rules) {
  const auto path = parse_path(text, rules);
  if (!path) {
    require(!path.error().detail.empty());
    return;
  }
  require(!path->address.is_null() || rules.allow_null);
  require(!path->address.domain.empty() || path->address.is_null() || rules.allow_postmaster);
  require(path->rest.empty() ||
          (path->rest.data() > text.data() && path->rest.data() + path->rest.size() <= text.data() + text.size()));
  const std::string again = '<' + path->address.to_string() + "> " + std::string(path->rest);
  const auto path_again = parse_path(again, rules);
  require(path_again && path_again->address == path->address && path_again->rest == path->rest);
  check_parameters(path->rest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_path(text, {.allow_null = true, .allow_postmaster = false});
  check_path(text, {.allow_null = false, .allow_postmaster = true});
  check_parameters(text);
  require(decode_xtext(encode_xtext(text)) == std::string(text));
  const std::string ascii = ascii_orcpt(text);
  require(is_ascii(ascii) && ascii_orcpt(ascii) == ascii && (!is_ascii(text) || ascii == text));
  return 0;
}
