// Input: what a client sends in a session, from the banner on. The first octet says how it is cut into reads.

#include "mail/ascii.hpp"
#include "mta/submission/answer.hpp"
#include "mta/submission/conversation.hpp"
#include "tests/fuzz/require.hpp"
#include "tests/submission/talk.hpp"

#include <algorithm>
#include <cstdint>

using namespace danki;
using namespace danki::submission;
using danki::fuzz::require;

namespace {

/// Lines of replies, with "|" for CRLF: a code, then a space or hyphen, then printable text.
void check_replies(std::string_view said) {
  while (!said.empty()) {
    const std::size_t end = said.find('|');
    require(end != std::string_view::npos);
    const std::string_view line = said.substr(0, end);
    said.remove_prefix(end + 1);
    require(line.size() >= 4 && line.size() <= kMaxAnswerTextBytes + 20);
    require(line[0] >= '2' && line[0] <= '5' && mail::is_digit(line[1]) && mail::is_digit(line[2]));
    require(line[3] == ' ' || line[3] == '-');
    require(std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c < 0x7F; }));
  }
}

struct Outcome {
  std::string said;
  std::vector<std::string> contents;
  bool closed = false;
  bool operator==(const Outcome&) const = default;
};

Outcome run(std::string_view octets, std::size_t piece) {
  test::FakeSurroundings surroundings;
  surroundings.domains["gone.example"] = DomainVerdict::NotFound;
  surroundings.change_options([](Options& options) {
    options.limits.message_bytes = 4000;
    options.limits.header_bytes = 1000;
  });
  ListenerOptions listener;
  listener.auth_without_tls = true;
  listener.tenant_for_trusted = "signup";
  Outcome outcome;
  {
    test::Talk talk(surroundings, listener, true);
    for (std::size_t at = 0; at < octets.size() && !talk.closed; at += piece) {
      outcome.said += talk.send(octets.substr(at, piece));
      require(talk.closed || talk.unconsumed() < Conversation::kMaxLineBytes);
    }
    outcome.closed = talk.closed;
    for (const queue::NewMessage& message : talk.messages) {
      require(message.envelope.size == message.content.size() && !message.envelope.recipients.empty());
      require(message.content.starts_with("Received: from ") && message.envelope.from_domain.ends_with("example.com"));
      outcome.contents.push_back(message.content);
    }
  }
  require(surroundings.budget.used() == 0);
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view octets = text.substr(1);
  const Outcome whole = run(octets, std::max<std::size_t>(1, octets.size()));
  check_replies(whole.said);
  // STARTTLS drops what came with it, so there the cut matters by design.
  if (whole.said.find("go ahead") == std::string::npos) require(run(octets, 1 + data[0] % 40) == whole);
  return 0;
}
