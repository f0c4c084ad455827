// Streams against the peer nobody here wrote: the openssl command.
#include "net/errc.hpp"
#include "net/stream.hpp"
#include "net/tls.hpp"
#include "tests/net/run_coroutine.hpp"
#include "tests/net/test_certificate.hpp"

#include <array>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace danki::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;
using test::run;
using test::TempFolder;
using test::TestCertificate;
using testing::HasSubstr;

constexpr milliseconds kPlenty{20000};

/// `openssl ARGUMENTS` with pipes at its input and output; ended with the test.
class OpenSsl {
 public:
  explicit OpenSsl(std::vector<std::string> arguments) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    arguments.insert(arguments.begin(), "openssl");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const int failed = posix_spawnp(&pid_, "openssl", &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
    if (failed != 0) throw std::runtime_error("cannot start openssl (Debian package openssl)");
  }
  ~OpenSsl() {
    ::close(in_);
    ::close(out_);
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  OpenSsl(const OpenSsl&) = delete;
  OpenSsl& operator=(const OpenSsl&) = delete;

  void say(const std::string& text) { ASSERT_EQ(::write(in_, text.data(), text.size()), ssize_t(text.size())); }

  /// Its output up to and with `text`; what there was if it ends before.
  std::string read_until(const std::string& text) {
    std::string output;
    char octet;
    while (!output.ends_with(text) && ::read(out_, &octet, 1) == 1) output += octet;
    return output;
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
};

class OpenSslPeer : public testing::Test {
 protected:
  static TlsContext must(Result<TlsContext> context) {
    if (!context) throw std::runtime_error(context.error().message());
    return *context;
  }

  /// A line without its end; what there was if the peer closed.
  static asio::awaitable<std::string> read_line(Stream& stream) {
    std::string line;
    char octet;
    while (!line.ends_with('\n')) {
      auto n = co_await stream.read_some(asio::buffer(&octet, 1), kPlenty);
      if (!n) co_return line;
      line += octet;
    }
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
    co_return line;
  }

  static asio::awaitable<void> say(Stream& stream, std::string line) {
    line += "\r\n";
    EXPECT_TRUE(co_await stream.write(asio::buffer(line), kPlenty));
  }

  TempFolder folder_;
  TestCertificate certificate_{folder_, "mx.example"};
  asio::io_context io_;
};

TEST_F(OpenSslPeer, ItsClientUpgradesByStarttls) {
  struct Case {
    std::string option, version;
  };
  for (const Case& c : {Case{"-tls1_3", "TLSv1.3"}, Case{"-tls1_2", "TLSv1.2"}}) {
    SCOPED_TRACE(c.option);
    auto acceptor = test::listen_on_loopback(io_);
    OpenSsl client({"s_client", "-connect", "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port()),
                    "-starttls", "smtp", "-name", "client.example", "-quiet", "-ign_eof", c.option, "-CAfile",
                    certificate_.certificate_file, "-verify_return_error", "-verify_hostname", "mx.example"});
    client.say("MAIL FROM:<>\r\n");
    const TlsContext context = must(server_tls_context(certificate_.certificate_file, certificate_.key_file));
    auto serve = [](tcp::acceptor& listener, SSL_CTX* tls, std::string version) -> asio::awaitable<void> {
      Stream stream = co_await test::accept_one(listener);
      co_await say(stream, "220 mx.example ESMTP");
      EXPECT_EQ(co_await read_line(stream), "EHLO client.example");
      co_await say(stream, "250-mx.example\r\n250 STARTTLS");
      EXPECT_EQ(co_await read_line(stream), "STARTTLS");
      co_await say(stream, "220 go");
      auto info = co_await stream.accept_tls(tls, kPlenty);
      EXPECT_TRUE(info) << info.error().message();
      if (!info) co_return;
      EXPECT_EQ(info->version, version);
      EXPECT_EQ(co_await read_line(stream), "MAIL FROM:<>");
      co_await say(stream, "250 2.1.0 fine");
      stream.close_gracefully();
    };
    run(io_, serve(acceptor, context.get(), c.version));
    EXPECT_THAT(client.read_until("fine\r\n"), HasSubstr("250 2.1.0 fine"));
  }
}

TEST_F(OpenSslPeer, AnOldClientIsRefused) {
  auto acceptor = test::listen_on_loopback(io_);
  OpenSsl client({"s_client", "-connect", "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port()), "-tls1_1",
                  "-cipher", "DEFAULT:@SECLEVEL=0"});
  const TlsContext context = must(server_tls_context(certificate_.certificate_file, certificate_.key_file));
  auto serve = [](tcp::acceptor& listener, SSL_CTX* tls) -> asio::awaitable<void> {
    Stream stream = co_await test::accept_one(listener);
    auto info = co_await stream.accept_tls(tls, kPlenty);
    EXPECT_EQ(test::code_of(info), make_error_code(Errc::TlsFailed));
    EXPECT_THAT(test::detail_of(info), HasSubstr("protocol"));
  };
  run(io_, serve(acceptor, context.get()));
}

TEST_F(OpenSslPeer, ItsServerIsSpokenTo) {
  struct Case {
    std::string name;
    std::vector<std::string> options;
    std::string version;  ///< empty: refused when verifying
  };
  for (const Case& c : {Case{"TLS 1.3", {"-tls1_3"}, "TLSv1.3"}, Case{"TLS 1.2", {"-tls1_2"}, "TLSv1.2"},
                        Case{"only TLS 1.0", {"-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"}, ""}}) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> arguments{
        "s_server",           "-accept", "127.0.0.1:0", "-rev", "-cert", certificate_.certificate_file, "-key",
        certificate_.key_file};
    arguments.insert(arguments.end(), c.options.begin(), c.options.end());
    OpenSsl server(arguments);
    server.read_until("ACCEPT ");
    const std::string listening = server.read_until("\n");
    const auto port = static_cast<std::uint16_t>(std::stoi(listening.substr(listening.rfind(':') + 1)));
    const TlsContext opportunistic = must(client_tls_context(false));
    const TlsContext verifying = must(client_tls_context(true));
    SSL_CTX_load_verify_file(verifying.get(), certificate_.certificate_file.c_str());
    for (SSL_CTX* tls : {opportunistic.get(), verifying.get()}) {
      auto talk = [](asio::io_context& io, std::uint16_t to, SSL_CTX* with, const Case& want,
                     bool strict) -> asio::awaitable<void> {
        const tcp::endpoint remote(asio::ip::address_v4::loopback(), to);
        auto stream = co_await connect(io.get_executor(), remote, std::nullopt, kPlenty);
        EXPECT_TRUE(stream) << stream.error().message();
        if (!stream) co_return;
        auto info = co_await stream->connect_tls(with, "mx.example", kPlenty);
        const bool refused = strict && want.version.empty();
        EXPECT_EQ(info.has_value(), !refused);
        if (!info) co_return;
        EXPECT_EQ(info->version, want.version.empty() ? "TLSv1" : want.version);
        EXPECT_EQ(info->peer_verified, strict);
        const std::array<asio::const_buffer, 3> parts{asio::buffer("ab", 2), asio::buffer("cd", 2),
                                                      asio::buffer("\n", 1)};
        EXPECT_TRUE(co_await stream->write(parts, kPlenty));
        EXPECT_EQ(co_await read_line(*stream), "dcba");
        stream->close_gracefully();
      };
      run(io_, talk(io_, port, tls, c, tls == verifying.get()));
    }
  }
}

}  // namespace
}  // namespace danki::net
