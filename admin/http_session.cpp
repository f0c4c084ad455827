#include "admin/http_session.hpp"

#include "admin/api.hpp"
#include "admin/bearer_tokens.hpp"

#include <optional>
#include <tuple>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

// Beast is compiled here, once for all programs (BOOST_BEAST_SEPARATE_COMPILATION).
#include <boost/beast/src.hpp>

namespace danki::admin {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kMaxLingerBytes = 4 * kMaxBodyBytes;  // read and thrown away after a refusal

using Parser = http::request_parser<http::string_body>;

/// An answer on its way. Shared between the session that waits for it and the callback that brings it.
struct Pending {
  explicit Pending(asio::io_context& context) : arrived(context) {}
  asio::steady_timer arrived;  ///< cancelled when the answer is there
  std::optional<Response> response;
};

/// Of the callback, which may come when the server is gone. What is posted holds no context: its queue would keep it,
/// and itself, for ever.
struct Bringer {
  std::shared_ptr<asio::io_context> context;  // first, so that it outlives the timer
  std::shared_ptr<Pending> pending;
};

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

/// What a request that cannot be read hears; nullopt when nobody is there to hear it.
std::optional<Response> refusal_of(const beast::error_code& failure) {
  if (failure == http::error::header_limit) return error_response(431, "the header is over 16 KiB");
  if (failure == http::error::body_limit) return error_response(413, "the body is over 1 MiB");
  if (failure == http::error::end_of_stream || failure == http::error::partial_message) return std::nullopt;
  if (failure.category() != http::make_error_code(http::error::bad_method).category()) return std::nullopt;
  return error_response(400, "malformed HTTP: " + failure.message());
}

}  // namespace

struct HttpSession::Impl {
  using Stream = beast::basic_stream<asio::generic::stream_protocol, asio::any_io_executor>;

  Impl(asio::generic::stream_protocol::socket socket, Api& api_, const BearerTokens* tokens_,
       std::shared_ptr<asio::io_context> context_, HttpLimits limits_)
      : stream(std::move(socket)), api(api_), tokens(tokens_), context(std::move(context_)), limits(limits_) {}

  asio::awaitable<void> run();
  asio::awaitable<bool> serve_one();
  asio::awaitable<void> refuse(Response refusal);
  asio::awaitable<Response> answer(Request request);
  asio::awaitable<bool> send(Response response, bool keep_alive);
  bool may_ask(const Parser& parser) const;

  Stream stream;
  beast::flat_buffer buffer{kMaxHeaderBytes + kMaxBodyBytes};
  Api& api;
  const BearerTokens* tokens;
  std::shared_ptr<asio::io_context> context;  // shared with late answers
  HttpLimits limits;
  bool is_waiting = true;
};

asio::awaitable<void> HttpSession::Impl::run() {
  bool go_on = true;
  while (go_on) {  // GCC 12 makes a trap of `while (co_await serve_one())`
    go_on = co_await serve_one();
    is_waiting = true;
    if (buffer.size() == 0) buffer.shrink_to_fit();  // nothing of a large request is kept while the connection idles
  }
  stream.close();
}

asio::awaitable<bool> HttpSession::Impl::serve_one() {
  Parser parser;
  parser.header_limit(kMaxHeaderBytes);
  parser.body_limit(kMaxBodyBytes);
  stream.expires_after(limits.request);
  auto [failure, header_bytes] = co_await http::async_read_header(stream, buffer, parser, kNoThrow);
  if (!failure && !may_ask(parser)) {
    co_await refuse(error_response(401, "a bearer token from the daemon's token_file is needed"));
    co_return false;
  }
  if (!failure && beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    const http::response<http::empty_body> go_ahead(http::status::continue_, 11);
    co_await http::async_write(stream, go_ahead, kNoThrow);
  }
  if (!failure) std::tie(failure, header_bytes) = co_await http::async_read(stream, buffer, parser, kNoThrow);
  if (failure) {
    auto refusal = refusal_of(failure);
    if (refusal) co_await refuse(std::move(*refusal));
    co_return false;
  }
  is_waiting = false;
  const bool keep_alive = parser.get().keep_alive();
  Request request{.method = std::string(view(parser.get().method_string())),
                  .target = std::string(view(parser.get().target())),
                  .body = std::move(parser.get().body())};
  Response response = co_await answer(std::move(request));
  co_return co_await send(std::move(response), keep_alive);
}

bool HttpSession::Impl::may_ask(const Parser& parser) const {
  return !tokens || Api::is_public(view(parser.get().target())) ||
         tokens->allow(view(parser.get()[http::field::authorization]));
}

asio::awaitable<Response> HttpSession::Impl::answer(Request request) {
  auto pending = std::make_shared<Pending>(*context);
  pending->arrived.expires_after(limits.request);
  stream.expires_never();
  auto done = [bringer = Bringer{context, pending}](Response response) {
    // Posted even from our own thread: the timer must be waited for before it is cancelled.
    auto deliver = [pending = bringer.pending, response = std::move(response)]() mutable {
      pending->response = std::move(response);
      pending->arrived.cancel();
    };
    asio::post(bringer.context->get_executor(), std::move(deliver));
  };
  api.handle(std::move(request), std::move(done));
  co_await pending->arrived.async_wait(kNoThrow);
  if (!pending->response) co_return error_response(503, "the daemon did not answer in time, try again");
  co_return std::move(*pending->response);
}

asio::awaitable<bool> HttpSession::Impl::send(Response response, bool keep_alive) {
  if (response.render) response.body = response.render();
  http::response<http::string_body> message(static_cast<http::status>(response.status), 11, std::move(response.body));
  message.set(http::field::content_type, response.content_type);
  message.set(http::field::cache_control, "no-store");
  message.set("X-Content-Type-Options", "nosniff");
  if (!response.allow.empty()) message.set(http::field::allow, response.allow);
  if (response.status == 401) message.set(http::field::www_authenticate, "Bearer");
  message.keep_alive(keep_alive);
  message.prepare_payload();
  stream.expires_after(limits.request);
  auto [failure, sent] = co_await http::async_write(stream, message, kNoThrow);
  co_return !failure && keep_alive;
}

/// Closing while the client still sends would reset the connection and lose the answer that says why.
asio::awaitable<void> HttpSession::Impl::refuse(Response refusal) {
  co_await send(std::move(refusal), false);
  beast::error_code ignored;
  stream.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  stream.expires_after(limits.linger);
  std::string thrown_away(16 * 1024, '\0');
  for (std::size_t total = 0; total < kMaxLingerBytes;) {
    auto [failure, got] = co_await stream.async_read_some(asio::buffer(thrown_away), kNoThrow);
    if (failure) break;
    total += got;
  }
}

HttpSession::HttpSession(asio::generic::stream_protocol::socket socket, Api& api, const BearerTokens* tokens,
                         std::shared_ptr<asio::io_context> context, HttpLimits limits)
    : impl_(std::make_unique<Impl>(std::move(socket), api, tokens, std::move(context), limits)) {}

HttpSession::~HttpSession() = default;

asio::awaitable<void> HttpSession::run() {
  return impl_->run();
}

void HttpSession::close() {
  impl_->is_waiting = false;
  impl_->stream.close();
}

bool HttpSession::is_waiting() const {
  return impl_->is_waiting;
}

}  // namespace danki::admin
