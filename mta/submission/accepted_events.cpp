#include "mta/submission/accepted_events.hpp"

namespace danki::submission {
namespace {

void add(const queue::Accepted& one, TimePoint now, std::vector<events::Event>& events) {
  const mail::Envelope& envelope = one.message->envelope;
  const std::string id = one.message->id.to_string();
  const std::string from = envelope.reverse_path.is_null() ? "<>" : envelope.reverse_path.to_string();
  for (const mail::Recipient& recipient : envelope.recipients) {
    events::Event& event = events.emplace_back();
    event.type = events::Type::Accepted;
    event.at = now;
    event.id = id;
    event.tenant = envelope.tenant;
    event.klass = envelope.klass;
    event.campaign = envelope.campaign;
    event.from = from;
    event.to = recipient.address.to_string();
    event.size = envelope.size;
    event.pool = envelope.pool;
    event.session = envelope.session;
    if (one.report_on) event.reason = "report on " + one.report_on->to_string();
  }
}

}  // namespace

void record_accepted(const std::vector<queue::Accepted>& batch, events::EventLog& events, const Clock& clock) {
  const TimePoint now = clock.now();
  std::vector<events::Event> accepted;
  accepted.reserve(batch.size());
  for (const queue::Accepted& one : batch) {
    add(one, now, accepted);
  }
  events.write(accepted);
}

}  // namespace danki::submission
