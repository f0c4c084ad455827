#pragma once

#include "base/result.hpp"
#include "mail/reply.hpp"
#include "net/stream.hpp"

#include <array>
#include <chrono>
#include <string_view>

#include <boost/asio/awaitable.hpp>

namespace danki::delivery {

/// A stream on which replies come in: what was read and not yet used is kept here. Used by one coroutine.
class SessionChannel {
 public:
  explicit SessionChannel(net::Stream stream) : stream_(std::move(stream)) {}

  net::Stream& stream() { return stream_; }

  /// The next reply, good until the following call. `limit` is for the whole of it, however slowly its octets come.
  /// What is no SMTP is std::errc::bad_message.
  boost::asio::awaitable<Result<const mail::Reply*>> read_reply(std::chrono::milliseconds limit);
  /// As read_reply, from what has been read already; nullptr when that is not enough.
  Result<const mail::Reply*> buffered_reply();
  /// Waits until something has come in. Only when nothing is pending().
  boost::asio::awaitable<Result<void>> fill(std::chrono::milliseconds limit);

  boost::asio::awaitable<Result<void>> write(boost::asio::const_buffer data, std::chrono::milliseconds limit) {
    return stream_.write(data, limit);
  }

  /// Octets came that no command asked for, or that belong to a reply not asked for yet.
  bool pending() const { return begin_ < end_; }
  /// Drops them: after 220 to STARTTLS nothing that came in the clear may count (RFC 3207 section 4.2: start anew).
  void forget();

 private:
  net::Stream stream_;
  mail::ReplyParser parser_;
  std::array<char, 4096> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace danki::delivery
