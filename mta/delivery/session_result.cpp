#include "mta/delivery/session_result.hpp"

#include "mta/delivery/session_options.hpp"

#include <utility>

namespace danki::delivery {

std::string_view to_string(Stage s) {
  switch (s) {
    case Stage::Resolve:
      return "resolve";
    case Stage::Bind:
      return "bind";
    case Stage::Connect:
      return "connect";
    case Stage::Banner:
      return "banner";
    case Stage::Ehlo:
      return "ehlo";
    case Stage::Tls:
      return "tls";
    case Stage::Mail:
      return "mail";
    case Stage::Rcpt:
      return "rcpt";
    case Stage::Data:
      return "data";
    case Stage::FinalDot:
      return "final dot";
  }
  return "unknown";
}

void add_failure(std::optional<SessionFailure>& so_far, SessionFailure next, bool source_is_bound) {
  const bool says_nothing_of_others = next.no_port;
  if (so_far && says_nothing_of_others) return;
  next.no_port = next.no_port && source_is_bound;
  so_far = std::move(next);
}

}  // namespace danki::delivery
