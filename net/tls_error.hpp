#pragma once

#include <string>

namespace danki::net {

/// The oldest of OpenSSL's queued errors in its own words, or the system's; empty if there is none. Empties the queue,
/// which all sessions of the thread share.
std::string take_openssl_error();

}  // namespace danki::net
