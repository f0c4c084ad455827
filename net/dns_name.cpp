#include "net/dns_name.hpp"

namespace danki::net {
namespace {

constexpr std::size_t kMaxLabelOctets = 63;  // RFC 1035 section 2.3.4
constexpr std::size_t kMaxTextOctets = 253;  // 255 on the wire, less the first length octet and the root's

Error bad_name(std::string_view name, const char* why) {
  return {std::errc::invalid_argument, "DNS name \"" + std::string(name.substr(0, kMaxTextOctets)) + "\" " + why};
}

}  // namespace

Result<std::string> normalise_dns_name(std::string_view name) {
  std::string_view rest = name;
  if (rest == ".") return std::string();
  if (rest.ends_with('.')) rest.remove_suffix(1);
  if (rest.empty()) return std::unexpected(bad_name(name, "is empty"));
  if (rest.size() > kMaxTextOctets) return std::unexpected(bad_name(name, "is longer than 253 octets"));
  std::string normal;
  normal.reserve(rest.size());
  std::size_t label = 0;
  for (const char c : rest) {
    if (c == '.') {
      if (label == 0) return std::unexpected(bad_name(name, "has an empty label"));
      label = 0;
    } else if (c <= ' ' || c > '~' || c == '\\') {
      return std::unexpected(bad_name(name, "has an octet that no name we ask has"));
    } else if (++label > kMaxLabelOctets) {
      return std::unexpected(bad_name(name, "has a label longer than 63 octets"));
    }
    normal.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  }
  if (label == 0) return std::unexpected(bad_name(name, "has an empty label"));
  return normal;
}

}  // namespace danki::net
