#include "mta/delivery/session_result.hpp"

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

}  // namespace danki::delivery
