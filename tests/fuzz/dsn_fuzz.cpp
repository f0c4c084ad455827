// Input: a server's reply, a NUL, then the message that it refused.

#include "base/utf8.hpp"
#include "mail/dsn.hpp"
#include "mail/header_block.hpp"
#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <cstdint>

using namespace danki;
using namespace danki::mail;
using danki::fuzz::require;

namespace {

/// CRLF line ends only, no line over 998 octets.
bool has_proper_lines(std::string_view message) {
  while (!message.empty()) {
    const std::size_t end = message.find_first_of("\r\n");
    if (end > 998 || !message.substr(end).starts_with("\r\n")) return false;
    message.remove_prefix(end + 2);
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t nul = std::min(input.find('\0'), input.size());
  const std::string_view original = input.substr(std::min(nul + 1, input.size()));

  Envelope envelope;
  envelope.reverse_path = {"sender", "example.com"};
  envelope.ret = size % 2 == 0 ? DsnReturn::Full : DsnReturn::Headers;
  envelope.smtputf8 = size % 3 == 0;
  DsnRecipient recipient;
  recipient.recipient.address = {"recipient", "example.net"};
  recipient.recipient.orcpt = original.substr(0, 100);
  recipient.reason = original.substr(0, 2'000);
  recipient.remote_mta = input.substr(0, std::min<std::size_t>(nul, 40));
  ReplyParser parser;
  if (parser.feed(input.substr(0, nul)).status == ReplyParser::Status::Complete) recipient.reply = parser.reply();
  DsnRequest request{.reporting_mta = "relay.example.com",
                     .id = "id",
                     .envelope = &envelope,
                     .recipients = {recipient},
                     .original = original,
                     .now = {},
                     .boundary = "b7f3"};

  const std::string report = build_dsn(request);
  require(has_proper_lines(report));
  require(report.size() < 4 * original.size() + 128 * 1024);
  const HeaderBlock header = HeaderBlock::parse(report);
  for (const std::string_view name : {"From", "To", "Subject", "Date", "Content-Type", "Auto-Submitted"}) {
    require(header.count(name) == 1);
  }
  require(is_ascii(report.substr(0, header.size())));

  // The machine-readable part is header fields only, and each says its thing once.
  const std::size_t status_part = report.find("\r\nFinal-Recipient:");
  require(status_part != std::string::npos);
  const std::size_t status_end = report.find("\r\n\r\n", status_part);
  require(status_end != std::string::npos);
  const std::string status = report.substr(status_part + 2, status_end - status_part);
  const HeaderBlock fields = HeaderBlock::parse(status);
  require(fields.size() == status.size());
  require(fields.count("Action") == 1 && fields.count("Status") == 1 && fields.count("Final-Recipient") == 1);
  return 0;
}
