#pragma once

#include "admin/ports.hpp"
#include "base/result.hpp"

#include <map>
#include <string>
#include <string_view>

namespace danki::admin {

/// From query parameters: id, site, domain, tenant, campaign, class, older_than_seconds. Takes what it knows out of
/// `query`, so that what is left is unknown. Empty values mean all. The error's detail is for the caller.
Result<Selector> take_selector(std::map<std::string, std::string>& query);

/// From a JSON object with the same names; all entries only by "all": true, and then nothing else. Unknown names are
/// errors.
Result<Selector> parse_selector(std::string_view json);

}  // namespace danki::admin
