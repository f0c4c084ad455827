#include "net/dns_message.hpp"

#include <algorithm>
#include <array>

namespace danki::net {
namespace {

constexpr std::size_t kHeaderOctets = 12;
constexpr std::size_t kMaxNameOctets = 255;  // RFC 1035 section 2.3.4
constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kTypeOpt = 41;          // RFC 6891
constexpr std::uint32_t kTtlSign = 0x80000000;  // RFC 2181 section 8: a TTL with it counts as zero
constexpr std::size_t kSoaNumbersOctets = 20;   // SERIAL to MINIMUM

/// Reads forward through a message; every call says whether there was enough.
class Reader {
 public:
  explicit Reader(std::span<const unsigned char> octets) : octets_(octets) {}

  std::size_t at() const { return at_; }
  void seek(std::size_t at) { at_ = at; }
  std::size_t left() const { return octets_.size() - at_; }

  bool skip(std::size_t count) {
    if (left() < count) return false;
    at_ += count;
    return true;
  }

  bool octet(unsigned& value) {
    if (left() < 1) return false;
    value = octets_[at_++];
    return true;
  }

  bool u16(std::uint16_t& value) {
    if (left() < 2) return false;
    value = static_cast<std::uint16_t>(octets_[at_] << 8 | octets_[at_ + 1]);
    at_ += 2;
    return true;
  }

  bool u32(std::uint32_t& value) {
    std::uint16_t high = 0, low = 0;
    if (left() < 4 || !u16(high) || !u16(low)) return false;
    value = std::uint32_t{high} << 16 | low;
    return true;
  }

  bool text(std::size_t count, std::string& into) {
    if (left() < count) return false;
    into.append(reinterpret_cast<const char*>(octets_.data()) + at_, count);
    at_ += count;
    return true;
  }

  /// RFC 1035 section 4.1.4. A pointer must lead to before the part it was read in: each jump then goes further back,
  /// and the walk ends.
  bool name(std::string& into) {
    into.clear();
    std::size_t position = at_;
    std::size_t part_begin = at_;
    std::size_t wire_octets = 1;  // the root's
    bool jumped = false;
    while (true) {
      if (position >= octets_.size()) return false;
      const unsigned length = octets_[position];
      if ((length & 0xC0) == 0xC0) {
        if (position + 1 >= octets_.size()) return false;
        const std::size_t target = (length & 0x3Fu) << 8 | octets_[position + 1];
        if (target < kHeaderOctets || target >= part_begin) return false;
        if (!jumped) at_ = position + 2;
        jumped = true;
        part_begin = position = target;
        continue;
      }
      if (length > 63) return false;  // 0x40 and 0x80 are not in use
      if (length == 0) {
        if (!jumped) at_ = position + 1;
        return true;
      }
      wire_octets += length + 1;
      if (wire_octets > kMaxNameOctets || position + 1 + length > octets_.size()) return false;
      if (!into.empty()) into.push_back('.');
      for (std::size_t i = 0; i < length; ++i) append_escaped(octets_[position + 1 + i], into);
      position += 1 + length;
    }
  }

 private:
  static void append_escaped(unsigned char c, std::string& into) {
    if (c == '.' || c == '\\') {
      into.push_back('\\');
      into.push_back(static_cast<char>(c));
    } else if (c <= ' ' || c > '~') {
      into.push_back('\\');
      into.push_back(static_cast<char>('0' + c / 100));
      into.push_back(static_cast<char>('0' + c / 10 % 10));
      into.push_back(static_cast<char>('0' + c % 10));
    } else {
      into.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c));
    }
  }

  std::span<const unsigned char> octets_;
  std::size_t at_ = 0;
};

Error malformed(const char* what) {
  return {std::errc::bad_message, std::string("malformed DNS message: ") + what};
}

bool read_address(Reader& reader, DnsRecord& record, std::size_t end) {
  namespace ip = boost::asio::ip;
  if (record.type == DnsType::A) {
    std::uint32_t number = 0;
    if (end - reader.at() != 4 || !reader.u32(number)) return false;
    record.address = ip::address_v4(number);
    return true;
  }
  ip::address_v6::bytes_type bytes{};
  if (end - reader.at() != bytes.size()) return false;
  std::transform(record.raw.begin(), record.raw.end(), bytes.begin(),
                 [](char c) { return static_cast<unsigned char>(c); });
  record.address = ip::address_v6(bytes);
  return reader.skip(bytes.size());
}

/// RFC 1035 section 3.3.14: one string at least; several are joined without anything between (RFC 7208 section 3.3).
bool read_strings(Reader& reader, DnsRecord& record, std::size_t end) {
  if (reader.at() == end) return false;
  while (reader.at() < end) {
    unsigned length = 0;
    if (!reader.octet(length) || length > end - reader.at() || !reader.text(length, record.text)) return false;
  }
  return true;
}

bool read_soa(Reader& reader, DnsRecord& record) {
  std::string rname;
  return reader.name(record.text) && reader.name(rname) && reader.skip(kSoaNumbersOctets);
}

/// RDATA ends exactly at `end`, and what it says is kept in `record`.
bool read_rdata(Reader& reader, DnsRecord& record, std::size_t end) {
  bool ok = true;
  switch (record.type) {
    case DnsType::A:
    case DnsType::Aaaa:
      ok = read_address(reader, record, end);
      break;
    case DnsType::Ns:
    case DnsType::Cname:
    case DnsType::Ptr:
      ok = reader.name(record.text);
      break;
    case DnsType::Mx:
      ok = end - reader.at() >= 3 && reader.u16(record.preference) && reader.name(record.text);
      break;
    case DnsType::Txt:
      ok = read_strings(reader, record, end);
      break;
    case DnsType::Soa:
      ok = read_soa(reader, record);
      break;
    case DnsType::Tlsa:
      ok = end - reader.at() >= 4 && reader.skip(end - reader.at());
      break;  // RFC 6698 section 2.1
    default:
      ok = reader.skip(end - reader.at());
      break;
  }
  return ok && reader.at() == end;
}

struct RecordHead {
  std::uint16_t type = 0, record_class = 0, length = 0;
  std::uint32_t ttl = 0;
};

bool read_head(Reader& reader, DnsRecord& record, RecordHead& head) {
  return reader.name(record.owner) && reader.u16(head.type) && reader.u16(head.record_class) && reader.u32(head.ttl) &&
         reader.u16(head.length) && head.length <= reader.left();
}

/// `kept` null: the records are only checked, and the EDNS(0) record among them gives the upper bits of the RCODE.
bool read_section(Reader& reader, std::uint16_t count, std::vector<DnsRecord>* kept, int& rcode) {
  for (std::uint16_t i = 0; i < count; ++i) {
    DnsRecord record{};
    RecordHead head;
    if (!read_head(reader, record, head)) return false;
    const std::size_t end = reader.at() + head.length;
    if (kept == nullptr && head.type == kTypeOpt) rcode |= static_cast<int>(head.ttl >> 24) << 4;
    if (kept == nullptr || head.record_class != kClassIn) {
      reader.seek(end);
      continue;
    }
    record.type = static_cast<DnsType>(head.type);
    record.ttl = (head.ttl & kTtlSign) != 0 ? 0 : head.ttl;
    const std::size_t begin = reader.at();
    reader.text(head.length, record.raw);
    reader.seek(begin);
    if (!read_rdata(reader, record, end)) return false;
    kept->push_back(std::move(record));
  }
  return true;
}

}  // namespace

Result<DnsMessage> parse_dns_message(std::span<const unsigned char> octets) {
  Reader reader(octets);
  DnsMessage message;
  std::uint16_t flags = 0;
  std::array<std::uint16_t, 4> counts{};
  bool ok = reader.u16(message.id) && reader.u16(flags);
  for (std::uint16_t& count : counts) ok = ok && reader.u16(count);
  if (!ok) return std::unexpected(malformed("header"));
  message.is_response = (flags & 0x8000) != 0;
  message.authoritative = (flags & 0x0400) != 0;
  message.truncated = (flags & 0x0200) != 0;
  message.authenticated = (flags & 0x0020) != 0;
  message.rcode = flags & 0x000F;
  if (counts[0] > 1) return std::unexpected(malformed("more than one question"));
  if (counts[0] == 1) {
    std::uint16_t type = 0, question_class = 0;
    if (!reader.name(message.question_name) || !reader.u16(type) || !reader.u16(question_class)) {
      return std::unexpected(malformed("question"));
    }
    message.question_type = static_cast<DnsType>(type);
  }
  if (!read_section(reader, counts[1], &message.answers, message.rcode)) return std::unexpected(malformed("answer"));
  if (!read_section(reader, counts[2], &message.authorities, message.rcode)) {
    return std::unexpected(malformed("authority"));
  }
  if (!read_section(reader, counts[3], nullptr, message.rcode)) return std::unexpected(malformed("additional"));
  return message;
}

std::uint32_t negative_ttl(const DnsRecord& soa) {
  std::uint32_t minimum = 0;
  for (const char c : std::string_view(soa.raw).substr(soa.raw.size() - 4)) {
    minimum = minimum << 8 | static_cast<unsigned char>(c);
  }
  if ((minimum & kTtlSign) != 0) minimum = 0;
  return std::min(soa.ttl, minimum);
}

}  // namespace danki::net
