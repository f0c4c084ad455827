#pragma once

#include "base/time.hpp"
#include "mail/address.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace danki::mail {

enum class MailClass : std::uint8_t { Transactional = 0, Bulk = 1 };
/// "transactional", "bulk"
std::string_view to_string(MailClass c);
std::optional<MailClass> parse_mail_class(std::string_view name);

/// RFC 3461 section 4.1, a set of bits. None given: failure and delay at our choice.
enum NotifyBits : std::uint8_t {
  kNotifyUnset = 0,
  kNotifyNever = 1,
  kNotifySuccess = 2,
  kNotifyFailure = 4,
  kNotifyDelay = 8
};

enum class DsnReturn : std::uint8_t { Unset, Full, Headers };           ///< RET=, RFC 3461 section 4.3
enum class BodyType : std::uint8_t { SevenBit, EightBitMime, Binary };  ///< BODY=, RFC 6152; Binary is never accepted

struct Recipient {
  Address address;
  std::string orcpt;  ///< as given after ORCPT=, xtext; empty if none
  std::uint8_t notify = kNotifyUnset;
  bool operator==(const Recipient&) const = default;
};

/// Envelope of one accepted message, and what the relay knows of it. Written once to the spool, never changed.
struct Envelope {
  Address reverse_path;
  std::vector<Recipient> recipients;  ///< in the order of RCPT; an index into it names a recipient everywhere
  std::string envid;                  ///< ENVID=, xtext
  DsnReturn ret = DsnReturn::Unset;
  BodyType body = BodyType::SevenBit;
  bool smtputf8 = false;

  std::string tenant;
  MailClass klass = MailClass::Transactional;
  std::string pool;
  std::string campaign;
  std::string from_domain;  ///< domain of From:, decides the DKIM key; empty for our own DSNs without one
  std::string session;      ///< id of the submission session, for events
  std::uint64_t size = 0;   ///< octets of the content as stored
  TimePoint arrived_at{};
  TimePoint not_before{};  ///< zero: at once
  TimePoint expires_at{};

  bool operator==(const Envelope&) const = default;
};

}  // namespace danki::mail
