// Input: what a server sends. However it is cut into pieces, the same replies come out.

#include "mail/ascii.hpp"
#include "mail/reply.hpp"
#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

using namespace danki::mail;
using danki::fuzz::require;
using Status = ReplyParser::Status;

namespace {

struct Reading {
  std::vector<Reply> replies;
  Status last = Status::NeedMore;
  bool operator==(const Reading&) const = default;
};

void check_reply(const Reply& reply) {
  require(reply.code >= 200 && reply.code <= 599);
  require(!reply.enhanced || reply.enhanced->klass == reply.code / 100);
  require(reply.text.size() <= kMaxReplyTextBytes);
  require(std::none_of(reply.text.begin(), reply.text.end(), [](char c) { return c != '\n' && is_control(c); }));
  require(reply.to_string().find('\n') == std::string::npos);
}

Reading read_in_pieces(std::string_view bytes, std::size_t piece) {
  ReplyParser parser;
  Reading reading;
  while (!bytes.empty()) {
    const std::string_view fed = bytes.substr(0, piece);
    const ReplyParser::Step step = parser.feed(fed);
    require(step.consumed <= fed.size());
    require(step.status != Status::NeedMore || step.consumed == fed.size());
    require(step.status != Status::Complete || step.consumed > 0);
    bytes.remove_prefix(step.consumed);
    reading.last = step.status;
    if (step.status == Status::Malformed) {
      require(!parser.problem().empty());
      break;
    }
    if (step.status == Status::Complete) {
      check_reply(parser.reply());
      reading.replies.push_back(parser.reply());
    }
  }
  return reading;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Reading whole = read_in_pieces(bytes, std::max<std::size_t>(size, 1));
  require(read_in_pieces(bytes, 1) == whole);
  require(read_in_pieces(bytes, 13) == whole);
  EnhancedStatus::parse(bytes);
  return 0;
}
