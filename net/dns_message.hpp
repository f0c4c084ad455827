#pragma once

#include "base/result.hpp"
#include "net/dns.hpp"

#include <optional>
#include <span>
#include <string>
#include <vector>

/// DNS messages as received (RFC 1035 section 4), from bytes. c-ares' own parse calls know no TTL for TXT, MX and PTR
/// and no SOA of a negative answer, so all reading is done here. Every octet may come from an enemy.
namespace danki::net {

/// RCODEs by their number (RFC 1035 section 4.1.1, RFC 6895 section 2.3).
constexpr int kRcodeNoError = 0, kRcodeServFail = 2, kRcodeNxDomain = 3, kRcodeRefused = 5;

struct DnsMessage {
  std::uint16_t id = 0;
  bool is_response = false;
  bool authoritative = false;  ///< AA
  bool truncated = false;      ///< TC
  bool authenticated = false;  ///< AD
  int rcode = 0;               ///< with the upper bits of EDNS(0), RFC 6891 section 6.1.3
  std::string question_name;   ///< lower case, no trailing dot
  DnsType question_type{};
  std::vector<DnsRecord> answers;      ///< class IN only
  std::vector<DnsRecord> authorities;  ///< class IN only
};

/// Refuses whatever is not well formed to the last record: lengths beyond the message, names longer than 255 octets,
/// compression pointers that do not point backwards (so none can loop), RDATA that its type does not allow.
/// Names are given in lower case with the escapes of RFC 1035 section 5.1 ("\." and "\032").
Result<DnsMessage> parse_dns_message(std::span<const unsigned char> octets);

/// The least TTL with which an absence may be remembered: the SOA's own and its MINIMUM, RFC 2308 section 5. `soa` is a
/// record of that type out of parse_dns_message.
std::uint32_t negative_ttl(const DnsRecord& soa);

}  // namespace danki::net
