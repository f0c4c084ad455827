#include "mta/daemon/daemon_ports.hpp"

#include "base/version.hpp"

#include <future>

namespace danki::daemon {

std::shared_ptr<const config::Config> CurrentConfig::get() const {
  std::lock_guard lock(mutex_);
  return config_;
}

void CurrentConfig::set(std::shared_ptr<const config::Config> config) {
  std::lock_guard lock(mutex_);
  config_ = std::move(config);
}

std::string SubmissionPorts::refuse_from_domain(const std::string&, const std::string& from_domain) {
  auto config = config_.get();
  if (config->delivery.send_unsigned || config->keys->has_key(from_domain)) return {};
  return "no DKIM key for " + from_domain + "; this relay does not send unsigned mail";
}

std::string SubmissionPorts::refuse_recipient(const std::string&, const mail::Address&) {
  return {};
}

std::optional<queue::NewMessage> DeliveryPorts::compose_dsn(const queue::Message& message, const std::string& content,
                                                            std::vector<mail::DsnRecipient> recipients) {
  auto config = config_.get();
  auto tenant = config->submission.tenants.find(message.envelope.tenant);
  if (tenant != config->submission.tenants.end() && !tenant->second.dsn_to_sender) return std::nullopt;
  bool transactional = message.envelope.klass == mail::MailClass::Transactional;
  bounce::ReportOptions options{
      .hostname = config->hostname,
      .expiry = transactional ? config->submission.transactional_expiry : config->submission.bulk_expiry};
  return bounce::compose_report(message, content, std::move(recipients), options, clock_.now());
}

namespace {

std::string_view to_string(queue::Refusal refusal) {
  switch (refusal) {
    case queue::Refusal::None:
      return "";
    case queue::Refusal::DiskReserve:
      return "disk reserve";
    case queue::Refusal::MemoryLimit:
      return "memory limit";
    case queue::Refusal::WriteFailed:
      return "write failed";
  }
  return "";
}

}  // namespace

void AdminPorts::status(std::function<void(admin::StatusView)> done) {
  // All but the scheduler's own numbers is gathered here, on the caller's thread: its strand only fills those in.
  admin::StatusView view;
  view.version = kVersion;
  view.hostname = config_.get()->hostname;
  view.started_at = started_at_;
  submission::Stats server = server_.stats();
  view.messages = server.messages;
  view.recipients = server.recipients;
  view.sessions = server.sessions;
  view.unrecorded_outcomes = spool_.stats().unrecorded_outcomes;
  view.refusing = std::string(to_string(spool_.refusal()));
  for (const auto& endpoint : server_.addresses()) {
    std::string host = endpoint.address().to_string();
    if (endpoint.address().is_v6()) host = "[" + host + "]";
    view.listeners.push_back(host + ":" + std::to_string(endpoint.port()));
  }
  delivery_.view([view = std::move(view), done = std::move(done)](delivery::DeliveryView delivery) mutable {
    view.queued = delivery.counts.entries;
    view.delivered = delivery.counts.delivered;
    view.deferred = delivery.counts.deferred;
    view.bounced = delivery.counts.bounced;
    view.expired = delivery.counts.expired;
    view.connections_out = delivery.counts.connections;
    for (delivery::SourceView& source : delivery.sources) {
      view.sources.push_back({.name = std::move(source.name),
                              .address = std::move(source.address),
                              .state = std::move(source.state),
                              .reason = std::move(source.reason),
                              .delivered = source.delivered,
                              .deferred = source.deferred,
                              .bounced = source.bounced,
                              .connections = source.connections});
    }
    done(std::move(view));
  });
}

void AdminPorts::sites(std::function<void(std::vector<admin::SiteView>)> done) {
  delivery_.sites([done = std::move(done)](std::vector<delivery::SiteSummary> sites) {
    std::vector<admin::SiteView> views;
    for (delivery::SiteSummary& site : sites) {
      views.push_back({.site = std::move(site.site),
                       .provider = std::move(site.provider),
                       .transactional = site.transactional,
                       .bulk = site.bulk,
                       .ready = site.ready,
                       .in_flight = site.in_flight,
                       .connections = site.connections,
                       .earliest_due = site.earliest_due,
                       .last_reply = std::move(site.last_reply),
                       .state = std::move(site.state)});
    }
    done(std::move(views));
  });
}

void AdminPorts::retry(admin::Selector selector, std::function<void(std::uint64_t)> done) {
  delivery::EntrySelector wanted{.id = std::move(selector.id),
                                 .site = std::move(selector.site),
                                 .domain = std::move(selector.domain),
                                 .tenant = std::move(selector.tenant),
                                 .campaign = std::move(selector.campaign),
                                 .klass = selector.klass,
                                 .older_than = selector.older_than};
  delivery_.retry(std::move(wanted), std::move(done));
}

std::string AdminPorts::site_of(const std::string& domain) {
  std::promise<std::string> answer;
  delivery_.site_of(domain, [&answer](std::string site) { answer.set_value(std::move(site)); });
  return answer.get_future().get();
}

std::string AdminPorts::prepared_lines(queue::MessageId id) {
  auto message = spool_.load(id);
  if (!message) return {};
  auto prepared = (*message)->prepared();
  return prepared ? prepared->header_lines : std::string();
}

void AdminPorts::reload(std::function<void(Result<void>)> done) {
  reload_(std::move(done));
}

}  // namespace danki::daemon
