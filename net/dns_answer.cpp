#include "net/dns_answer.hpp"

#include <algorithm>
#include <limits>

namespace danki::net {
namespace {

constexpr int kMaxCnames = 16;  // resolvers stop at about as many
constexpr std::uint32_t kNoTtl = std::numeric_limits<std::uint32_t>::max();

DnsAnswer failed(DnsStatus status, std::string error) {
  DnsAnswer answer;
  answer.status = status;
  answer.error = std::move(error);
  return answer;
}

const DnsRecord* find(const std::vector<DnsRecord>& records, DnsType type) {
  const auto found = std::find_if(records.begin(), records.end(), [&](const DnsRecord& r) { return r.type == type; });
  return found == records.end() ? nullptr : &*found;
}

/// Where the CNAMEs of `answers` lead from `name`. `ttl` sinks to the least of theirs. Empty when they lead in a
/// circle.
std::optional<std::string> follow_cnames(const std::vector<DnsRecord>& answers, std::string name, std::uint32_t& ttl) {
  for (int hops = 0; hops <= kMaxCnames; ++hops) {
    const auto alias = std::find_if(answers.begin(), answers.end(),
                                    [&](const DnsRecord& r) { return r.type == DnsType::Cname && r.owner == name; });
    if (alias == answers.end()) return name;
    ttl = std::min(ttl, alias->ttl);
    name = alias->text;
  }
  return std::nullopt;
}

DnsAnswer absence(const DnsMessage& message, DnsStatus status, std::uint32_t cname_ttl) {
  DnsAnswer answer;
  answer.status = status;
  answer.authenticated = message.authenticated;
  answer.error = status == DnsStatus::NxDomain ? "no such name" : "no such records";
  if (const DnsRecord* soa = find(message.authorities, DnsType::Soa)) {
    answer.ttl = std::min(cname_ttl, negative_ttl(*soa));
  }
  return answer;
}

}  // namespace

DnsAnswer interpret_dns_message(const DnsMessage& message, std::string_view name, DnsType type) {
  if (!message.is_response) return failed(DnsStatus::Failed, "not a response");
  switch (message.rcode) {
    case kRcodeNoError:
    case kRcodeNxDomain:
      break;
    case kRcodeServFail:
      return failed(DnsStatus::ServFail, "SERVFAIL");
    case kRcodeRefused:
      return failed(DnsStatus::Refused, "REFUSED");
    default:
      return failed(DnsStatus::Failed, "RCODE " + std::to_string(message.rcode));
  }
  if (message.truncated) return failed(DnsStatus::Failed, "truncated answer");
  std::uint32_t ttl = kNoTtl;
  std::optional<std::string> final_name{std::string(name)};
  if (type != DnsType::Cname) final_name = follow_cnames(message.answers, std::string(name), ttl);
  if (!final_name) return failed(DnsStatus::Failed, "too many CNAMEs");
  // The RCODE is about the last name of the chain (RFC 6604 section 3).
  if (message.rcode == kRcodeNxDomain) return absence(message, DnsStatus::NxDomain, ttl);
  DnsAnswer answer;
  for (const DnsRecord& record : message.answers) {
    if (record.type != type || record.owner != *final_name) continue;
    ttl = std::min(ttl, record.ttl);
    answer.records.push_back(record);
  }
  if (!answer.records.empty()) {
    answer.status = DnsStatus::Ok;
    answer.authenticated = message.authenticated;
    answer.ttl = ttl;
    return answer;
  }
  // Name servers and no SOA: sent elsewhere, by a server that does not recurse for us (RFC 2308 section 2.2).
  const bool is_referral = find(message.authorities, DnsType::Ns) != nullptr &&
                           find(message.authorities, DnsType::Soa) == nullptr && !message.authoritative;
  if (is_referral && message.answers.empty()) return failed(DnsStatus::Failed, "referral instead of an answer");
  return absence(message, DnsStatus::NoData, ttl);
}

DnsAnswer read_dns_answer(std::span<const unsigned char> octets, std::string_view name, DnsType type) {
  const auto message = parse_dns_message(octets);
  if (!message) return failed(DnsStatus::Failed, message.error().detail);
  const bool is_ours = message->question_name == name && message->question_type == type;
  // A server that cannot read the question may leave it out of its error.
  const bool echoed = is_ours || (message->rcode != kRcodeNoError && message->rcode != kRcodeNxDomain);
  if (!echoed) return failed(DnsStatus::Failed, "answer to another question");
  return interpret_dns_message(*message, name, type);
}

}  // namespace danki::net
