#include "net/stream.hpp"

#include "base/task_scope.hpp"
#include "net/errc.hpp"
#include "tests/net/run_coroutine.hpp"

#include <string>
#include <thread>

#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <sys/socket.h>

namespace danki::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;
using test::code_of;
using test::connected_pair;
using test::detail_of;
using test::run;
using test::StreamPair;
using testing::HasSubstr;

constexpr milliseconds kPlenty{20000};

asio::awaitable<std::string> read_exactly(Stream& stream, std::size_t octets) {
  std::string text(octets, '\0');
  std::size_t have = 0;
  while (have < octets) {
    auto n = co_await stream.read_some(asio::buffer(text.data() + have, octets - have), kPlenty);
    if (!n) throw std::runtime_error("read: " + n.error().message());
    have += *n;
  }
  co_return text;
}

TEST(Stream, CarriesOctetsBothWays) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    EXPECT_TRUE(co_await pair.client.write(asio::buffer("HELO a\r\n", 8), kPlenty));
    EXPECT_EQ(co_await read_exactly(pair.server, 8), "HELO a\r\n");
    const std::array<asio::const_buffer, 3> parts{asio::buffer("25", 2), asio::const_buffer(),
                                                  asio::buffer("0 ok\r\n", 6)};
    EXPECT_TRUE(co_await pair.server.write(parts, kPlenty));
    EXPECT_EQ(co_await read_exactly(pair.client, 8), "250 ok\r\n");
    EXPECT_EQ(pair.client.remote(), pair.server.local());
    EXPECT_EQ(pair.client.local(), pair.server.remote());
    EXPECT_FALSE(pair.client.is_tls());
  };
  run(io, task(io));
}

TEST(Stream, AnEmptyWriteSucceeds) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    EXPECT_TRUE(co_await pair.client.write(asio::const_buffer(), kPlenty));
  };
  run(io, task(io));
}

TEST(Stream, ReportsASilentPeerAsTimedOutAndCloses) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    char octet;
    const auto begin = std::chrono::steady_clock::now();
    auto n = co_await pair.client.read_some(asio::buffer(&octet, 1), milliseconds(50));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(50));
    EXPECT_EQ(code_of(n), std::errc::timed_out);
    EXPECT_FALSE(pair.client.is_open());
    // Later operations fail in the same way, at once.
    auto later = co_await pair.client.write(asio::buffer("x", 1), kPlenty);
    EXPECT_EQ(code_of(later), std::errc::timed_out);
    // The peer sees the close.
    n = co_await pair.server.read_some(asio::buffer(&octet, 1), kPlenty);
    EXPECT_EQ(code_of(n), std::errc::connection_reset);
  };
  run(io, task(io));
}

// One timer serves all limits: an earlier, longer one must not delay a shorter one, nor a passed one cut a longer one.
TEST(Stream, EachOperationHasItsOwnLimit) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    char octet;
    EXPECT_TRUE(co_await pair.client.write(asio::buffer("ab", 2), kPlenty));
    EXPECT_TRUE(co_await pair.server.read_some(asio::buffer(&octet, 1), std::chrono::hours(1)));
    EXPECT_TRUE(co_await pair.server.read_some(asio::buffer(&octet, 1), milliseconds(30)));
    asio::steady_timer pause(context, milliseconds(60));  // the limit of 30 ms passes while nothing is under way
    co_await pause.async_wait(asio::use_awaitable);
    EXPECT_TRUE(pair.server.is_open());
    const auto begin = std::chrono::steady_clock::now();
    auto n = co_await pair.server.read_some(asio::buffer(&octet, 1), milliseconds(80));
    const auto waited = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(waited, milliseconds(80));
    EXPECT_LT(waited, milliseconds(5000));
    EXPECT_FALSE(n);
  };
  run(io, task(io));
}

TEST(Stream, EndOfFileIsConnectionReset) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    pair.server.close_gracefully();
    pair.server.close_gracefully();  // idempotent
    char octet;
    auto n = co_await pair.client.read_some(asio::buffer(&octet, 1), kPlenty);
    EXPECT_EQ(code_of(n), std::errc::connection_reset);
    EXPECT_EQ(detail_of(n), "closed by peer");
  };
  run(io, task(io));
}

TEST(Stream, AHalfOpenPeerStillHears) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    auto acceptor = test::listen_on_loopback(context);
    tcp::socket client(context);
    co_await client.async_connect(acceptor.local_endpoint(), asio::use_awaitable);
    Stream server = co_await test::accept_one(acceptor);
    client.shutdown(tcp::socket::shutdown_send);
    char octet;
    auto n = co_await server.read_some(asio::buffer(&octet, 1), kPlenty);
    EXPECT_FALSE(n);
    EXPECT_TRUE(server.is_open());
    EXPECT_TRUE(co_await server.write(asio::buffer("221 bye\r\n", 9), kPlenty));
    std::string text(9, '\0');
    co_await asio::async_read(client, asio::buffer(text), asio::use_awaitable);
    EXPECT_EQ(text, "221 bye\r\n");
  };
  run(io, task(io));
}

TEST(Stream, WritingToAClosedPeerFailsWithoutASignal) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    pair.server.close();
    Result<void> written;
    for (int i = 0; i < 1000 && written; ++i) written = co_await pair.client.write(asio::buffer("x", 1), kPlenty);
    EXPECT_EQ(code_of(written), std::errc::connection_reset);
  };
  run(io, task(io));
}

// Unread octets must not turn the close into a reset, which may destroy the last reply on its way.
TEST(Stream, ClosesGracefullyOverUnreadOctets) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    auto acceptor = test::listen_on_loopback(context);
    tcp::socket client(context);
    co_await client.async_connect(acceptor.local_endpoint(), asio::use_awaitable);
    Stream server = co_await test::accept_one(acceptor);
    const std::string noise(20000, 'n');
    co_await asio::async_write(client, asio::buffer(noise), asio::use_awaitable);
    EXPECT_EQ(co_await read_exactly(server, 1), "n");
    EXPECT_TRUE(co_await server.write(asio::buffer("421 bye\r\n", 9), kPlenty));
    server.close_gracefully();
    std::string text(100, '\0');
    auto [ec, octets] = co_await asio::async_read(client, asio::buffer(text), asio::as_tuple(asio::use_awaitable));
    EXPECT_EQ(ec, asio::error::eof) << ec.message();
    EXPECT_EQ(text.substr(0, octets), "421 bye\r\n");
  };
  run(io, task(io));
}

asio::awaitable<void> write_all(Stream& stream, const std::string& data, Result<void>& outcome) {
  outcome = co_await stream.write(asio::buffer(data), kPlenty);
}

TEST(Stream, WritesMoreThanASlowReaderHasRoomFor) {
  asio::io_context io;
  TaskScope writers(io.get_executor());
  auto task = [](asio::io_context& context, TaskScope& scope) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    std::string data(16u << 20, '\0');
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 >> 7);
    Result<void> outcome = std::unexpected(Error{std::errc::operation_in_progress});
    scope.spawn("write", write_all(pair.client, data, outcome));
    EXPECT_TRUE(co_await read_exactly(pair.server, data.size()) == data);
    co_await scope.join();
    EXPECT_TRUE(outcome);
  };
  run(io, task(io, writers));
}

TEST(Stream, ALargeWriteToADeafPeerTimesOut) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    const std::string data(64u << 20, 'x');
    auto written = co_await pair.client.write(asio::buffer(data), milliseconds(100));
    EXPECT_EQ(code_of(written), std::errc::timed_out);
  };
  run(io, task(io));
}

asio::awaitable<void> read_one(Stream& stream, std::optional<Error>& error, bool& went_on) {
  char octet;
  auto n = co_await stream.read_some(asio::buffer(&octet, 1), std::chrono::hours(1));
  if (!n) error = n.error();
  co_await stream.write(asio::buffer("x", 1), kPlenty);  // cancellation throws here
  went_on = true;
}

TEST(Stream, CancellationEndsAReadAndThrowsAtTheNextAwait) {
  asio::io_context io;
  TaskScope scope(io.get_executor());
  auto task = [](asio::io_context& context, TaskScope& readers) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    std::optional<Error> error;
    bool went_on = false;
    readers.spawn("read", read_one(pair.client, error, went_on));
    co_await asio::post(context, asio::use_awaitable);
    co_await asio::post(context, asio::use_awaitable);
    EXPECT_EQ(readers.size(), 1u);
    readers.request_stop();
    co_await readers.join();
    EXPECT_TRUE(error.has_value());
    EXPECT_EQ(code_of(error), std::errc::operation_canceled);
    EXPECT_FALSE(went_on);
  };
  run(io, task(io, scope));
}

asio::awaitable<void> read_until_error(Stream& stream, std::optional<Error>& error) {
  char octet;
  auto n = co_await stream.read_some(asio::buffer(&octet, 1), std::chrono::hours(1));
  if (!n) error = n.error();
}

TEST(Stream, ClosingEndsAPendingRead) {
  asio::io_context io;
  TaskScope scope(io.get_executor());
  auto task = [](asio::io_context& context, TaskScope& readers) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    std::optional<Error> error;
    readers.spawn("read", read_until_error(pair.client, error));
    co_await asio::post(context, asio::use_awaitable);
    pair.client.close();
    pair.client.close();
    co_await readers.join();
    EXPECT_TRUE(error.has_value());
    EXPECT_EQ(code_of(error), std::errc::operation_canceled);
  };
  run(io, task(io, scope));
}

TEST(Stream, AReadyReaderDoesNotStarveOthers) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    StreamPair pair = co_await connected_pair(context);
    bool other_ran = false;
    asio::post(context, [&] { other_ran = true; });
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(co_await pair.client.write(asio::buffer("x", 1), kPlenty));
    EXPECT_TRUE(other_ran);
  };
  run(io, task(io));
}

TEST(Connect, BindsTheSourceAddress) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    auto acceptor = test::listen_on_loopback(context);
    const auto source = asio::ip::make_address("127.0.0.7");
    auto client = co_await connect(context.get_executor(), acceptor.local_endpoint(), source, kPlenty);
    EXPECT_TRUE(client) << client.error().message();
    Stream server = co_await test::accept_one(acceptor);
    EXPECT_EQ(server.remote().address(), source);
    if (client) {
      EXPECT_EQ(client->local(), server.remote());
    }
  };
  run(io, task(io));
}

TEST(Connect, BindsAnIpv6Source) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    tcp::acceptor acceptor(context, {asio::ip::address_v6::loopback(), 0});
    auto client = co_await connect(context.get_executor(), acceptor.local_endpoint(),
                                   asio::ip::address(asio::ip::address_v6::loopback()), kPlenty);
    EXPECT_TRUE(client) << client.error().message();
  };
  run(io, task(io));
}

TEST(Connect, TellsABindFailureFromAConnectFailure) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    tcp::endpoint closed;
    {
      auto acceptor = test::listen_on_loopback(context);
      closed = acceptor.local_endpoint();
    }
    auto unbound = co_await connect(context.get_executor(), closed, asio::ip::make_address("192.0.2.1"), kPlenty);
    EXPECT_EQ(code_of(unbound), make_error_code(Errc::BindFailed));
    EXPECT_THAT(detail_of(unbound), HasSubstr("192.0.2.1"));
    auto refused = co_await connect(context.get_executor(), closed, std::nullopt, kPlenty);
    EXPECT_EQ(code_of(refused), std::errc::connection_refused);
    auto mixed = co_await connect(context.get_executor(), closed, asio::ip::make_address("::1"), kPlenty);
    EXPECT_EQ(code_of(mixed), std::errc::address_family_not_supported);
  };
  run(io, task(io));
}

TEST(Connect, TimesOutWhenTheBacklogIsFull) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    tcp::acceptor acceptor(context);
    acceptor.open(tcp::v4());
    acceptor.bind({asio::ip::address_v4::loopback(), 0});
    acceptor.listen(0);  // the kernel completes one connection and drops further SYNs
    std::vector<Stream> filling;
    Result<Stream> last = std::unexpected(Error{std::errc::operation_in_progress});
    for (int i = 0; i < 10; ++i) {
      last = co_await connect(context.get_executor(), acceptor.local_endpoint(), std::nullopt, milliseconds(200));
      if (!last) break;
      filling.push_back(std::move(*last));
    }
    EXPECT_EQ(code_of(last), std::errc::timed_out);
  };
  run(io, task(io));
}

// A source must not run out of ports while the pairs of addresses differ (IP_BIND_ADDRESS_NO_PORT).
TEST(Connect, ChoosesThePortAtConnect) {
  asio::io_context io;
  auto task = [](asio::io_context& context) -> asio::awaitable<void> {
    auto acceptor = test::listen_on_loopback(context);
    auto client = co_await connect(context.get_executor(), acceptor.local_endpoint(),
                                   asio::ip::make_address("127.0.0.8"), kPlenty);
    EXPECT_TRUE(client);
    if (client) {
      EXPECT_NE(client->local().port(), 0);
    }
  };
  run(io, task(io));
}

}  // namespace
}  // namespace danki::net
