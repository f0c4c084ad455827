// [[source]], [[pool]], [[dkim]], [[route]], [[shaping]], [delivery], [auth], [dns]: what leaves, from where, and how.
#include "config/sections.hpp"
#include "mail/address.hpp"
#include "mail/ascii.hpp"
#include "mta/delivery/mx_targets.hpp"

#include <fmt/format.h>

namespace danki::config {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

std::optional<asio::ip::address> address(TableReader& table, std::string_view key, const std::string& written) {
  boost::system::error_code failed;
  auto parsed = asio::ip::make_address(written, failed);
  if (!failed) return parsed;
  table.problem(
      key, fmt::format("\"{}\" is no IPv4 or IPv6 address{}", written, key == "address" ? " and not \"any\"" : ""));
  return std::nullopt;
}

}  // namespace

void read_source(Draft& draft, TableReader& table) {
  delivery::SourceOptions source;
  source.name = table.required_text("name");
  draft.define(table, "source", source.name);
  std::string written = table.required_text("address");
  if (!written.empty() && written != "any") source.address = address(table, "address", written);
  if (table.has("public_address")) {
    source.public_address = address(table, "public_address", table.required_text("public_address"));
  }
  if (source.address && source.public_address && source.address->is_v4() != source.public_address->is_v4()) {
    table.problem("public_address", "is of another family than address; both must be IPv4 or both IPv6");
  }
  for (const auto& [name, other] : draft.config.delivery.sources) {
    if (source.address && other.address == source.address)
      table.warn("address", fmt::format("{} is also the address of \"{}\": receivers see one source", written, name));
  }
  source.weight = table.real("weight", 1, 0.001, 1000);
  source.ehlo = table.text("ehlo", "");
  if (!source.ehlo.empty()) {
    if (auto normal = mail::normalise_domain(source.ehlo)) {
      source.ehlo = *normal;
    } else {
      table.problem("ehlo", fmt::format("\"{}\" is no host name: {}", source.ehlo, normal.error().message()));
    }
  }
  table.finish();
  std::string name = source.name;
  draft.config.delivery.sources.emplace(std::move(name), std::move(source));
}

void read_pool(Draft& draft, TableReader& table) {
  delivery::PoolOptions pool;
  pool.name = table.required_text("name");
  draft.define(table, "pool", pool.name);
  std::map<std::string, std::string> seen;
  auto read = [&](std::string_view key, std::vector<std::string>& into) {
    std::vector<PlacedText> names = table.placed_texts(key);
    draft.refer_all(table, key, "source", names);
    for (auto& [name, where] : names) {
      auto [first, is_new] = seen.emplace(name, where);
      if (!is_new) table.problem_at(where, key, fmt::format("\"{}\" is already listed at {}", name, first->second));
      into.push_back(std::move(name));
    }
  };
  read("sources", pool.sources);
  read("standby", pool.standby);
  if (pool.sources.empty()) table.problem("sources", "is missing or empty; a pool needs at least one source");
  table.finish();
  std::string name = pool.name;
  draft.config.delivery.pools.emplace(std::move(name), std::move(pool));
}

namespace {

/// Both stand in the signature and in a DNS name (RFC 6376 sections 3.1 and 3.5): d= is a domain, never an address
/// literal, and s= is made of the same labels, in ASCII.
bool check_dkim_names(TableReader& table, dkim::KeyOptions& key) {
  constexpr std::size_t kMaxDnsNameBytes = 253;
  auto domain = mail::normalise_domain(key.domain);
  if (!domain) {
    table.problem("domain", fmt::format("\"{}\" is no domain: {}", key.domain, domain.error().message()));
    return false;
  }
  if (domain->starts_with('[')) {
    table.problem("domain", fmt::format("\"{}\" is an address; a key is published under a domain", key.domain));
    return false;
  }
  key.domain = *domain;
  auto selector = mail::normalise_domain(key.selector);
  if (!selector || selector->starts_with('[') || !mail::iequals(*selector, key.selector)) {
    table.problem("selector",
                  fmt::format("\"{}\" is no selector; write letters, digits and hyphens, like \"s2026a\", in labels of "
                              "at most 63 with dots between them",
                              key.selector));
    return false;
  }
  if (fmt::formatted_size("{}._domainkey.{}", key.selector, key.domain) > kMaxDnsNameBytes) {
    table.problem("selector", "is too long: no DNS name of its key, selector._domainkey.domain, has over 253 octets");
    return false;
  }
  return true;
}

}  // namespace

void read_dkim(Draft& draft, TableReader& table) {
  dkim::KeyOptions key;
  key.domain = table.required_text("domain");
  key.selector = table.required_text("selector");
  std::string file = table.required_text("key_file");
  table.finish();
  if (key.domain.empty() || key.selector.empty() || file.empty()) return;
  if (!check_dkim_names(table, key)) return;
  key.key_file = draft.path(file);
  std::string identity = fmt::format("{} of {}", key.selector, key.domain);
  auto [first, is_new] = draft.places["dkim"].emplace(identity, table.where("selector"));
  if (!is_new) {
    table.problem("selector", fmt::format("{} is already used at {}", identity, first->second));
    return;
  }
  // Loaded here alone so that a bad file is told with its place; the ring of all is made at the end.
  auto loaded = dkim::KeyRing::load({key});
  if (!loaded) {
    table.problem("key_file", loaded.error().message());
    return;
  }
  for (const std::string& warning : (*loaded)->warnings()) {
    table.warn("key_file", warning);
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
  if (!route.match.empty()) {
    if (auto pattern = parse_pattern(route.match)) {
      route.match = *pattern;
    } else {
      table.problem("match",
                    fmt::format("\"{}\" is no domain; write \"example.net\", \"*.example.net\" or \"*\"", route.match));
    }
    auto [first, is_new] = draft.places["route"].emplace(route.match, table.where("match"));
    if (!is_new) table.problem("match", fmt::format("\"{}\" has its route at {} already", route.match, first->second));
  }
  draft.config.submission.routed_domains.push_back(route.match);
  draft.config.delivery.routes.push_back(std::move(route));
}

void read_shaping(Draft& draft, TableReader& table) {
  delivery::ShapingOptions shaping;
  shaping.domain = table.text("domain", "");
  shaping.site = table.text("site", "");
  shaping.provider = table.text("provider", "");
  shaping.source = table.text("source", "");
  if (!shaping.domain.empty()) {
    if (auto pattern = parse_pattern(shaping.domain)) {
      shaping.domain = *pattern;
    } else {
      table.problem("domain", fmt::format("\"{}\" is no domain; write \"example.net\", \"*.example.net\" or \"*\"",
                                          shaping.domain));
    }
  }
  if (!shaping.source.empty()) draft.refer(table, "source", "source", shaping.source);
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
  table.no_effect_yet("provider", "no provider is known, so this table fits no mail");
  table.no_effect_yet("per", "numbers are counted over the path");
  for (std::string_view key : {"connection_rate", "rate", "chunking", "address_family"}) table.no_effect_yet(key);
  table.no_effect_yet("one_domain_per_transaction", "a transaction has recipients of one domain");
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
  table.no_effect_yet("eightbit", "8-bit mail is sent as it is");
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
  table.choice("gate", {"reject", "warn", "off"}, 0);
  table.no_effect_yet("gate", "only a missing DKIM key refuses");
  table.finish();
}

void read_dns(Draft& draft, TableReader& table) {
  for (const auto& [server, where] : table.placed_texts("servers")) {
    boost::system::error_code failed;
    asio::ip::make_address(server, failed);
    if (failed && !parse_endpoint(server)) {
      table.problem_at(where, "servers",
                       fmt::format("\"{}\" is no server; write \"127.0.0.1:53\" or \"[::1]:53\"", server));
    }
    draft.config.dns.servers.push_back(server);
  }
  draft.config.dns.timeout = table.duration("timeout", draft.config.dns.timeout, 100ms, 60s);
  draft.config.dns.tries = static_cast<int>(table.number("tries", draft.config.dns.tries, 1, 10));
  table.finish();
}

}  // namespace danki::config
