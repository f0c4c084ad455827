#pragma once

#include <system_error>

namespace danki::net {

enum class Errc {
  BindFailed = 1,  ///< the egress source's address cannot be bound: detail holds the system's words
  TlsFailed,       ///< a handshake or certificate problem: detail holds OpenSSL's words
  DnsTemporary,    ///< SERVFAIL, REFUSED, timeout: try again later
  DnsNxDomain,     ///< the name does not exist
  DnsNoData,       ///< the name exists without such records
  NullMx,          ///< RFC 7505: the domain accepts no mail
};

const std::error_category& category();
inline std::error_code make_error_code(Errc e) {
  return {static_cast<int>(e), category()};
}

}  // namespace danki::net

template <>
struct std::is_error_code_enum<danki::net::Errc> : std::true_type {};
