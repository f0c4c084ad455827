// [node], [[listener]], [[tenant]], [limits]: what the SMTP server obeys.
#include "config/sections.hpp"
#include "mail/address.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danki::config {

using namespace std::chrono_literals;

namespace {

std::vector<submission::Network> networks(TableReader& table, std::string_view key) {
  std::vector<submission::Network> found;
  for (const auto& [written, where] : table.placed_texts(key)) {
    if (auto network = parse_network(written)) {
      found.push_back(*network);
    } else {
      table.problem_at(
          where, key,
          fmt::format("\"{}\" is no network; write \"192.0.2.0/24\", \"2001:db8::/32\" or one address", written));
    }
  }
  return found;
}

void read_listener_tls(Draft& draft, TableReader& table, submission::ListenerOptions& listener) {
  listener.tls = static_cast<submission::ListenerTls>(table.choice("tls", {"none", "starttls", "implicit"}, 1));
  listener.certificate = draft.path(table.text("certificate", "")).string();
  listener.private_key = draft.path(table.text("private_key", "")).string();
  if (!table.clean()) return;
  if (listener.tls == submission::ListenerTls::None) {
    if (!listener.certificate.empty()) table.warn("certificate", "is not used: tls is \"none\"");
    return;
  }
  if (listener.certificate.empty()) table.problem("certificate", "is missing; TLS needs one, or set tls = \"none\"");
  if (listener.private_key.empty()) table.problem("private_key", "is missing; TLS needs one, or set tls = \"none\"");
  if (listener.certificate.empty() || listener.private_key.empty()) return;
  if (auto context = net::server_tls_context(listener.certificate, listener.private_key)) {
    listener.tls_context = *context;
  } else {
    table.problem("certificate", context.error().message());
  }
}

void check_who_may_send(TableReader& table, const submission::ListenerOptions& listener) {
  if (!table.clean()) return;
  bool trusts = !listener.trusted_networks.empty();
  if (trusts && listener.tenant_for_trusted.empty()) {
    table.problem("trusted_networks", "needs tenant_for_trusted: mail from there must belong to a tenant");
  } else if (!trusts && !listener.tenant_for_trusted.empty()) {
    table.warn("tenant_for_trusted", "is not used: trusted_networks is empty");
  }
  if (listener.tls == submission::ListenerTls::None && !listener.auth_without_tls && !trusts) {
    table.problem("tls",
                  "is \"none\", so without auth_without_tls = true nobody can authenticate, and trusted_networks is "
                  "empty: nobody could send");
  }
  for (const submission::Network& proxy : listener.proxy_protocol_from) {
    for (const submission::Network& trusted : listener.trusted_networks) {
      if (!overlap(proxy, trusted)) continue;
      // What a proxy sends on its own account would be relayed, and a proxy that forgets its header would open the
      // door.
      table.problem("trusted_networks", "holds an address of proxy_protocol_from; a proxy's address is never trusted");
      return;
    }
  }
}

}  // namespace

void read_node(Draft& draft, TableReader& table) {
  std::string hostname = table.required_text("hostname");
  if (!hostname.empty()) {
    auto normal = mail::normalise_domain(hostname);
    if (normal) {
      draft.config.hostname = *normal;
    } else {
      table.problem("hostname", fmt::format("\"{}\" is no host name: {}", hostname, normal.error().message()));
    }
  }
  std::string data_dir = table.text("data_dir", "/var/lib/danki");
  if (data_dir.empty()) table.problem("data_dir", "must not be empty; write a directory like \"/var/lib/danki\"");
  draft.config.data_dir = draft.path(data_dir);
  table.finish();
}

void read_listener(Draft& draft, TableReader& table) {
  submission::ListenerOptions listener;
  std::string address = table.required_text("address");
  if (auto endpoint = parse_endpoint(address)) {
    listener.address = *endpoint;
    // Port 0 is a different one each time.
    if (endpoint->port() != 0)
      draft.define(table, "listener", fmt::format("{} port {}", endpoint->address().to_string(), endpoint->port()));
  } else if (!address.empty()) {
    table.problem("address",
                  fmt::format("\"{}\" is no address with port; write \"0.0.0.0:587\" or \"[::]:587\"", address));
  }
  read_listener_tls(draft, table, listener);
  listener.require_auth = table.flag("require_auth", true);
  listener.auth_without_tls = table.flag("auth_without_tls", false);
  listener.trusted_networks = networks(table, "trusted_networks");
  listener.tenant_for_trusted = table.text("tenant_for_trusted", "");
  if (!listener.tenant_for_trusted.empty()) {
    draft.refer(table, "tenant_for_trusted", "tenant", listener.tenant_for_trusted);
  }
  listener.proxy_protocol_from = networks(table, "proxy_protocol_from");
  listener.check_recipient_domain = table.flag("check_recipient_domain", true);
  listener.long_lines = static_cast<submission::LongLines>(table.choice("long_lines", {"refuse", "encode"}, 0));
  check_who_may_send(table, listener);
  table.finish();
  draft.config.submission.listeners.push_back(std::move(listener));
}

void read_tenant(Draft& draft, TableReader& table) {
  submission::TenantOptions tenant;
  tenant.name = table.required_text("name");
  draft.define(table, "tenant", tenant.name);
  tenant.klass =
      table.choice("class", {"transactional", "bulk"}, 0) == 0 ? mail::MailClass::Transactional : mail::MailClass::Bulk;
  for (const auto& [hash, where] : table.placed_texts("password_hash")) {
    // What is written is not repeated: it may be the password itself.
    if (hash.starts_with('$')) {
      tenant.password_hashes.push_back(hash);
    } else {
      table.problem_at(where, "password_hash", "is no crypt(5) hash; write one that mkpasswd made, like \"$y$...\"");
    }
  }
  tenant.pool = table.required_text("pool");
  if (!tenant.pool.empty()) draft.refer(table, "pool", "pool", tenant.pool);
  std::vector<PlacedText> pools = table.placed_texts("pools");
  draft.refer_all(table, "pools", "pool", pools);
  for (PlacedText& pool : pools) tenant.pools.push_back(std::move(pool.value));
  std::vector<PlacedText> domains = table.placed_texts("domains");
  if (domains.empty()) {
    table.problem(
        "domains",
        "is missing or empty; list the From domains this tenant may use, like [\"example.com\", \".example.com\"]");
  }
  for (const auto& [written, where] : domains) {
    if (auto pattern = parse_pattern(written)) {
      tenant.domains.push_back(std::move(*pattern));
    } else {
      table.problem_at(
          where, "domains",
          fmt::format("\"{}\" is no domain; write \"example.com\", or \".example.com\" for its sub-domains", written));
    }
  }
  tenant.allow_null_sender = table.flag("allow_null_sender", false);
  if (auto rate = table.rate("rate")) {
    tenant.rate_per_second = rate->count * 1000.0 / static_cast<double>(rate->per.count());
    tenant.rate_burst = std::max(1.0, rate->count);
  }
  tenant.dsn_to_sender = table.choice("dsn", {"sender", "event"}, 0) == 0;
  tenant.weight = table.real("weight", 1, 0.001, 1000);
  table.no_effect_yet("weight", "tenants take turns");
  table.finish();
  std::string name = tenant.name;
  draft.config.submission.tenants.emplace(std::move(name), std::move(tenant));
}

namespace {

/// A content is read into room that grows by half at a time, and header lines are added: one message of the largest
/// size must fit while no other is received.
void check_memory(TableReader& table, const submission::LimitOptions& limits) {
  constexpr std::uint64_t kAddedLinesBytes = 64 << 10;
  constexpr std::uint64_t kMiB = 1 << 20;
  const std::uint64_t needed = (limits.message_bytes + kAddedLinesBytes) / 2 * 3;
  if (!table.clean() || limits.memory_bytes >= needed) return;
  table.problem(table.has("memory") ? "memory" : "message_size",
                fmt::format("messages of message_size ({}MiB) need a memory of at least \"{}MiB\": the largest could "
                            "never be received",
                            (limits.message_bytes + kMiB - 1) / kMiB, (needed + kMiB - 1) / kMiB));
}

}  // namespace

void read_limits(Draft& draft, TableReader& table) {
  submission::LimitOptions& limits = draft.config.submission.limits;
  auto count = [&](std::string_view key, std::size_t& into, std::int64_t low, std::int64_t high) {
    into = static_cast<std::size_t>(table.number(key, static_cast<std::int64_t>(into), low, high));
  };
  count("sessions", limits.sessions, 1, 1'000'000);
  count("sessions_per_client", limits.sessions_per_client, 1, 1'000'000);
  count("recipients", limits.recipients, 100, 100'000);  // RFC 5321 section 4.5.3.1.8: never below 100
  limits.message_bytes = table.size("message_size", limits.message_bytes, 64 << 10, 1ull << 30);
  limits.header_bytes = table.size("header_size", limits.header_bytes, 4 << 10, 64ull << 20);
  count("errors", limits.errors, 1, 10'000);
  limits.idle = table.duration("idle", limits.idle, 1s, 24h);
  limits.memory_bytes = table.size("memory", limits.memory_bytes, 16ull << 20, 1ull << 40);
  check_memory(table, limits);
  count("auth_failures", limits.auth_failures, 1, 10'000);
  queue::SpoolOptions& spool = draft.config.spool;
  spool.body_memory_bytes = table.size("body_memory", spool.body_memory_bytes, 1ull << 20, 1ull << 40);
  spool.cache_bytes = table.size("spool_cache", spool.cache_bytes, 8ull << 20, 1ull << 40);
  spool.disk_reserve_bytes = table.size("disk_reserve", spool.disk_reserve_bytes, 1ull << 20, 1ull << 44);
  spool.reserve_file_bytes = table.size("reserve_file", spool.reserve_file_bytes, 1ull << 20, 1ull << 34);
  spool.max_unrecorded_outcomes = static_cast<std::size_t>(
      table.number("unrecorded_outcomes", static_cast<std::int64_t>(spool.max_unrecorded_outcomes), 1, 1'000'000));
  table.finish();
}

}  // namespace danki::config
