#include "admin/json_views.hpp"

#include "base/utf8.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace danki::admin {
namespace json = boost::json;

namespace {

/// Remote text may be any octets; JSON must be UTF-8 (RFC 8259 section 8.1).
json::string text(std::string_view raw) {
  json::string clean;
  while (!raw.empty()) {
    const std::size_t length = utf8_sequence_length(raw);
    const std::string_view sequence = length == 0 ? "\xEF\xBF\xBD" : raw.substr(0, length);
    clean.append(json::string_view(sequence.data(), sequence.size()));
    raw.remove_prefix(length == 0 ? 1 : length);
  }
  return clean;
}

void add_text(json::object& object, std::string_view name, std::string_view value) {
  if (!value.empty()) object[{name.data(), name.size()}] = text(value);
}

void add_time(json::object& object, std::string_view name, TimePoint time) {
  if (time != TimePoint{}) object[{name.data(), name.size()}] = to_rfc3339(time);
}

void add_reply(json::object& object, const std::optional<mail::Reply>& reply) {
  if (!reply) return;
  json::object inner{{"code", reply->code}};
  if (reply->enhanced) inner["enhanced"] = reply->enhanced->to_string();
  add_text(inner, "text", reply->text);
  object["last_reply"] = std::move(inner);
}

json::string name_of(mail::MailClass klass) {
  return text(mail::to_string(klass));
}

std::string_view name_of(queue::RecipientProgress::State state) {
  switch (state) {
    case queue::RecipientProgress::State::Pending:
      return "pending";
    case queue::RecipientProgress::State::Delivered:
      return "delivered";
    case queue::RecipientProgress::State::Bounced:
      return "bounced";
    case queue::RecipientProgress::State::Expired:
      return "expired";
  }
  return "pending";
}

json::object source_object(const StatusView::Source& source) {
  json::object object{{"name", text(source.name)},        {"address", text(source.address)},
                      {"state", text(source.state)},      {"delivered", source.delivered},
                      {"deferred", source.deferred},      {"bounced", source.bounced},
                      {"connections", source.connections}};
  add_text(object, "reason", source.reason);
  return object;
}

json::object site_object(const SiteView& site) {
  json::object object{{"site", text(site.site)}};
  add_text(object, "provider", site.provider);
  object["transactional"] = site.transactional;
  object["bulk"] = site.bulk;
  object["ready"] = site.ready;
  object["in_flight"] = site.in_flight;
  object["connections"] = site.connections;
  add_time(object, "earliest_due", site.earliest_due);
  add_text(object, "state", site.state);
  add_text(object, "last_reply", site.last_reply);
  return object;
}

json::object entry_object(const ListedEntry& entry) {
  json::object object{{"id", entry.id.to_string()}};
  add_time(object, "arrived_at", entry.arrived_at);
  object["size"] = entry.size;
  object["class"] = name_of(entry.lane.klass);
  object["tenant"] = text(entry.lane.tenant);
  add_text(object, "campaign", entry.campaign);
  object["from"] = text(entry.from);
  object["domain"] = text(entry.lane.domain);
  add_text(object, "site", entry.site);
  object["to"] = text(entry.first_recipient);
  object["recipients"] = entry.recipients;
  object["attempts"] = entry.attempts;
  add_time(object, "next_attempt_at", entry.next_attempt_at);
  add_time(object, "expires_at", entry.expires_at);
  add_time(object, "last_attempt_at", entry.last_attempt_at);
  add_text(object, "last_source", entry.last_source);
  add_reply(object, entry.last_reply);
  add_text(object, "last_reason", entry.last_reason);
  return object;
}

json::object recipient_object(const mail::Recipient& recipient, const queue::RecipientProgress& progress) {
  json::object object{{"to", text(recipient.address.to_string())},
                      {"state", text(name_of(progress.state))},
                      {"attempts", progress.attempts}};
  add_time(object, "last_attempt_at", progress.last_attempt_at);
  add_text(object, "last_source", progress.last_source);
  add_text(object, "last_mx", progress.last_mx);
  add_reply(object, progress.last_reply);
  add_text(object, "reason", progress.reason);
  add_text(object, "orcpt", recipient.orcpt);
  return object;
}

json::array recipients_array(const queue::StoredMessage& message, const std::vector<std::string>& sites) {
  json::array recipients;
  const std::size_t count = std::min(message.envelope.recipients.size(), message.progress.size());
  for (std::size_t i = 0; i < count; ++i) {
    recipients.push_back(recipient_object(message.envelope.recipients[i], message.progress[i]));
  }
  for (std::size_t e = 0; e < message.entries.size(); ++e) {
    for (const std::uint32_t index : message.entries[e].recipients) {
      if (index >= count) continue;
      json::object& recipient = recipients[index].get_object();
      add_time(recipient, "next_attempt_at", message.entries[e].due);
      if (e < sites.size()) add_text(recipient, "site", sites[e]);
    }
  }
  return recipients;
}

std::string_view name_of(mail::BodyType body) {
  switch (body) {
    case mail::BodyType::SevenBit:
      return "7BIT";
    case mail::BodyType::EightBitMime:
      return "8BITMIME";
    case mail::BodyType::Binary:
      return "BINARYMIME";
  }
  return "7BIT";
}

}  // namespace

std::string error_json(std::string_view message) {
  return json::serialize(json::object{{"error", text(message)}});
}

std::string status_json(const StatusView& view, const queue::SpoolStats& spool, TimePoint now) {
  json::object object{{"version", text(view.version)}, {"hostname", text(view.hostname)}};
  add_time(object, "now", now);
  add_time(object, "started_at", view.started_at);
  object["taking_mail"] = view.refusing.empty();
  add_text(object, "refusing", view.refusing);
  object["messages"] = view.messages;
  object["recipients"] = view.recipients;
  object["queued"] = view.queued;
  object["delivered"] = view.delivered;
  object["deferred"] = view.deferred;
  object["bounced"] = view.bounced;
  object["expired"] = view.expired;
  object["sessions"] = view.sessions;
  object["connections_out"] = view.connections_out;
  object["unrecorded_outcomes"] = view.unrecorded_outcomes;
  object["spool"] = json::object{{"messages", spool.messages},
                                 {"bytes_in_memory", spool.bytes_in_memory},
                                 {"disk_free_bytes", spool.disk_free_bytes},
                                 {"syncs", spool.syncs},
                                 {"failed_writes", spool.failed_writes},
                                 {"unreadable_due_records", spool.unreadable_due_records},
                                 {"write_failing", spool.write_failing}};
  json::array sources, listeners;
  for (const StatusView::Source& source : view.sources) sources.push_back(source_object(source));
  for (const std::string& listener : view.listeners) listeners.push_back(text(listener));
  object["sources"] = std::move(sources);
  object["listeners"] = std::move(listeners);
  return json::serialize(object);
}

std::string sites_json(const std::vector<SiteView>& sites) {
  json::array array;
  for (const SiteView& site : sites) array.push_back(site_object(site));
  return json::serialize(json::object{{"sites", std::move(array)}});
}

std::string page_json(const ListPage& page) {
  json::array messages;
  for (const ListedEntry& entry : page.entries) messages.push_back(entry_object(entry));
  json::object object{{"messages", std::move(messages)}};
  add_text(object, "next_cursor", page.next_cursor);
  return json::serialize(object);
}

std::string message_json(const queue::StoredMessage& message, const std::vector<std::string>& sites) {
  const mail::Envelope& envelope = message.envelope;
  json::object object{
      {"id", message.id.to_string()}, {"tenant", text(envelope.tenant)}, {"class", name_of(envelope.klass)}};
  add_text(object, "pool", envelope.pool);
  add_text(object, "campaign", envelope.campaign);
  object["from"] = envelope.reverse_path.is_null() ? json::string("<>") : text(envelope.reverse_path.to_string());
  add_text(object, "from_domain", envelope.from_domain);
  object["size"] = envelope.size;
  object["body"] = text(name_of(envelope.body));
  object["smtputf8"] = envelope.smtputf8;
  add_text(object, "envid", envelope.envid);
  add_text(object, "session", envelope.session);
  add_time(object, "arrived_at", envelope.arrived_at);
  add_time(object, "not_before", envelope.not_before);
  add_time(object, "expires_at", envelope.expires_at);
  object["recipients"] = recipients_array(message, sites);
  return json::serialize(object);
}

}  // namespace danki::admin
