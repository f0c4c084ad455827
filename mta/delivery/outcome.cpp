#include "mta/delivery/outcome.hpp"

#include "mta/delivery/retry_schedule.hpp"

#include <algorithm>
#include <cassert>

namespace danki::delivery {

namespace {

using Action = mail::DsnRecipient::Action;

bool wants_failure_report(const queue::Message& message, const mail::Recipient& recipient) {
  if (message.envelope.reverse_path.is_null()) return false;
  if (recipient.notify == mail::kNotifyUnset) return true;
  return (recipient.notify & mail::kNotifyFailure) != 0;
}

bool wants_success_report(const queue::Message& message, const mail::Recipient& recipient) {
  return !message.envelope.reverse_path.is_null() && (recipient.notify & mail::kNotifySuccess) != 0;
}

events::Event event_for(const queue::Message& message, const mail::Recipient& recipient, const AttemptContext& context,
                        events::Type type, TimePoint now) {
  events::Event event;
  event.type = type;
  event.at = now;
  event.id = message.id.to_string();
  event.tenant = message.envelope.tenant;
  event.klass = message.envelope.klass;
  event.campaign = message.envelope.campaign;
  event.from = message.envelope.reverse_path.is_null() ? "<>" : message.envelope.reverse_path.to_string();
  event.to = recipient.address.to_string();
  event.size = message.envelope.size;
  event.site = context.site;
  event.provider = context.provider;
  event.source = context.source;
  event.source_ip = context.source_ip;
  event.pool = message.envelope.pool;
  event.mx = context.mx;
  event.mx_ip = context.mx_ip;
  event.tls = context.tls;
  event.queued_ms = (now - message.envelope.arrived_at).count();
  if (!context.mx_ip.empty()) event.delivery_ms = context.duration.count();
  return event;
}

mail::EnhancedStatus status_of(const std::optional<mail::Reply>& reply, mail::EnhancedStatus otherwise) {
  if (reply && reply->enhanced) return *reply->enhanced;
  return otherwise;
}

void add_dsn(JudgedAttempt& judged, const mail::Recipient& recipient, Action action, mail::EnhancedStatus status,
             const queue::RecipientProgress& progress, TimePoint now) {
  mail::DsnRecipient report;
  report.recipient = recipient;
  report.action = action;
  report.status = status;
  report.remote_mta = progress.last_mx;
  report.reply = progress.last_reply;
  report.reason = progress.reason;
  report.last_attempt_at = progress.last_attempt_at.time_since_epoch().count() ? progress.last_attempt_at : now;
  judged.dsn.push_back(std::move(report));
}

/// A recipient whose time is over: the last refusal stays in its record and its report.
void expire_recipient(JudgedAttempt& judged, const queue::MessagePtr& message, std::uint32_t index,
                      const queue::RecipientProgress& before, const AttemptContext& context, TimePoint now) {
  const mail::Recipient& recipient = message->envelope.recipients[index];
  queue::RecipientProgress progress = before;
  progress.state = queue::RecipientProgress::State::Expired;
  std::string last = progress.last_reply ? progress.last_reply->to_string() : progress.reason;
  if (!progress.last_reply)
    progress.reason = last.empty() ? "expired before an attempt was possible" : "expired: " + last;
  events::Event event = event_for(*message, recipient, context, events::Type::Expired, now);
  event.reply = progress.last_reply;
  event.attempt = static_cast<int>(progress.attempts);
  event.reason = "not delivered in time";
  if (!progress.last_reply && !last.empty()) event.reason += ": " + last;
  judged.events.push_back(std::move(event));
  if (wants_failure_report(*message, recipient)) {
    // RFC 3463 X.4.7: message expired.
    add_dsn(judged, recipient, Action::Failed, mail::EnhancedStatus{5, 4, 7}, progress, now);
  }
  judged.outcome.changes.push_back({index, std::move(progress)});
  ++judged.expired;
}

}  // namespace

JudgedAttempt judge(const queue::MessagePtr& message, const queue::DueEntry& entry,
                    const std::vector<RecipientResult>& results, const AttemptContext& context, TimePoint now,
                    const JudgeOptions& options, Random& random) {
  assert(results.size() == entry.recipients.size());
  JudgedAttempt judged;
  judged.outcome.message = message;
  judged.outcome.entry = entry;
  const mail::Envelope& envelope = message->envelope;
  std::vector<std::uint32_t> later;      // deferred by a reply about them
  std::vector<std::uint32_t> as_stated;  // likewise, and the reply said for how long
  std::vector<std::uint32_t> untouched;  // not tried: due as before
  TimePoint due = envelope.expires_at;
  TimePoint stated_due{};

  for (const RecipientResult& result : results) {
    std::uint32_t index = result.recipient;
    const mail::Recipient& recipient = envelope.recipients[index];
    if (result.kind == RecipientResult::Kind::Untouched) {
      untouched.push_back(index);
      continue;
    }
    queue::RecipientProgress progress = message->progress[index];
    ++progress.attempts;
    progress.last_attempt_at = now;
    progress.last_source = context.source;
    progress.last_mx = context.mx;
    progress.last_reply = result.reply;
    progress.reason = result.reply ? std::string() : result.error;
    if (result.kind == RecipientResult::Kind::Transient && now >= envelope.expires_at) {
      expire_recipient(judged, message, index, progress, context, now);
      continue;
    }
    events::Type type = events::Type::Delivered;
    switch (result.kind) {
      case RecipientResult::Kind::Delivered:
        progress.state = queue::RecipientProgress::State::Delivered;
        ++judged.delivered;
        if (wants_success_report(*message, recipient) && !context.host_has_dsn) {
          // RFC 3461 section 5.2.2: handed to a host that will not report for us.
          add_dsn(judged, recipient, Action::Relayed, status_of(result.reply, {2, 0, 0}), progress, now);
        }
        break;
      case RecipientResult::Kind::Permanent:
        type = events::Type::Bounced;
        progress.state = queue::RecipientProgress::State::Bounced;
        ++judged.bounced;
        judged.last_refusal = result.reply;
        if (wants_failure_report(*message, recipient)) {
          mail::EnhancedStatus status = status_of(result.reply, {5, 0, 0});
          status.klass = 5;  // some hosts pair a 5xx code with a 4.x.x status
          add_dsn(judged, recipient, Action::Failed, status, progress, now);
        }
        break;
      default: {
        type = events::Type::Deferred;
        ++judged.deferred;
        if (result.reply) judged.last_refusal = result.reply;
        const auto& steps =
            envelope.klass == mail::MailClass::Transactional ? *options.transactional_retries : *options.bulk_retries;
        auto stated = result.reply ? stated_retry_after(*result.reply) : std::nullopt;
        TimePoint next = std::min(envelope.expires_at, next_attempt_at(now, progress.attempts, steps, random, stated));
        if (stated) {
          // A record of their own: others, due sooner, must not bring these back before the host wants them.
          stated_due = std::max(stated_due, next);
          as_stated.push_back(index);
        } else {
          due = std::min(due, next);
          later.push_back(index);
        }
      }
    }
    events::Event event = event_for(*message, recipient, context, type, now);
    event.attempt = static_cast<int>(progress.attempts);
    event.reply = result.reply;
    if (!result.reply) event.reason = std::string(to_string(result.stage)) + ": " + result.error;
    judged.events.push_back(std::move(event));
    judged.outcome.changes.push_back({index, std::move(progress)});
  }

  judged.untouched = !untouched.empty();
  if (!later.empty()) judged.outcome.remaining.push_back({entry.lane, due, entry.id, std::move(later)});
  if (!as_stated.empty()) {
    judged.outcome.remaining.push_back({entry.lane, stated_due, entry.id, std::move(as_stated)});
  }
  if (!untouched.empty() && !judged.outcome.changes.empty()) {
    judged.outcome.remaining.push_back({entry.lane, entry.due, entry.id, std::move(untouched)});
  }
  return judged;
}

JudgedAttempt expire(const queue::MessagePtr& message, const queue::DueEntry& entry, const Hindrance& hindrance,
                     TimePoint now) {
  JudgedAttempt judged;
  judged.outcome.message = message;
  judged.outcome.entry = entry;
  for (std::uint32_t index : entry.recipients) {
    queue::RecipientProgress progress = message->progress[index];
    AttemptContext context;
    context.site = hindrance.site;
    if (!hindrance.reason.empty() && hindrance.at > progress.last_attempt_at) {
      context.source = hindrance.source;
      context.source_ip = hindrance.source_ip;
      context.mx = hindrance.mx;
      context.mx_ip = hindrance.mx_ip;
      progress.last_source = hindrance.source;
      progress.last_mx = hindrance.mx;
      progress.last_reply = hindrance.reply;
      progress.reason = hindrance.reason;
    } else {
      context.source = progress.last_source;
      context.mx = progress.last_mx;
    }
    expire_recipient(judged, message, index, progress, context, now);
  }
  for (events::Event& event : judged.events) event.delivery_ms = events::Event{}.delivery_ms;  // nothing was tried now
  return judged;
}

JudgedAttempt refuse_unsent(const queue::MessagePtr& message, const queue::DueEntry& entry, RecipientResult::Kind kind,
                            const mail::Reply& reply, const std::string& site, TimePoint now,
                            const JudgeOptions& options, Random& random) {
  std::vector<RecipientResult> results;
  for (std::uint32_t index : entry.recipients) {
    results.push_back({.recipient = index, .kind = kind, .stage = Stage::Resolve, .reply = reply, .error = {}});
  }
  AttemptContext context;
  context.site = site;
  return judge(message, entry, results, context, now, options, random);
}

}  // namespace danki::delivery
