#include "net/tls.hpp"

#include "base/task_scope.hpp"
#include "net/errc.hpp"
#include "net/stream.hpp"
#include "tests/net/run_coroutine.hpp"
#include "tests/net/test_certificate.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <openssl/ssl.h>

namespace danki::net {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using test::code_of;
using test::detail_of;
using test::run;
using test::StreamPair;
using test::TempFolder;
using test::TestCertificate;
using testing::HasSubstr;

constexpr milliseconds kPlenty{20000};

/// A listener's and a client's context around one fresh certificate for mx.example.
class Tls : public testing::Test {
 protected:
  Tls() : certificate_(folder_, "mx.example") {
    server_ = must(server_tls_context(certificate_.certificate_file, certificate_.key_file));
    opportunistic_ = must(client_tls_context(false));
    verifying_ = must(client_tls_context(true));
    SSL_CTX_load_verify_file(verifying_.get(), certificate_.certificate_file.c_str());
  }

  static TlsContext must(Result<TlsContext> context) {
    if (!context) throw std::runtime_error(context.error().message());
    return *context;
  }

  asio::awaitable<void> accept(Stream& stream, Result<TlsInfo>& outcome) {
    outcome = co_await stream.accept_tls(server_.get(), kPlenty);
  }

  struct Both {
    Result<TlsInfo> client, server;
  };
  /// Both sides of a handshake at the same time.
  asio::awaitable<Both> shake_hands(StreamPair& pair, SSL_CTX* context, std::string name) {
    Both both{std::unexpected(Error{std::errc::operation_in_progress}),
              std::unexpected(Error{std::errc::operation_in_progress})};
    TaskScope scope(co_await asio::this_coro::executor);
    scope.spawn("accept", accept(pair.server, both.server));
    both.client = co_await pair.client.connect_tls(context, name, kPlenty);
    if (!both.client) pair.client.close();
    co_await scope.join();
    co_return both;
  }

  static asio::awaitable<std::string> read_exactly(Stream& stream, std::size_t octets) {
    std::string text(octets, '\0');
    std::size_t have = 0;
    while (have < octets) {
      auto n = co_await stream.read_some(asio::buffer(text.data() + have, octets - have), kPlenty);
      if (!n) throw std::runtime_error("read: " + n.error().message());
      have += *n;
    }
    co_return text;
  }

  TempFolder folder_;
  TestCertificate certificate_;
  TlsContext server_, opportunistic_, verifying_;
  asio::io_context io_;
};

TEST_F(Tls, UpgradesAfterPlainOctets) {
  auto task = [this]() -> asio::awaitable<void> {
    StreamPair pair = co_await test::connected_pair(io_);
    EXPECT_TRUE(co_await pair.client.write(asio::buffer("STARTTLS\r\n", 10), kPlenty));
    EXPECT_EQ(co_await read_exactly(pair.server, 10), "STARTTLS\r\n");
    EXPECT_TRUE(co_await pair.server.write(asio::buffer("220 go\r\n", 8), kPlenty));
    EXPECT_EQ(co_await read_exactly(pair.client, 8), "220 go\r\n");
    const Both both = co_await shake_hands(pair, opportunistic_.get(), "mx.example.");
    EXPECT_TRUE(both.client) << both.client.error().message();
    EXPECT_TRUE(both.server) << both.server.error().message();
    if (!both.client || !both.server) co_return;
    EXPECT_EQ(both.client->version, "TLSv1.3");
    EXPECT_EQ(both.client->cipher, both.server->cipher);
    EXPECT_FALSE(both.client->peer_verified);
    EXPECT_TRUE(pair.client.is_tls());
    EXPECT_EQ(pair.server.tls_info()->version, "TLSv1.3");
    const std::array<asio::const_buffer, 3> parts{asio::buffer("250", 3), asio::buffer(" o", 2),
                                                  asio::buffer("k\r\n", 3)};
    EXPECT_TRUE(co_await pair.server.write(parts, kPlenty));
    EXPECT_EQ(co_await read_exactly(pair.client, 8), "250 ok\r\n");
  };
  run(io_, task());
}

TEST_F(Tls, VerifiesTheNameWhenToldTo) {
  auto task = [this]() -> asio::awaitable<void> {
    StreamPair good = co_await test::connected_pair(io_);
    const Both right = co_await shake_hands(good, verifying_.get(), "mx.example");
    EXPECT_TRUE(right.client) << right.client.error().message();
    if (right.client) {
      EXPECT_TRUE(right.client->peer_verified);
    }
    StreamPair bad = co_await test::connected_pair(io_);
    const Both wrong = co_await shake_hands(bad, verifying_.get(), "other.example");
    EXPECT_FALSE(wrong.client);
    if (wrong.client) co_return;
    EXPECT_EQ(wrong.client.error().code, make_error_code(Errc::TlsFailed));
    EXPECT_THAT(wrong.client.error().detail, HasSubstr("mismatch"));
    EXPECT_FALSE(wrong.server);
  };
  run(io_, task());
}

TEST_F(Tls, RefusesAnUnknownIssuerOnlyWhenVerifying) {
  auto task = [this]() -> asio::awaitable<void> {
    StreamPair pair = co_await test::connected_pair(io_);
    const TlsContext strict = must(client_tls_context(true));
    const Both both = co_await shake_hands(pair, strict.get(), "mx.example");
    EXPECT_FALSE(both.client);
    EXPECT_THAT(detail_of(both.client), HasSubstr("self-signed"));
  };
  run(io_, task());
}

TEST_F(Tls, CarriesLargeWritesToASlowReader) {
  auto task = [this]() -> asio::awaitable<void> {
    StreamPair pair = co_await test::connected_pair(io_);
    const Both both = co_await shake_hands(pair, opportunistic_.get(), "mx.example");
    EXPECT_TRUE(both.client && both.server);
    std::string data(8u << 20, '\0');
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 37 >> 9);
    auto writer = [](Stream& stream, const std::string& text, Result<void>& out) -> asio::awaitable<void> {
      const std::array<asio::const_buffer, 3> parts{asio::buffer(text.data(), 10), asio::buffer(text) + 10, {}};
      out = co_await stream.write(parts, kPlenty);
    };
    Result<void> outcome = std::unexpected(Error{std::errc::operation_in_progress});
    TaskScope scope(io_.get_executor());
    scope.spawn("write", writer(pair.client, data, outcome));
    EXPECT_TRUE(co_await read_exactly(pair.server, data.size()) == data);
    co_await scope.join();
    EXPECT_TRUE(outcome);
  };
  run(io_, task());
}

TEST_F(Tls, EndsWithAndWithoutCloseNotify) {
  auto task = [this]() -> asio::awaitable<void> {
    for (const bool gracefully : {true, false}) {
      SCOPED_TRACE(gracefully);
      StreamPair pair = co_await test::connected_pair(io_);
      const Both both = co_await shake_hands(pair, opportunistic_.get(), "mx.example");
      EXPECT_TRUE(both.client && both.server);
      EXPECT_TRUE(co_await pair.server.write(asio::buffer("221", 3), kPlenty));
      if (gracefully) {
        pair.server.close_gracefully();
      } else {
        pair.server.close();
      }
      EXPECT_EQ(co_await read_exactly(pair.client, 3), "221");
      char octet;
      auto n = co_await pair.client.read_some(asio::buffer(&octet, 1), kPlenty);
      EXPECT_EQ(code_of(n), std::errc::connection_reset);
      EXPECT_EQ(detail_of(n), "closed by peer");
    }
  };
  run(io_, task());
}

TEST_F(Tls, ASilentOrBabblingPeerFailsTheHandshake) {
  auto task = [this]() -> asio::awaitable<void> {
    StreamPair silent = co_await test::connected_pair(io_);
    auto timed_out = co_await silent.client.connect_tls(opportunistic_.get(), "mx.example", milliseconds(50));
    EXPECT_EQ(code_of(timed_out), std::errc::timed_out);
    StreamPair babbling = co_await test::connected_pair(io_);
    EXPECT_TRUE(co_await babbling.server.write(asio::buffer("454 no TLS today\r\n", 18), kPlenty));
    auto failed = co_await babbling.client.connect_tls(opportunistic_.get(), "mx.example", kPlenty);
    EXPECT_EQ(code_of(failed), make_error_code(Errc::TlsFailed));
    EXPECT_NE(detail_of(failed), "");
  };
  run(io_, task());
}

TEST_F(Tls, ATimeLimitHoldsForReads) {
  auto task = [this]() -> asio::awaitable<void> {
    StreamPair pair = co_await test::connected_pair(io_);
    const Both both = co_await shake_hands(pair, opportunistic_.get(), "mx.example");
    EXPECT_TRUE(both.client && both.server);
    char octet;
    auto n = co_await pair.server.read_some(asio::buffer(&octet, 1), milliseconds(50));
    EXPECT_EQ(code_of(n), std::errc::timed_out);
  };
  run(io_, task());
}

TEST_F(Tls, ResumesSessionsOnlyWithTheSamePeer) {
  auto task = [this]() -> asio::awaitable<void> {
    auto acceptor = test::listen_on_loopback(io_);
    auto another = test::listen_on_loopback(io_);
    struct Case {
      std::string name;
      asio::ip::tcp::acceptor& peer;
      std::string source;
      bool want;
    };
    for (const Case& c :
         {Case{"first", acceptor, "127.0.0.1", false}, Case{"again", acceptor, "127.0.0.1", true},
          Case{"another peer", another, "127.0.0.1", false}, Case{"another source", acceptor, "127.0.0.2", false}}) {
      SCOPED_TRACE(c.name);
      auto client =
          co_await connect(io_.get_executor(), c.peer.local_endpoint(), asio::ip::make_address(c.source), kPlenty);
      Stream server = co_await test::accept_one(c.peer);
      StreamPair pair{std::move(*client), std::move(server)};
      const Both both = co_await shake_hands(pair, opportunistic_.get(), "mx.example");
      EXPECT_TRUE(both.client && both.server);
      EXPECT_EQ(pair.client.tls_info()->resumed, c.want);
      EXPECT_TRUE(co_await pair.server.write(asio::buffer("x", 1), kPlenty));
      EXPECT_EQ(co_await read_exactly(pair.client, 1), "x");  // TLS 1.3 tickets come with the first octets
    }
  };
  run(io_, task());
}

TEST_F(Tls, ContextErrorsNameTheFile) {
  const TestCertificate other(folder_, "other.example");
  const std::string nonsense = folder_ / "nonsense.pem";
  std::ofstream(nonsense) << "not a certificate\n";
  struct Case {
    std::string name, certificate, key, want;
  };
  const std::string missing = folder_ / "missing.pem";
  for (const Case& c : {Case{"no certificate", missing, certificate_.key_file, missing},
                        Case{"no key", certificate_.certificate_file, missing, missing},
                        Case{"nonsense", nonsense, certificate_.key_file, nonsense},
                        Case{"another's key", certificate_.certificate_file, other.key_file, other.key_file}}) {
    SCOPED_TRACE(c.name);
    const auto context = server_tls_context(c.certificate, c.key);
    ASSERT_FALSE(context);
    EXPECT_EQ(context.error().code, make_error_code(Errc::TlsFailed));
    EXPECT_THAT(context.error().detail, HasSubstr(c.want));
  }
  EXPECT_THAT(server_tls_context(missing, missing).error().detail, HasSubstr("No such file"));
}

}  // namespace
}  // namespace danki::net
