#pragma once

#include <map>
#include <string>
#include <vector>

namespace danki::dkim::test {

/// Verifies with libopendkim, in this process, with keys from `records` (DNS name to TXT). One verdict for each
/// signature of the message, in their order: "pass", or the library's words.
std::vector<std::string> opendkim_verdicts(const std::string& message,
                                           const std::map<std::string, std::string>& records);

}  // namespace danki::dkim::test
