#pragma once

#include "net/dns.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace danki::net::test {

inline std::string u8(unsigned value) {
  return std::string(1, static_cast<char>(value));
}
inline std::string u16(unsigned value) {
  return u8(value >> 8) + u8(value & 0xFF);
}
inline std::string u32(std::uint32_t value) {
  return u16(value >> 16) + u16(value & 0xFFFF);
}

/// "mx.example" as labels with their lengths; no compression.
inline std::string wire_name(std::string_view name) {
  std::string wire;
  while (!name.empty()) {
    const auto dot = name.find('.');
    const auto label = name.substr(0, dot);
    wire += u8(static_cast<unsigned>(label.size())) + std::string(label);
    name = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
  }
  return wire + u8(0);
}

inline std::string character_string(const std::string& text) {
  return u8(static_cast<unsigned>(text.size())) + text;
}

inline std::string record(std::string_view owner, DnsType type, std::uint32_t ttl, const std::string& rdata) {
  return wire_name(owner) + u16(static_cast<unsigned>(type)) + u16(1) + u32(ttl) +
         u16(static_cast<unsigned>(rdata.size())) + rdata;
}

inline std::string soa_rdata(std::string_view mname, std::uint32_t minimum) {
  return wire_name(mname) + wire_name("hostmaster.example") + u32(1) + u32(3600) + u32(600) + u32(86400) + u32(minimum);
}

/// A reply by its parts, as octets; every number can be set wrong.
struct DnsReply {
  unsigned id = 0;
  unsigned flags = 0x8180;  ///< QR, RD, RA
  unsigned rcode = 0;
  std::string question_name;
  DnsType question_type = DnsType::A;
  std::vector<std::string> answers, authorities, additionals;

  std::string octets() const {
    std::string out = u16(id) + u16(flags | rcode) + u16(1) + u16(static_cast<unsigned>(answers.size())) +
                      u16(static_cast<unsigned>(authorities.size())) + u16(static_cast<unsigned>(additionals.size()));
    out += wire_name(question_name) + u16(static_cast<unsigned>(question_type)) + u16(1);
    for (const auto* section : {&answers, &authorities, &additionals}) {
      for (const std::string& one : *section) out += one;
    }
    return out;
  }
};

inline std::span<const unsigned char> as_octets(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

}  // namespace danki::net::test
