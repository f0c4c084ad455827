#pragma once

#include "mta/delivery/options.hpp"

#include <cstdint>
#include <string>

namespace danki::delivery {

/// The limits of one path, after every [[shaping]] table that fits it.
struct PathLimits {
  std::uint32_t connections = 10;                  ///< at once
  std::uint32_t messages_per_connection = 100;     ///< then QUIT; 0: no limit
  std::uint32_t recipients_per_transaction = 100;  ///< RFC 5321 section 4.5.3.1.8: a host takes at least 100
  TlsPolicy tls = TlsPolicy::Opportunistic;
  AddressFamily address_family = AddressFamily::Any;
  bool operator==(const PathLimits&) const = default;
};

/// Narrower tables win (source with domain or site, domain or site, source with provider, provider, source, default),
/// then the later one; "none" lifts a limit. `domain` is the recipient domain, `provider` empty if none is known.
PathLimits path_limits(const Options& options, const std::string& source, const std::string& site,
                       const std::string& provider, const std::string& domain);

/// Which [[shaping]] tables with a domain fit this one: domains of one kind have the same limits at the same site.
std::string domain_kind(const Options& options, const std::string& domain);

/// What both allow; TLS required by one is required.
PathLimits strictest(const PathLimits& a, const PathLimits& b);

}  // namespace danki::delivery
