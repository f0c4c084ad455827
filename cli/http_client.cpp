#include "cli/http_client.hpp"

#include <optional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace danki::cli {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr std::uint64_t kMaxReplyBytes = 1ull << 30;  // the content of the largest message, with room

using Stream = beast::basic_stream<asio::local::stream_protocol>;
using Request = http::request<http::string_body>;

std::unexpected<Error> failed(const beast::error_code& code, std::string what) {
  return std::unexpected(Error{std::error_code(code), std::move(what)});
}

asio::awaitable<Result<HttpReply>> exchange(std::string socket, Request request, std::chrono::seconds limit) {
  Stream stream(co_await asio::this_coro::executor);
  stream.expires_after(limit);
  auto [unconnected] = co_await stream.async_connect(asio::local::stream_protocol::endpoint(socket), kNoThrow);
  if (unconnected) co_return failed(unconnected, socket);
  auto [unsent, sent] = co_await http::async_write(stream, request, kNoThrow);
  if (unsent) co_return failed(unsent, "sending the request");
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxReplyBytes);
  beast::flat_buffer buffer;
  auto [unread, got] = co_await http::async_read(stream, buffer, parser, kNoThrow);
  if (unread) co_return failed(unread, "reading the answer");
  HttpReply reply{.status = static_cast<int>(parser.get().result_int()), .body = std::move(parser.get().body())};
  co_return reply;
}

}  // namespace

HttpClient::HttpClient(std::string socket, std::chrono::seconds limit) : socket_(std::move(socket)), limit_(limit) {}

Result<HttpReply> HttpClient::get(const std::string& target) {
  return ask(false, target, {});
}

Result<HttpReply> HttpClient::post(const std::string& target, const std::string& json) {
  return ask(true, target, json);
}

Result<HttpReply> HttpClient::ask(bool is_post, const std::string& target, const std::string& body) {
  // Asio throws on a path that does not fit; a person typed it.
  if (socket_.size() > 107) return std::unexpected(Error{std::errc::filename_too_long, socket_});
  Request request(is_post ? http::verb::post : http::verb::get, target, 11, body);
  request.set(http::field::host, "localhost");
  request.set(http::field::user_agent, "danki");
  if (is_post) request.set(http::field::content_type, "application/json");
  request.keep_alive(false);
  request.prepare_payload();
  asio::io_context context(1);
  auto reply = asio::co_spawn(context, exchange(socket_, std::move(request), limit_), asio::use_future);
  context.run();
  return reply.get();
}

}  // namespace danki::cli
