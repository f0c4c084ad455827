#pragma once

#include "admin/http_limits.hpp"

#include <memory>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>

namespace danki::admin {

class Api;
class BearerTokens;

/// One HTTP/1.1 connection: reads requests one after the other, asks the Api, answers. Lives on the thread of
/// `context`.
class HttpSession {
 public:
  /// `tokens` null: whoever can connect may ask. `context` is shared with answers that come after the session is gone.
  HttpSession(boost::asio::generic::stream_protocol::socket socket, Api& api, const BearerTokens* tokens,
              std::shared_ptr<boost::asio::io_context> context, HttpLimits limits);
  ~HttpSession();

  /// Until the client leaves, misbehaves or is too slow. `*this` must outlive it.
  boost::asio::awaitable<void> run();
  /// Ends run() soon.
  void close();
  /// It has no whole request yet: the first to go when connections are short.
  bool is_waiting() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace danki::admin
