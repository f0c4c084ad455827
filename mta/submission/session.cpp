#include "mta/submission/session.hpp"

#include "base/log.hpp"
#include "mta/submission/networks.hpp"
#include "mta/submission/proxy_protocol.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <openssl/crypto.h>

namespace danki::submission {
namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::deferred);
constexpr milliseconds kHandshakeLimit{60'000};
constexpr milliseconds kProxyHeaderLimit{5'000};
// One octet a second would hold 35 MB of memory for a year.
constexpr std::chrono::minutes kContentLimit{30};
constexpr Duration kDomainPatience{5'000};  // of all look-ups of one transaction together
// The worker ends a wait in time and in words; the stream's own limit is for a connection that takes no words either.
constexpr milliseconds kBeyondIdle{30'000};

}  // namespace

asio::awaitable<void> Session::serve(Worker& worker, std::shared_ptr<const ListenerOptions> listener,
                                     tcp::socket socket) {
  Session session(worker, std::move(listener), std::move(socket));
  const bool is_open = co_await session.open();
  if (!is_open) co_return;
  session.conversation_->greet();
  co_await session.converse();
}

Session::Session(Worker& worker, std::shared_ptr<const ListenerOptions> listener, tcp::socket socket)
    : worker_(worker),
      listener_(std::move(listener)),
      stream_(std::move(socket)),
      entry_(worker.enter(this)),
      wake_(worker.context(), asio::steady_timer::time_point::max()) {}

Session::~Session() {
  if (answer_) answer_->wake = nullptr;
  if (large_) worker_.give_buffer(std::move(large_));
  worker_.leave(entry_);
}

void Session::look_at_deadline(SteadyPoint now) {
  if (activity_ != Activity::Reading || now < deadline_ || too_slow_) return;
  too_slow_ = true;
  stream_.interrupt();
}

void Session::stop() {
  stopping_ = true;
  switch (activity_) {
    case Activity::Opening:
      return stream_.close();
    case Activity::Reading:
      return stream_.interrupt();
    case Activity::Storing:
      return conversation_->stop_after_storage();
    case Activity::Other:
      wake_.cancel();
      return;
  }
}

void Session::abandon() {
  abandoned_ = true;
  stopping_ = true;
  stream_.close();
  wake_.cancel();
}

/// All that comes before the banner. False if it does not come to that.
asio::awaitable<bool> Session::open() {
  const std::size_t max_sessions = worker_.options()->limits.sessions;
  const std::size_t max_per_client = worker_.options()->limits.sessions_per_client;
  asio::ip::address client = unmapped(stream_.remote().address());
  bool is_known = true;
  if (is_in(client, listener_->proxy_protocol_from)) {
    place_ = worker_.shared().admission.enter("proxy", max_sessions, max_sessions);
    if (!place_) co_return false;
    const auto told = co_await read_proxy_header();
    if (!told) co_return false;
    is_known = !told->is_unspecified();  // a proxy that speaks for itself is nobody's client
    if (is_known) client = unmapped(*told);
    place_ = {};
  }
  place_ = worker_.shared().admission.enter(client_key(client), max_sessions, max_per_client);
  const bool is_implicit = listener_->tls == ListenerTls::Implicit;
  if (is_implicit && place_) {
    if (const auto done = co_await stream_.accept_tls(listener_->tls_context.get(), kHandshakeLimit); !done)
      co_return false;
  }
  Conversation::Start start{.listener = listener_,
                            .session_id = worker_.shared().next_session_id(),
                            .client = address_literal(client),
                            .is_trusted = is_known && is_in(client, listener_->trusted_networks),
                            .is_tls = is_implicit};
  conversation_.emplace(worker_, std::move(start));
  client_ = client_key(client);
  activity_ = Activity::Other;
  if (place_) co_return true;
  if (!is_implicit) {  // a handshake for each one turned away would cost more than the session
    conversation_->on_crowded();
    co_await flush();
    stream_.close_gracefully();
  }
  co_return false;
}

/// The client's address; unspecified if the proxy does not say; empty if no header came.
asio::awaitable<std::optional<asio::ip::address>> Session::read_proxy_header() {
  const SteadyPoint deadline = worker_.shared().clock.steady() + kProxyHeaderLimit;
  std::string header(kProxyFixedBytes, '\0');
  if (const auto done = co_await read_exactly(header.data(), header.size(), deadline); !done) co_return std::nullopt;
  const auto rest = proxy_rest_bytes(header);
  if (!rest) {
    log::warn("connection without PROXY header",
              {{"proxy", stream_.remote().address().to_string()}, {"error", rest.error().detail}});
    co_return std::nullopt;
  }
  header.resize(kProxyFixedBytes + *rest);
  if (const auto done = co_await read_exactly(header.data() + kProxyFixedBytes, *rest, deadline); !done)
    co_return std::nullopt;
  const auto address = parse_proxy_header(header);
  if (!address) {
    log::warn("connection with a malformed PROXY header",
              {{"proxy", stream_.remote().address().to_string()}, {"error", address.error().detail}});
    co_return std::nullopt;
  }
  co_return address->value_or(asio::ip::address());
}

/// No octet more: what follows may be TLS.
asio::awaitable<bool> Session::read_exactly(char* into, std::size_t bytes, SteadyPoint deadline) {
  while (bytes != 0) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - worker_.shared().clock.steady());
    if (left <= milliseconds(0)) co_return false;
    const auto got = co_await stream_.read_some(asio::buffer(into, bytes), left);
    if (!got) co_return false;
    into += *got;
    bytes -= *got;
  }
  co_return true;
}

asio::awaitable<void> Session::converse() {
  bool is_waited_for = false;  // the client's time runs from when it is its turn
  while (!abandoned_) {
    if (stopping_) conversation_->on_stopping();
    const Conversation::Step step = conversation_->advance({data() + begin_, end_ - begin_});
    if (step.need == Conversation::Need::Password) OPENSSL_cleanse(data() + begin_, step.consumed);
    begin_ += step.consumed;
    if (step.consumed != 0 || step.need != Conversation::Need::Input) is_waited_for = false;
    switch (step.need) {
      case Conversation::Need::Input:
        if (const auto done = co_await flush(); !done) co_return;
        if (!is_waited_for) extend_deadline();
        is_waited_for = true;
        if (const auto done = co_await fill(); !done) co_return;
        break;
      case Conversation::Need::Flush:
        if (const auto done = co_await flush(); !done) co_return;
        break;
      case Conversation::Need::Domain:
        co_await look_up_domain();
        break;
      case Conversation::Need::Password:
        co_await check_password();
        break;
      case Conversation::Need::StartTls:
        if (const auto done = co_await start_tls(); !done) co_return;
        break;
      case Conversation::Need::Encoding:
        if (const auto done = co_await encode(); done) co_await store();
        break;
      case Conversation::Need::Storage:
        co_await store();
        break;
      case Conversation::Need::Close:
        if (const auto done = co_await flush(); done) stream_.close_gracefully();
        co_return;
    }
  }
}

/// The time for the next line begins when the last one has been used, so that octets that come one by one do not extend
/// it; a content has the time between two reads, and kContentLimit in all.
void Session::extend_deadline() {
  const SteadyPoint now = worker_.shared().clock.steady();
  deadline_ = now + worker_.options()->limits.idle;
  if (!conversation_->holds_content() && !conversation_->is_in_content()) return;
  if (conversation_->contents() != content_) {
    content_ = conversation_->contents();
    content_deadline_ = now + kContentLimit;
  }
  deadline_ = std::min(deadline_, content_deadline_);
}

/// Reads once. False if the connection is over.
asio::awaitable<bool> Session::fill() {
  make_room();
  if (stopping_) co_return true;
  const std::size_t room = capacity() - end_;
  activity_ = Activity::Reading;
  const auto got =
      co_await stream_.read_some(asio::buffer(data() + end_, room), worker_.options()->limits.idle + kBeyondIdle);
  activity_ = Activity::Other;
  if (got) {
    filled_ = *got == room;
    end_ += *got;
    too_slow_ = false;  // it came at the last moment
    co_return true;
  }
  if (abandoned_ || got.error().code != std::errc::operation_canceled) co_return false;
  if (too_slow_ && !stopping_) conversation_->on_idle();
  co_return true;
}

/// Moves what is left to the front, and chooses the buffer: the large one for content, and while commands come faster
/// than the small one takes them.
void Session::make_room() {
  const std::size_t left = end_ - begin_;
  const bool wants_large = conversation_->is_in_content() || filled_ || left > small_.size() / 2;
  if (wants_large && !large_) {
    large_ = worker_.take_buffer();
    std::memcpy(large_->data(), small_.data() + begin_, left);
  } else if (!wants_large && large_) {
    std::memcpy(small_.data(), large_->data() + begin_, left);
    worker_.give_buffer(std::move(large_));
  } else if (begin_ != 0) {
    std::memmove(data(), data() + begin_, left);
  }
  begin_ = 0;
  end_ = left;
}

/// False if the client cannot be reached any more.
asio::awaitable<bool> Session::flush() {
  std::string& replies = conversation_->replies();
  if (replies.empty()) co_return true;
  const auto sent = co_await stream_.write(asio::buffer(replies), worker_.options()->limits.idle);
  constexpr std::size_t kKeptBytes = 512;
  if (replies.capacity() > kKeptBytes) {
    std::string().swap(replies);
  } else {
    replies.clear();
  }
  co_return sent.has_value();
}

asio::awaitable<void> Session::look_up_domain() {
  const SteadyPoint begin = worker_.shared().clock.steady();
  if (conversation_->transactions() != patient_in_) {
    patient_in_ = conversation_->transactions();
    domain_patience_ = kDomainPatience;
  }
  const DomainVerdict verdict =
      co_await worker_.domains().check(conversation_->domain(), std::min(domain_patience_, DomainChecker::kPatience));
  const auto took = std::chrono::duration_cast<Duration>(worker_.shared().clock.steady() - begin);
  domain_patience_ = std::max(Duration(0), domain_patience_ - took);
  conversation_->on_domain(verdict);
}

asio::awaitable<void> Session::check_password() {
  expect_answer();
  worker_.shared().authenticator.check(client_, conversation_->take_credentials(),
                                       [answer = answer_, inbox = worker_.inbox()](AuthResult result) {
                                         answer->password = result;
                                         inbox->deliver(answer);
                                       });
  co_await wait_for_answer();
  if (!answer_->delivered) co_return;  // stopping
  const AuthResult result = *answer_->password;
  co_await pause(result.delay);
  conversation_->on_password(result.verdict);
}

asio::awaitable<bool> Session::start_tls() {
  if (const auto done = co_await flush(); !done) co_return false;
  // What came behind the command came in the clear, perhaps from somebody in between (RFC 3207 section 6).
  begin_ = end_ = 0;
  activity_ = Activity::Opening;
  if (stopping_) co_return false;
  const auto info = co_await stream_.accept_tls(listener_->tls_context.get(), kHandshakeLimit);
  activity_ = Activity::Other;
  if (!info) co_return false;
  conversation_->on_tls();
  co_return true;
}

/// True if the message is to be stored now. Past the end of data nothing is broken off: as in store().
asio::awaitable<bool> Session::encode() {
  expect_answer();
  worker_.shared().encoder.encode(conversation_->take_content(),
                                  [answer = answer_, inbox = worker_.inbox()](Encoded content) {
                                    answer->encoded = std::move(content);
                                    inbox->deliver(answer);
                                  });
  activity_ = Activity::Storing;
  if (stopping_) conversation_->stop_after_storage();
  co_await wait_for_answer();
  activity_ = Activity::Other;
  if (!answer_->delivered) co_return false;  // abandoned
  Encoded content = std::move(*answer_->encoded);
  answer_->encoded.reset();
  co_return conversation_->on_encoded(std::move(content));
}

asio::awaitable<void> Session::store() {
  queue::NewMessage message = conversation_->take_message();
  const std::size_t recipients = message.envelope.recipients.size();
  expect_answer();
  worker_.shared().spool.accept(std::move(message),
                                [answer = answer_, inbox = worker_.inbox()](Result<queue::MessageId> id) {
                                  answer->stored = std::move(id);
                                  inbox->deliver(answer);
                                });
  activity_ = Activity::Storing;
  if (stopping_) conversation_->stop_after_storage();
  co_await wait_for_answer();
  activity_ = Activity::Other;
  if (!answer_->delivered) co_return;  // abandoned
  const Result<queue::MessageId>& stored = *answer_->stored;
  if (!stored) {
    conversation_->on_stored(std::unexpected(stored.error()));
  } else {
    worker_.shared().messages.fetch_add(1, std::memory_order_relaxed);
    worker_.shared().recipients.fetch_add(recipients, std::memory_order_relaxed);
    conversation_->on_stored(stored->to_string());
  }
}

void Session::expect_answer() {
  if (!answer_) answer_ = std::make_shared<PendingAnswer>();
  answer_->wake = &wake_;
  answer_->delivered = false;
}

/// Returns early when abandoned, or when stopping and the answer is not the spool's.
asio::awaitable<void> Session::wait_for_answer() {
  while (!answer_->delivered && !abandoned_ && !(stopping_ && activity_ != Activity::Storing)) {
    co_await wake_.async_wait(kAwait);
  }
  // An answer that still comes must not meet the next question.
  if (!answer_->delivered) answer_->wake = nullptr;
}

asio::awaitable<void> Session::pause(Duration how_long) {
  if (how_long <= Duration(0) || stopping_) co_return;
  wake_.expires_after(how_long);
  co_await wake_.async_wait(kAwait);
  wake_.expires_at(asio::steady_timer::time_point::max());
}

}  // namespace danki::submission
