#include "queue/ledger.hpp"

#include <algorithm>
#include <map>
#include <string_view>

namespace danki::queue {

TimePoint first_due(const mail::Envelope& envelope) {
  const TimePoint due = std::max(envelope.arrived_at, envelope.not_before);
  return envelope.expires_at == TimePoint{} ? due : std::min(due, envelope.expires_at);
}

std::unique_ptr<Ledger> new_ledger(const mail::Envelope& envelope) {
  auto ledger = std::make_unique<Ledger>();
  const TimePoint due = first_due(envelope);
  const auto& recipients = envelope.recipients;
  ledger->flags.resize(recipients.size());
  ledger->pending = recipients.size();
  std::map<std::string_view, std::size_t> record_of;
  for (std::uint32_t i = 0; i < recipients.size(); ++i) {
    const auto [at, fresh] = record_of.try_emplace(recipients[i].address.domain, ledger->records.size());
    if (fresh) ledger->records.push_back({.due = due, .recipients = {}});
    ledger->records[at->second].recipients.push_back(i);
  }
  return ledger;
}

LaneKey lane_of(const mail::Envelope& envelope, std::uint32_t recipient) {
  return {.domain = envelope.recipients[recipient].address.domain, .klass = envelope.klass, .tenant = envelope.tenant};
}

DueEntry due_entry(const Message& message, const Ledger::Record& record) {
  return {.lane = lane_of(message.envelope, record.recipients.front()),
          .due = record.due,
          .id = message.id,
          .recipients = record.recipients};
}

}  // namespace danki::queue
