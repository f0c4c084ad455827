#include "mta/delivery/egress_connection.hpp"

#include <algorithm>

#include <boost/asio/use_awaitable.hpp>

namespace danki::delivery {

namespace asio = boost::asio;

EgressConnection::EgressConnection(asio::any_io_executor executor, ConnectionPlan plan, Owner& owner)
    : executor_(executor),
      plan_(std::move(plan)),
      owner_(owner),
      idle_timer_(executor),
      max_recipients_(plan_.max_recipients) {}

void EgressConnection::assign(std::vector<WorkItem> items) {
  if (ending_) return;  // its owner hears of the end and gives them to another one
  for (WorkItem& item : items) work_.push_back(std::move(item));
  wake();
}

void EgressConnection::close_when_done() {
  closing_ = true;
  wake();
}

void EgressConnection::finish_current() {
  closing_ = true;
  last_transaction_ = true;
  work_.clear();
  wake();
}

bool EgressConnection::awaiting_final_reply() const {
  return session_ && session_->awaiting_final_reply();
}

void EgressConnection::abort() {
  aborted_ = true;
  closing_ = true;
  wake();
  if (session_) session_->close();
}

/// Ends a wait for work; nothing else is under way on the session then.
void EgressConnection::wake() {
  if (waiting_) session_->stop_waiting();
}

/// The host is listened to meanwhile: one that closes first is not offered the next message.
asio::awaitable<bool> EgressConnection::wait_for_work() {
  waiting_ = true;
  idle_timer_.expires_after(plan_.session.timeouts.idle);
  idle_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](boost::system::error_code aborted) {
    if (aborted || alive.expired() || !waiting_) return;
    if (idle_timer_.expiry() > std::chrono::steady_clock::now()) return;  // of an earlier wait
    closing_ = true;
    wake();
  });
  co_await session_->wait_closed();
  waiting_ = false;
  idle_timer_.cancel();
  co_return session_->usable();
}

asio::awaitable<void> EgressConnection::run() {
  auto opened = co_await SmtpSession::open(executor_, plan_.targets, plan_.session);
  if (!opened) {
    owner_.connect_failed(plan_.id, opened.error());
    co_return;
  }
  session_.emplace(std::move(*opened));
  owner_.connected(plan_.id);
  bool usable = true;
  while (usable && !aborted_) {
    if (work_.empty()) {
      if (closing_) break;
      usable = co_await wait_for_work();
      continue;
    }
    WorkItem work = std::move(work_.front());
    work_.pop_front();
    usable = co_await send(std::move(work));
  }
  ending_ = true;
  if (usable && !aborted_) {
    owner_.ending(plan_.id);
    co_await session_->quit();
  }
  owner_.closed(plan_.id);
}

asio::awaitable<bool> EgressConnection::send(WorkItem work) {
  AttemptReport report;
  report.connection = plan_.id;
  report.item = work.item;
  report.target = session_->target();
  report.delivered_before = delivered_;
  report.host_has_dsn = session_->extensions().dsn;
  if (const auto& tls = session_->tls_info()) {
    std::string policy = plan_.session.tls == TlsPolicy::Require ? "require" : "opportunistic";
    report.tls = events::Event::Tls{tls->version, tls->cipher, policy};
  }
  std::shared_ptr<const std::string> content = work.message->content();
  if (!content) {
    auto read = co_await owner_.read_content(work.message);
    if (!read) {
      const bool ends = aborted_ || read.error().code == std::errc::operation_canceled;
      std::string error = "reading the content: " + read.error().message();
      for (std::uint32_t index : work.recipients) {
        report.results.push_back({.recipient = index,
                                  .kind = ends ? RecipientResult::Kind::Untouched : RecipientResult::Kind::Transient,
                                  .stage = Stage::Mail,
                                  .reply = {},
                                  .error = error});
      }
      owner_.report(std::move(report));
      co_return true;
    }
    content = *read;
  }
  bool usable = true;
  bool any_delivered = false;
  std::vector<std::uint32_t> left = std::move(work.recipients);
  for (bool first = true; !left.empty() && usable && !aborted_ && (first || !last_transaction_); first = false) {
    const auto end = left.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(max_recipients_, left.size()));
    TransactionRequest request;
    request.message = work.message;
    request.content = content;
    request.prepared = work.message->prepared();
    request.recipients.assign(left.begin(), end);
    left.erase(left.begin(), end);
    TransactionResult result = co_await session_->deliver(std::move(request));
    report.duration += result.duration;
    std::vector<std::uint32_t> too_many;
    for (RecipientResult& recipient : result.recipients) {
      any_delivered = any_delivered || recipient.kind == RecipientResult::Kind::Delivered;
      if (recipient.kind == RecipientResult::Kind::Untouched && result.session_usable) {
        too_many.push_back(recipient.recipient);
        continue;
      }
      // We cut the connection ourselves: no deferral happened.
      if (aborted_ && recipient.kind == RecipientResult::Kind::Transient && !recipient.reply) {
        recipient.kind = RecipientResult::Kind::Untouched;
      }
      report.results.push_back(std::move(recipient));
    }
    if (!too_many.empty()) {
      // The next transaction takes them, and asks for no more than this host takes at once. Others were accepted
      // before, so there are fewer each time.
      max_recipients_ =
          static_cast<std::uint32_t>(std::max<std::size_t>(1, result.recipients.size() - too_many.size()));
      left.insert(left.begin(), too_many.begin(), too_many.end());
    }
    usable = result.session_usable;
    report.failure = std::move(result.failure);
  }
  for (std::uint32_t index : left) {
    report.results.push_back(
        {.recipient = index, .kind = RecipientResult::Kind::Untouched, .stage = Stage::Mail, .reply = {}, .error = {}});
  }
  std::sort(report.results.begin(), report.results.end(),
            [](const RecipientResult& a, const RecipientResult& b) { return a.recipient < b.recipient; });
  if (any_delivered) ++delivered_;
  owner_.report(std::move(report));
  co_return usable;
}

}  // namespace danki::delivery
