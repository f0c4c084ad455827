// DNS answers: whatever a server sends, names stay within their bounds, nothing is read that was not sent, an answer
// has records of what was asked, and an absence has none.
#include "net/dns_answer.hpp"
#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

namespace {

using danki::fuzz::require;
using namespace danki::net;

constexpr std::size_t kLeastRecordOctets = 11;
constexpr std::size_t kMaxNameText = 4 * 255;  // every octet as \DDD

bool is_lower(const std::string& name) {
  return std::none_of(name.begin(), name.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c <= ' ' || c > '~'; });
}

void check_record(const DnsRecord& record, std::size_t size) {
  require(record.owner.size() <= kMaxNameText && is_lower(record.owner));
  require(record.raw.size() <= size);
  require(record.ttl < 0x80000000);
  switch (record.type) {
    case DnsType::A:
      require(record.address.is_v4() && record.raw.size() == 4);
      break;
    case DnsType::Aaaa:
      require(record.address.is_v6() && record.raw.size() == 16);
      break;
    case DnsType::Txt:
      require(record.text.size() < record.raw.size());
      break;
    case DnsType::Soa:
      require(negative_ttl(record) <= record.ttl && is_lower(record.text));
      break;
    case DnsType::Mx:
    case DnsType::Ns:
    case DnsType::Cname:
    case DnsType::Ptr:
      require(record.text.size() <= kMaxNameText && is_lower(record.text));
      break;
    default:
      require(record.text.empty());
      break;
  }
}

void check_answer(const DnsAnswer& answer, DnsType type) {
  require(answer.ok() == !answer.records.empty());
  require(answer.ok() || !answer.error.empty());
  require(answer.ok() || answer.negative() || answer.ttl == 0);
  for (const DnsRecord& record : answer.records) require(record.type == type && answer.ttl <= record.ttl);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const unsigned char> octets(data, size);
  const auto message = parse_dns_message(octets);
  if (!message) {
    require(read_dns_answer(octets, "example.test", DnsType::Mx).status == DnsStatus::Failed);
    return 0;
  }
  require((message->answers.size() + message->authorities.size()) * kLeastRecordOctets <= size);
  require(message->question_name.size() <= kMaxNameText && is_lower(message->question_name));
  for (const DnsRecord& record : message->answers) check_record(record, size);
  for (const DnsRecord& record : message->authorities) check_record(record, size);
  for (const DnsType type : {DnsType::A, DnsType::Aaaa, DnsType::Mx, DnsType::Txt, DnsType::Cname, DnsType::Soa}) {
    check_answer(interpret_dns_message(*message, message->question_name, type), type);
  }
  const DnsAnswer asked = read_dns_answer(octets, message->question_name, message->question_type);
  check_answer(asked, message->question_type);
  return 0;
}
