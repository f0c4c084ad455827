#pragma once

#include "net/stream.hpp"

#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

namespace danki::net::test {

/// Runs `context` until `task` has ended and gives its value back. Fails the test after 30 seconds instead of hanging.
template <class T>
T run(boost::asio::io_context& context, boost::asio::awaitable<T> task) {
  std::optional<T> value;
  std::exception_ptr failure;
  bool ended = false;
  auto on_end = [&](std::exception_ptr e, T v) {
    failure = e;
    if (!e) value.emplace(std::move(v));
    ended = true;
    context.stop();
  };
  boost::asio::co_spawn(context, std::move(task), on_end);
  context.restart();
  context.run_for(std::chrono::seconds(30));
  if (failure) std::rethrow_exception(failure);
  if (!ended) throw std::runtime_error("the coroutine did not end within 30 s");
  return std::move(*value);
}

inline void run(boost::asio::io_context& context, boost::asio::awaitable<void> task) {
  std::exception_ptr failure;
  bool ended = false;
  auto on_end = [&](std::exception_ptr e) {
    failure = e;
    ended = true;
    context.stop();
  };
  boost::asio::co_spawn(context, std::move(task), on_end);
  context.restart();
  context.run_for(std::chrono::seconds(30));
  if (failure) std::rethrow_exception(failure);
  if (!ended) throw std::runtime_error("the coroutine did not end within 30 s");
}

/// The code of the failure; none after a success.
template <class T>
std::error_code code_of(const Result<T>& result) {
  return result ? std::error_code() : result.error().code;
}
inline std::error_code code_of(const std::optional<Error>& error) {
  return error ? error->code : std::error_code();
}
template <class T>
std::string detail_of(const Result<T>& result) {
  return result ? std::string() : result.error().detail;
}

struct StreamPair {
  Stream client, server;
};

inline boost::asio::ip::tcp::acceptor listen_on_loopback(boost::asio::io_context& context) {
  return {context, {boost::asio::ip::address_v4::loopback(), 0}};
}

inline boost::asio::awaitable<Stream> accept_one(boost::asio::ip::tcp::acceptor& acceptor) {
  co_return Stream(co_await acceptor.async_accept(boost::asio::use_awaitable));
}

/// Both ends of one connection over loopback.
inline boost::asio::awaitable<StreamPair> connected_pair(boost::asio::io_context& context) {
  auto acceptor = listen_on_loopback(context);
  auto client = co_await connect(context.get_executor(), acceptor.local_endpoint(), std::nullopt,
                                 std::chrono::milliseconds(5000));
  if (!client) throw std::runtime_error(client.error().message());
  Stream server = co_await accept_one(acceptor);
  StreamPair pair{std::move(*client), std::move(server)};
  co_return std::move(pair);
}

}  // namespace danki::net::test
