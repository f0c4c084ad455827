#include "mta/delivery/session.hpp"

#include "mta/delivery/dot_stuffing.hpp"
#include "mta/delivery/session_state.hpp"

#include <algorithm>

namespace danki::delivery {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;  // for durations that are reported, and for waits on sockets

namespace {

using Step = MailTransaction::Step;

constexpr std::size_t kBlockBytes = 64 * 1024;      ///< one write, and one time limit, for so much content
constexpr std::size_t kLeastUncopied = 32 * 1024;   ///< below it a copy costs less than a second buffer in the write
constexpr std::size_t kKeptBlockBytes = 16 * 1024;  ///< thousands of idle sessions must not keep a large block each
constexpr milliseconds kLastWords{5000};            ///< for a reply of a host that has stopped reading
constexpr milliseconds kLongestIdle = std::chrono::hours(24);

ContentTraits traits_of(const TransactionRequest& request, const Extensions& extensions) {
  const mail::Envelope& envelope = request.message->envelope;
  const std::string& content = *request.content;
  ContentTraits traits;
  traits.octets = content.size() + (request.prepared ? request.prepared->header_lines.size() : 0);
  if (extensions.eightbitmime) {
    traits.eight_bit = envelope.body == mail::BodyType::EightBitMime || has_eight_bit(content);
  }
  if (envelope.smtputf8 && !extensions.smtputf8) {
    const std::size_t header_bytes = std::min(content.find("\r\n\r\n"), content.size());
    traits.header_utf8 = has_eight_bit(std::string_view(content).substr(0, header_bytes));
  }
  return traits;
}

milliseconds limit_for(Stage stage, const Timeouts& timeouts) {  // RFC 5321 section 4.5.3.2
  switch (stage) {
    case Stage::Rcpt:
      return timeouts.rcpt;
    case Stage::Data:
      return timeouts.data;
    case Stage::FinalDot:
      return timeouts.dot;
    default:
      return timeouts.mail;
  }
}

/// One transaction on its way through the session: await, tell, do the step.
class TransactionRun {
 public:
  TransactionRun(SmtpSession::State& session, const TransactionRequest& request)
      : session_(session), request_(request) {}

  asio::awaitable<void> run() {
    Step step = transaction_.start(request_.message->envelope, request_.recipients,
                                   traits_of(request_, session_.extensions), session_.extensions);
    while (step != Step::Finish) {
      if (step != Step::Read && write_error_) {
        step = transaction_.on_broken(*write_error_);
      } else if (step != Step::Read && session_.channel.pending()) {
        step = on_unasked(step);
      } else {
        if (step == Step::Send) co_await send_commands();
        if (step == Step::SendContent) {
          const Result<void> sent = co_await send_content();
          if (!sent) {
            // A host that refuses a message half-way (552) and closes has told us why.
            const Result<const mail::Reply*> reply = co_await session_.channel.read_reply(kLastWords);
            step = transaction_.on_content_cut(sent.error(), reply ? *reply : nullptr);
            continue;
          }
          session_.awaiting_final_reply = true;
        }
        step = co_await take_reply();
        session_.awaiting_final_reply = false;
      }
    }
  }

 private:
  /// Nothing was asked and something came. Unless it is 421, what comes next could be taken for the answer to another
  /// command.
  Step on_unasked(Step step) {
    const Result<const mail::Reply*> reply = session_.channel.buffered_reply();
    const mail::Reply* closing = reply && *reply != nullptr && (*reply)->code == 421 ? *reply : nullptr;
    const Error error(std::errc::bad_message, "the host spoke out of turn");
    if (step == Step::SendContent) return transaction_.on_content_cut(error, closing);
    return closing != nullptr ? transaction_.on_reply(*closing) : transaction_.on_broken(error);
  }

  asio::awaitable<void> send_commands() {
    const Result<void> written =
        co_await session_.channel.write(asio::buffer(transaction_.commands()), session_.timeouts.mail);
    if (!written) write_error_ = written.error();
  }

  asio::awaitable<Step> take_reply() {
    Result<const mail::Reply*> reply = session_.channel.buffered_reply();
    if (reply && *reply == nullptr) {
      const milliseconds limit = limit_for(transaction_.awaiting(), session_.timeouts);
      reply = co_await session_.channel.read_reply(write_error_ ? std::min(limit, kLastWords) : limit);
    }
    if (reply) co_return transaction_.on_reply(**reply);
    co_return transaction_.on_broken(write_error_.value_or(reply.error()));
  }

  /// Header lines, content and final dot. Small messages are one write of one buffer; of larger ones each block goes
  /// straight from the shared content unless a line of it begins with a dot.
  asio::awaitable<Result<void>> send_content() {
    std::string_view rest = *request_.content;
    DotStuffer stuffer;
    std::string& block = session_.block;
    block.clear();
    if (request_.prepared) stuffer.append(request_.prepared->header_lines, block);
    bool last = false;
    while (!last) {
      const std::size_t room = kBlockBytes - std::min(block.size(), kBlockBytes - 1);
      const std::string_view piece = rest.substr(0, room);
      rest.remove_prefix(piece.size());
      last = rest.empty();
      std::array<asio::const_buffer, 3> parts;
      const bool as_it_is = piece.size() >= kLeastUncopied && stuffer.passes(piece);
      if (!as_it_is) stuffer.append(piece, block);
      if (!as_it_is && last) block += stuffer.terminator();
      parts[0] = asio::buffer(block);
      if (as_it_is) parts[1] = asio::buffer(piece);
      if (as_it_is && last) parts[2] = asio::buffer(stuffer.terminator());
      const Result<void> written = co_await session_.channel.stream().write(parts, session_.timeouts.block);
      if (!written) co_return written;
      block.clear();
    }
    if (block.capacity() > kKeptBlockBytes) block = std::string();
    co_return Result<void>();
  }

  SmtpSession::State& session_;
  const TransactionRequest& request_;
  MailTransaction& transaction_ = session_.transaction;
  std::optional<Error> write_error_;  ///< what the host said before it stopped reading is still worth knowing
};

SessionFailure failure_of(const SmtpSession::State& session) {
  const MailTransaction& transaction = session.transaction;
  SessionFailure failure{.stage = transaction.closing_stage(), .target = session.target};
  failure.reply = transaction.closing_reply();
  failure.error = transaction.closing_error();
  if (failure.error.empty() && failure.reply) failure.error = failure.reply->to_string();
  return failure;
}

/// The connection went while the session was idle.
TransactionResult not_begun(const SmtpSession::State& session, const TransactionRequest& request) {
  TransactionResult result;
  result.session_usable = false;
  result.failure = SessionFailure{.stage = Stage::Mail, .target = session.target, .error = "the session has ended"};
  for (const std::uint32_t recipient : request.recipients) {
    result.recipients.push_back({.recipient = recipient, .reply = {}, .error = result.failure->error});
  }
  return result;
}

asio::awaitable<TransactionResult> deliver_in(SmtpSession::State* session, TransactionRequest request) {
  if (!session->usable) co_return not_begun(*session, request);
  const auto begin = steady_clock::now();
  TransactionRun running(*session, request);
  co_await running.run();
  TransactionResult result;
  result.recipients = session->transaction.take_results();
  result.session_usable = session->transaction.session_usable();
  if (!result.session_usable) {
    result.failure = failure_of(*session);
    session->usable = false;
    session->channel.stream().close_gracefully();
  }
  result.duration = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
  co_return result;
}

asio::awaitable<void> quit_in(SmtpSession::State* session) {
  session->usable = false;
  std::string command = "QUIT\r\n";
  const Result<void> written = co_await session->channel.write(asio::buffer(command), session->timeouts.quit);
  if (written) (void)co_await session->channel.read_reply(session->timeouts.quit);
  session->channel.stream().close_gracefully();
}

asio::awaitable<void> wait_in(SmtpSession::State* session) {
  if (!session->usable) co_return;
  if (!session->channel.pending()) {
    const Result<void> came = co_await session->channel.fill(kLongestIdle);
    if (!came && came.error().code == std::errc::operation_canceled && session->channel.stream().is_open()) co_return;
  }
  session->usable = false;
  session->channel.stream().close_gracefully();
}

}  // namespace

SmtpSession::SmtpSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
SmtpSession::SmtpSession(SmtpSession&&) noexcept = default;
SmtpSession& SmtpSession::operator=(SmtpSession&&) noexcept = default;
SmtpSession::~SmtpSession() = default;

// The coroutines hold on to the state, not to *this: a session may be moved while one waits.
asio::awaitable<TransactionResult> SmtpSession::deliver(TransactionRequest request) {
  return deliver_in(state_.get(), std::move(request));
}

asio::awaitable<void> SmtpSession::quit() {
  return quit_in(state_.get());
}

asio::awaitable<void> SmtpSession::wait_closed() {
  return wait_in(state_.get());
}

void SmtpSession::stop_waiting() {
  state_->channel.stream().interrupt();
}

void SmtpSession::close() {
  state_->usable = false;
  state_->channel.stream().close();
}

bool SmtpSession::awaiting_final_reply() const {
  return state_->awaiting_final_reply;
}

bool SmtpSession::usable() const {
  return state_->usable;
}

const HostTarget& SmtpSession::target() const {
  return state_->target;
}

const Extensions& SmtpSession::extensions() const {
  return state_->extensions;
}

const std::optional<net::TlsInfo>& SmtpSession::tls_info() const {
  return state_->tls;
}

boost::asio::ip::tcp::endpoint SmtpSession::local_endpoint() const {
  return state_->local;
}

}  // namespace danki::delivery
