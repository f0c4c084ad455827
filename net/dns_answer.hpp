#pragma once

#include "net/dns_message.hpp"

#include <string_view>

namespace danki::net {

/// What `message` says about `name` (normalised) and `type`. CNAMEs are followed within the message, at most 16 of
/// them. The TTL is the least of all records used; of an absence the SOA's, zero without one (RFC 2308 section 5).
DnsAnswer interpret_dns_message(const DnsMessage& message, std::string_view name, DnsType type);

/// The two steps at once; octets that are no DNS answer to this question give DnsStatus::Failed.
DnsAnswer read_dns_answer(std::span<const unsigned char> octets, std::string_view name, DnsType type);

}  // namespace danki::net
