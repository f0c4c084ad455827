// Input: an address, or a domain.

#include "base/utf8.hpp"
#include "mail/address.hpp"
#include "mail/ascii.hpp"
#include "mail/path.hpp"
#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <cstdint>

using namespace danki;
using namespace danki::mail;
using danki::fuzz::require;

namespace {

void check_address(std::string_view text) {
  const auto address = parse_address(text);
  if (!address) {
    require(!address.error().detail.empty());
    return;
  }
  require(!address->is_null() && !address->domain.empty());
  require(address->local.size() <= kMaxLocalBytes && address->domain.size() <= kMaxDomainBytes);
  const std::string again = address->to_string();
  require(again.size() <= kMaxAddressBytes && is_utf8(again));
  require(std::none_of(again.begin(), again.end(), [](char c) { return is_control(c); }));
  require(parse_address(again) == *address);
  const std::string in_brackets = '<' + again + '>';
  const auto path = parse_path(in_brackets);
  require(path && path->address == *address && path->rest.empty());
}

void check_domain(std::string_view text) {
  const auto domain = normalise_domain(text);
  if (!domain) {
    require(!domain.error().detail.empty());
    return;
  }
  require(!domain->empty() && domain->size() <= kMaxDomainBytes && is_ascii(*domain));
  require(normalise_domain(*domain) == *domain);
  require(domain_matches(*domain, *domain) && domain_matches(*domain, "*"));
  require(domain_matches("sub." + *domain, "." + *domain) && domain_matches("sub." + *domain, "*." + *domain));
  require(!domain_matches("sub" + *domain, "." + *domain));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_address(text);
  check_domain(text);
  const std::size_t at = text.rfind('@');
  if (at != std::string_view::npos) {
    check_domain(text.substr(at + 1));
    domain_matches(text.substr(0, at), text.substr(at + 1));
  }
  return 0;
}
