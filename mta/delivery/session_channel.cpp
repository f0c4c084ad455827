#include "mta/delivery/session_channel.hpp"

namespace danki::delivery {
namespace asio = boost::asio;
using std::chrono::milliseconds;
// Waits on sockets are in real time, as net::Stream's own are; nothing is decided by this clock.
using std::chrono::steady_clock;

Result<const mail::Reply*> SessionChannel::buffered_reply() {
  if (!pending()) return nullptr;
  const mail::ReplyParser::Step step = parser_.feed(std::string_view(buffer_.data() + begin_, end_ - begin_));
  begin_ += step.consumed;
  if (step.status == mail::ReplyParser::Status::Complete) return &parser_.reply();
  if (step.status == mail::ReplyParser::Status::NeedMore) return nullptr;
  return std::unexpected(Error(std::errc::bad_message, parser_.problem()));
}

asio::awaitable<Result<void>> SessionChannel::fill(milliseconds limit) {
  begin_ = end_ = 0;
  const Result<std::size_t> octets = co_await stream_.read_some(asio::buffer(buffer_), limit);
  if (!octets) co_return std::unexpected(octets.error());
  end_ = *octets;
  co_return Result<void>();
}

asio::awaitable<Result<const mail::Reply*>> SessionChannel::read_reply(milliseconds limit) {
  const auto deadline = steady_clock::now() + limit;
  while (true) {
    Result<const mail::Reply*> reply = buffered_reply();
    if (!reply || *reply != nullptr) co_return reply;
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (left <= milliseconds(0)) {
      stream_.close();
      co_return std::unexpected(Error(std::errc::timed_out, "time limit"));
    }
    const Result<void> more = co_await fill(left);
    if (!more) co_return std::unexpected(more.error());
  }
}

void SessionChannel::forget() {
  begin_ = end_ = 0;
  parser_ = mail::ReplyParser();
}

}  // namespace danki::delivery
