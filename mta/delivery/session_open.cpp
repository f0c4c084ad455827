#include "mta/delivery/session_state.hpp"
#include "net/errc.hpp"

#include <fmt/format.h>

namespace danki::delivery {
namespace asio = boost::asio;
using std::chrono::milliseconds;

namespace {

using Failure = std::optional<SessionFailure>;

constexpr int kServiceClosing = 421;

}  // namespace

/// From connect to EHLO with one host, in the clear or under TLS.
class SessionOpener {
 public:
  SessionOpener(asio::any_io_executor executor, const HostTarget& target, const SessionOptions& options)
      : executor_(std::move(executor)), target_(target), options_(options) {}

  using State = SmtpSession::State;

  /// Null state when it failed: then failure() says why. `may_use_tls` false: STARTTLS has failed here before.
  asio::awaitable<std::unique_ptr<State>> open(bool may_use_tls) {
    failure_.reset();
    Result<net::Stream> stream =
        co_await net::connect(executor_, target_.endpoint, options_.local_address, options_.timeouts.connect);
    if (!stream) {
      const bool source_at_fault = stream.error().code == net::Errc::BindFailed;
      fail(source_at_fault ? Stage::Bind : Stage::Connect, stream.error());
      failure_->source_at_fault = source_at_fault;
      const std::error_code code = stream.error().code;
      failure_->no_descriptor = code == std::errc::too_many_files_open ||
                                code == std::errc::too_many_files_open_in_system ||
                                code == std::errc::no_buffer_space || code == std::errc::not_enough_memory;
      failure_->no_port = code == std::errc::address_not_available || code == std::errc::address_in_use;
      co_return nullptr;
    }
    state_ = std::make_unique<State>(target_, options_, std::move(*stream));
    bool opened = co_await banner();
    if (opened) opened = co_await ehlo();
    if (opened) opened = co_await secure(may_use_tls);
    if (!opened) state_.reset();
    co_return std::move(state_);
  }

  const SessionFailure& failure() const { return *failure_; }

 private:
  bool fail(Stage stage, const Error& error) {
    failure_ = SessionFailure{.stage = stage, .target = target_, .error = error.message()};
    return false;
  }
  bool refuse(Stage stage, const mail::Reply& reply) {
    failure_ = SessionFailure{.stage = stage, .target = target_, .reply = reply, .error = reply.to_string()};
    return false;
  }

  /// Writes a command (nothing for the banner) and reads its reply; nullptr, with the failure set, when that does not
  /// work.
  asio::awaitable<const mail::Reply*> ask(std::string command, Stage stage, milliseconds limit) {
    if (!command.empty()) {
      const Result<void> written = co_await state_->channel.write(asio::buffer(command), limit);
      if (!written) {
        fail(stage, written.error());
        co_return nullptr;
      }
    }
    const Result<const mail::Reply*> reply = co_await state_->channel.read_reply(limit);
    if (!reply) {
      fail(stage, reply.error());
      co_return nullptr;
    }
    co_return *reply;
  }

  /// RFC 5321 section 3.1: who is refused says QUIT. The answer is not worth a wait.
  asio::awaitable<bool> leave(Stage stage, mail::Reply reply) {
    refuse(stage, reply);
    if (reply.code != kServiceClosing) {
      std::string quit = "QUIT\r\n";
      (void)co_await state_->channel.write(asio::buffer(quit), options_.timeouts.quit);
    }
    state_->channel.stream().close_gracefully();
    co_return false;
  }

  asio::awaitable<bool> banner() {
    const mail::Reply* reply = co_await ask(std::string(), Stage::Banner, options_.timeouts.banner);
    if (reply == nullptr) co_return false;
    if (!reply->positive()) co_return co_await leave(Stage::Banner, *reply);
    // Who talks before it is asked is either no SMTP host or mixes up replies from the start.
    if (state_->channel.pending()) co_return fail(Stage::Banner, Error(std::errc::bad_message, "spoke out of turn"));
    co_return true;
  }

  asio::awaitable<bool> ehlo() {
    const mail::Reply* reply =
        co_await ask(fmt::format("EHLO {}\r\n", options_.ehlo), Stage::Ehlo, options_.timeouts.ehlo);
    if (reply == nullptr) co_return false;
    if (reply->positive()) {
      state_->extensions = parse_extensions(reply->text);
      co_return true;
    }
    if (!reply->permanent()) co_return co_await leave(Stage::Ehlo, *reply);
    // A host from before ESMTP, RFC 5321 section 3.2.
    reply = co_await ask(fmt::format("HELO {}\r\n", options_.ehlo), Stage::Ehlo, options_.timeouts.ehlo);
    if (reply == nullptr) co_return false;
    if (!reply->positive()) co_return co_await leave(Stage::Ehlo, *reply);
    state_->extensions = Extensions{};
    co_return true;
  }

  asio::awaitable<bool> secure(bool may_use_tls) {
    const bool required = options_.tls == TlsPolicy::Require;
    SSL_CTX* context = required ? options_.verifying_context : options_.tls_context;
    if (options_.tls == TlsPolicy::None || !may_use_tls || (!required && context == nullptr)) co_return true;
    if (required && context == nullptr) co_return fail(Stage::Tls, Error(net::Errc::TlsFailed, "no TLS context"));
    if (!state_->extensions.starttls) {
      if (!required) co_return true;
      co_return fail(Stage::Tls, Error(net::Errc::TlsFailed, "STARTTLS is required and not offered"));
    }
    const mail::Reply* reply = co_await ask("STARTTLS\r\n", Stage::Tls, options_.timeouts.tls);
    if (reply == nullptr) co_return false;
    if (!reply->positive()) {
      // The session stands as it was (RFC 3207 section 4); whoever does not insist goes on in the clear.
      if (!required && reply->code != kServiceClosing) co_return true;
      co_return co_await leave(Stage::Tls, *reply);
    }
    state_->channel.forget();
    const Result<net::TlsInfo> info =
        co_await state_->channel.stream().connect_tls(context, target_.name, options_.timeouts.tls);
    if (!info) co_return fail(Stage::Tls, info.error());
    if (required && !info->peer_verified) {
      co_return fail(Stage::Tls, Error(net::Errc::TlsFailed, "the certificate was not verified"));
    }
    state_->tls = *info;
    state_->extensions = Extensions{};     // RFC 3207 section 4.2: what was said in the clear is forgotten
    const bool greeted = co_await ehlo();  // not in the condition: GCC 12 makes a crash of that
    if (greeted) co_return true;
    // TLS 1.3: a refused handshake shows only at the first octets after it.
    if (!failure_->reply) failure_->stage = Stage::Tls;
    co_return false;
  }

  asio::any_io_executor executor_;
  const HostTarget& target_;
  const SessionOptions& options_;
  std::unique_ptr<State> state_;
  Failure failure_;
};

asio::awaitable<std::expected<SmtpSession, SessionFailure>> SmtpSession::open(asio::any_io_executor executor,
                                                                              std::vector<HostTarget> targets,
                                                                              SessionOptions options) {
  std::optional<SessionFailure> failure;
  for (const HostTarget& target : targets) {
    // Another family than the source's is no failure of the host, and no reason not to try the next.
    if (options.local_address && options.local_address->is_v4() != target.endpoint.address().is_v4()) continue;
    SessionOpener opener(executor, target, options);
    std::unique_ptr<State> state = co_await opener.open(true);
    if (!state && opener.failure().stage == Stage::Tls && options.tls == TlsPolicy::Opportunistic) {
      state = co_await opener.open(false);
    }
    if (state) co_return SmtpSession(std::move(state));
    add_failure(failure, opener.failure(), options.local_address.has_value());
    if (failure->source_at_fault) break;  // no host can be reached from an address that is not there
  }
  if (!failure) failure = SessionFailure{.stage = Stage::Connect, .error = "no address that this source can reach"};
  co_return std::unexpected(std::move(*failure));
}

}  // namespace danki::delivery
