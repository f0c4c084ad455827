#include "mta/bounce/reports.hpp"

#include "base/utf8.hpp"

namespace danki::bounce {

std::optional<queue::NewMessage> compose_report(const queue::Message& message, std::string_view content,
                                                std::vector<mail::DsnRecipient> recipients,
                                                const ReportOptions& options, TimePoint now) {
  const mail::Envelope& about = message.envelope;
  if (about.reverse_path.is_null() || recipients.empty()) return std::nullopt;
  mail::DsnRequest request{.reporting_mta = options.hostname,
                           .id = message.id.to_string(),
                           .envelope = &about,
                           .recipients = std::move(recipients),
                           .original = content,
                           .now = now,
                           .boundary = "report-" + message.id.to_string()};
  queue::NewMessage report;
  report.content = mail::build_dsn(request);
  mail::Envelope& envelope = report.envelope;
  envelope.recipients.push_back({.address = about.reverse_path, .orcpt = {}, .notify = mail::kNotifyNever});
  envelope.body = is_ascii(report.content) ? mail::BodyType::SevenBit : mail::BodyType::EightBitMime;
  envelope.smtputf8 = mail::needs_smtputf8(request);
  envelope.tenant = about.tenant;
  envelope.klass = about.klass;
  envelope.pool = about.pool;
  envelope.from_domain = options.hostname;
  envelope.session = about.session;
  envelope.size = report.content.size();
  envelope.arrived_at = now;
  envelope.expires_at = now + options.expiry;
  return report;
}

}  // namespace danki::bounce
