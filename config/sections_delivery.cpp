// [[source]], [[pool]], [[dkim]], [[route]], [[shaping]], [delivery], [auth], [dns]: what leaves, from where, and how.
#include "config/sections.hpp"
#include "mail/address.hpp"
#include "mta/delivery/mx_targets.hpp"

#include <fmt/format.h>

namespace danki::config {

namespace asio = boost::asio;
using namespace std::chrono_literals;

void read_source(Draft& draft, TableReader& table) {
  delivery::SourceOptions source;
  source.name = table.required_text("name");
  auto address = [&](std::string_view key, const std::string& written) -> std::optional<asio::ip::address> {
    boost::system::error_code failed;
    auto parsed = asio::ip::make_address(written, failed);
    if (!failed) return parsed;
    table.problem(
        key, fmt::format("\"{}\" is no IPv4 or IPv6 address{}", written, key == "address" ? " and not \"any\"" : ""));
    return std::nullopt;
  };
  std::string written = table.required_text("address");
  if (!written.empty() && written != "any") source.address = address("address", written);
  if (table.has("public_address")) source.public_address = address("public_address", table.text("public_address", ""));
  source.weight = table.real("weight", 1, 0.001, 1000);
  source.ehlo = table.text("ehlo", "");
  if (!source.ehlo.empty()) {
    auto normal = mail::normalise_domain(source.ehlo);
    if (!normal)
      table.problem("ehlo", fmt::format("\"{}\" is no host name: {}", source.ehlo, normal.error().message()));
  }
  table.finish();
  if (source.name.empty()) return;
  std::string name = source.name;
  if (!draft.config.delivery.sources.emplace(name, std::move(source)).second) {
    table.problem("name", fmt::format("\"{}\" is already another source's", name));
  }
}

void read_pool(Draft& draft, TableReader& table) {
  delivery::PoolOptions pool;
  pool.name = table.required_text("name");
  pool.sources = table.texts("sources");
  pool.standby = table.texts("standby");
  if (pool.sources.empty()) table.problem("sources", "is missing or empty; a pool needs at least one source");
  auto check = [&](std::string_view key, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (!draft.config.delivery.sources.contains(name))
        table.problem(key, fmt::format("there is no [[source]] named \"{}\"", name));
    }
  };
  check("sources", pool.sources);
  check("standby", pool.standby);
  table.finish();
  if (pool.name.empty()) return;
  std::string name = pool.name;
  if (!draft.config.delivery.pools.emplace(name, std::move(pool)).second) {
    table.problem("name", fmt::format("\"{}\" is already another pool's", name));
  }
}

void read_dkim(Draft& draft, TableReader& table) {
  dkim::KeyOptions key;
  std::string domain = table.required_text("domain");
  key.selector = table.required_text("selector");
  std::string file = table.required_text("key_file");
  table.finish();
  if (domain.empty() || key.selector.empty() || file.empty()) return;
  auto normal = mail::normalise_domain(domain);
  if (!normal) {
    table.problem("domain", fmt::format("\"{}\" is no domain: {}", domain, normal.error().message()));
    return;
  }
  key.domain = *normal;
  key.key_file = draft.path(file);
  // Loaded here alone so that a bad file is told with its place; the ring of all is made at the end.
  auto loaded = dkim::KeyRing::load({key});
  if (!loaded) {
    table.problem("key_file", loaded.error().message());
    return;
  }
  for (const std::string& warning : (*loaded)->warnings()) {
    draft.config.warnings.push_back(table.where("key_file") + ": dkim.key_file: " + warning);
  }
  draft.config.dkim.push_back(std::move(key));
}

void read_route(Draft& draft, TableReader& table) {
  delivery::RouteOptions route;
  route.match = table.required_text("match");
  route.next_hop = table.required_text("next_hop");
  if (!route.next_hop.empty() && !delivery::parse_next_hop(route.next_hop)) {
    table.problem(
        "next_hop",
        fmt::format("\"{}\" is no next hop; write \"host\", \"host:port\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"",
                    route.next_hop));
  }
  table.finish();
  draft.config.submission.routed_domains.push_back(route.match);
  draft.config.delivery.routes.push_back(std::move(route));
}

void read_shaping(Draft& draft, TableReader& table) {
  delivery::ShapingOptions shaping;
  shaping.domain = table.text("domain", "");
  shaping.site = table.text("site", "");
  shaping.provider = table.text("provider", "");
  shaping.source = table.text("source", "");
  shaping.per =
      static_cast<delivery::ShapingPer>(table.choice("per", {"path", "source-provider", "site", "provider"}, 0));
  shaping.connections = table.count_setting("connections");
  shaping.connection_rate = table.rate_setting("connection_rate");
  shaping.messages_per_connection = table.count_setting("messages_per_connection");
  shaping.rate = table.rate_setting("rate");
  shaping.recipients_per_transaction = table.count_setting("recipients_per_transaction");
  shaping.one_domain_per_transaction = table.flag_setting("one_domain_per_transaction");
  if (table.has("tls")) {
    shaping.tls = {delivery::Setting<delivery::TlsPolicy>::Kind::Value,
                   static_cast<delivery::TlsPolicy>(table.choice("tls", {"none", "opportunistic", "require"}, 1))};
  }
  shaping.chunking = table.flag_setting("chunking");
  if (table.has("address_family")) {
    shaping.address_family = {
        delivery::Setting<delivery::AddressFamily>::Kind::Value,
        static_cast<delivery::AddressFamily>(table.choice("address_family", {"any", "ipv4", "ipv6"}, 0))};
  }
  shaping.where = table.where();
  // Says so rather than let an operator believe in a limit that is not kept.
  for (std::string_view key :
       {"provider", "per", "connection_rate", "rate", "one_domain_per_transaction", "chunking", "address_family"}) {
    bool harmless =
        (key == "per" && shaping.per == delivery::ShapingPer::Path) ||
        (key == "rate" && shaping.rate.kind == delivery::Setting<delivery::Rate>::Kind::None) ||
        (key == "connection_rate" && shaping.connection_rate.kind == delivery::Setting<delivery::Rate>::Kind::None);
    if (table.has(key) && !harmless) {
      draft.config.warnings.push_back(fmt::format("{}: shaping.{}: has no effect yet", table.where(key), key));
    }
  }
  table.finish();
  draft.config.delivery.shaping.push_back(std::move(shaping));
}

void read_delivery(Draft& draft, TableReader& table) {
  delivery::Options& options = draft.config.delivery;
  options.transactional_retries = table.durations("transactional_retries", options.transactional_retries);
  options.bulk_retries = table.durations("bulk_retries", options.bulk_retries);
  auto seconds = [](std::chrono::milliseconds ms) { return std::chrono::duration_cast<std::chrono::seconds>(ms); };
  submission::Options& submission = draft.config.submission;
  submission.transactional_expiry =
      seconds(table.duration("transactional_expiry", submission.transactional_expiry, 1s, 30 * 24h));
  submission.bulk_expiry = seconds(table.duration("bulk_expiry", submission.bulk_expiry, 1s, 30 * 24h));
  options.bulk_share = table.real("bulk_share", options.bulk_share, 0, 1);
  options.eightbit_convert = table.choice("eightbit", {"convert", "bounce"}, 0) == 0;
  if (table.has("eightbit"))
    draft.config.warnings.push_back(table.where("eightbit") +
                                    ": delivery.eightbit: has no effect yet; 8-bit mail is sent as it is");
  options.sign_max_age = seconds(table.duration("sign_max_age", options.sign_max_age, 60s, 30 * 24h));
  options.shutdown_grace = table.duration("shutdown_grace", options.shutdown_grace, 0s, 1h);
  options.allow_private_mx = table.flag("allow_private_mx", false);
  delivery::Timeouts& timeouts = options.timeouts;
  timeouts.connect = table.duration("connect_timeout", timeouts.connect, 1s, 10min);
  timeouts.idle = table.duration("idle_timeout", timeouts.idle, 100ms, 10min);
  table.finish();
}

void read_auth(Draft& draft, TableReader& table) {
  draft.config.delivery.send_unsigned = table.choice("missing_key", {"refuse", "send_unsigned"}, 0) == 1;
  std::size_t gate = table.choice("gate", {"reject", "warn", "off"}, 0);
  if (table.has("gate") && gate != 2)
    draft.config.warnings.push_back(table.where("gate") +
                                    ": auth.gate: has no effect yet; only a missing DKIM key refuses");
  table.finish();
}

void read_dns(Draft& draft, TableReader& table) {
  draft.config.dns.servers = table.texts("servers");
  for (const std::string& server : draft.config.dns.servers) {
    boost::system::error_code failed;
    asio::ip::make_address(server, failed);
    if (failed && !parse_endpoint(server)) {
      table.problem("servers", fmt::format("\"{}\" is no server; write \"127.0.0.1:53\" or \"[::1]:53\"", server));
    }
  }
  draft.config.dns.timeout = table.duration("timeout", draft.config.dns.timeout, 100ms, 60s);
  draft.config.dns.tries = static_cast<int>(table.number("tries", draft.config.dns.tries, 1, 10));
  table.finish();
}

}  // namespace danki::config
