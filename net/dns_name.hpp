#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

namespace danki::net {

/// A name as we ask and compare it: lower case, no trailing dot; the root is empty. Fails for what cannot be asked: an
/// empty label, one above 63 octets, more than 255 octets in all (RFC 1035 section 2.3.4), octets beyond printable
/// ASCII or a backslash. Underscores are fine, and international names come as A-labels.
Result<std::string> normalise_dns_name(std::string_view name);

}  // namespace danki::net
