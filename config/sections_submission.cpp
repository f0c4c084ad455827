// [node], [[listener]], [[tenant]], [limits]: what the SMTP server obeys.
#include "config/sections.hpp"
#include "mail/address.hpp"

#include <charconv>

#include <fmt/format.h>

namespace danki::config {

namespace asio = boost::asio;
using namespace std::chrono_literals;

std::filesystem::path Draft::path(const std::string& written) const {
  std::filesystem::path given(written);
  return given.is_absolute() || written.empty() ? given : folder / given;
}

std::optional<asio::ip::tcp::endpoint> parse_endpoint(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  unsigned port = 0;
  const char* first = text.data() + colon + 1;
  const char* last = text.data() + text.size();
  auto [end, error] = std::from_chars(first, last, port);
  if (error != std::errc() || end != last || first == last || port > 65535) return std::nullopt;
  boost::system::error_code failed;
  auto address = asio::ip::make_address(host, failed);
  if (failed) return std::nullopt;
  return asio::ip::tcp::endpoint(address, static_cast<std::uint16_t>(port));
}

namespace {

/// "10.0.0.0/8", "2001:db8::/32", or one address.
std::optional<submission::Network> parse_network(const std::string& text) {
  boost::system::error_code failed;
  if (text.find('/') == std::string::npos) {
    auto address = asio::ip::make_address(text, failed);
    if (failed) return std::nullopt;
    if (address.is_v4()) return asio::ip::network_v4(address.to_v4(), 32);
    return asio::ip::network_v6(address.to_v6(), 128);
  }
  auto v4 = asio::ip::make_network_v4(text, failed);
  if (!failed) return v4.canonical();
  auto v6 = asio::ip::make_network_v6(text, failed);
  if (!failed) return v6.canonical();
  return std::nullopt;
}

std::vector<submission::Network> networks(TableReader& table, std::string_view key) {
  std::vector<submission::Network> found;
  for (const std::string& written : table.texts(key)) {
    if (auto network = parse_network(written)) {
      found.push_back(*network);
    } else {
      table.problem(
          key, fmt::format("\"{}\" is no network; write \"192.0.2.0/24\", \"2001:db8::/32\" or one address", written));
    }
  }
  return found;
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
  draft.config.data_dir = draft.path(data_dir);
  table.finish();
}

void read_listener(Draft& draft, TableReader& table) {
  submission::ListenerOptions listener;
  std::string address = table.required_text("address");
  if (!address.empty()) {
    if (auto endpoint = parse_endpoint(address)) {
      listener.address = *endpoint;
      for (const auto& other : draft.config.submission.listeners) {
        if (other.address == *endpoint && endpoint->port() != 0)
          table.problem("address", fmt::format("{} is already another listener's", address));
      }
    } else {
      table.problem("address",
                    fmt::format("\"{}\" is no address with port; write \"0.0.0.0:587\" or \"[::]:587\"", address));
    }
  }
  listener.tls = static_cast<submission::ListenerTls>(table.choice("tls", {"none", "starttls", "implicit"}, 1));
  listener.certificate = draft.path(table.text("certificate", "")).string();
  listener.private_key = draft.path(table.text("private_key", "")).string();
  listener.require_auth = table.flag("require_auth", true);
  listener.auth_without_tls = table.flag("auth_without_tls", false);
  listener.trusted_networks = networks(table, "trusted_networks");
  listener.tenant_for_trusted = table.text("tenant_for_trusted", "");
  listener.proxy_protocol_from = networks(table, "proxy_protocol_from");
  listener.check_recipient_domain = table.flag("check_recipient_domain", true);
  listener.long_lines = static_cast<submission::LongLines>(table.choice("long_lines", {"refuse", "encode"}, 0));
  if (listener.tls != submission::ListenerTls::None) {
    if (listener.certificate.empty()) table.problem("certificate", "is missing; TLS needs one, or set tls = \"none\"");
    if (listener.private_key.empty()) table.problem("private_key", "is missing; TLS needs one, or set tls = \"none\"");
    if (!listener.certificate.empty() && !listener.private_key.empty()) {
      auto context = net::server_tls_context(listener.certificate, listener.private_key);
      if (context) {
        listener.tls_context = *context;
      } else {
        table.problem("certificate", context.error().message());
      }
    }
  }
  if (!listener.trusted_networks.empty() && listener.tenant_for_trusted.empty()) {
    table.problem("trusted_networks", "needs tenant_for_trusted: mail from there must belong to a tenant");
  }
  if (listener.long_lines == submission::LongLines::Encode) {
    draft.config.warnings.push_back(table.where("long_lines") +
                                    ": listener.long_lines: \"encode\" has no effect yet; long lines are refused");
  }
  table.finish();
  draft.config.submission.listeners.push_back(std::move(listener));
}

void read_tenant(Draft& draft, TableReader& table) {
  submission::TenantOptions tenant;
  tenant.name = table.required_text("name");
  tenant.klass =
      table.choice("class", {"transactional", "bulk"}, 0) == 0 ? mail::MailClass::Transactional : mail::MailClass::Bulk;
  tenant.password_hashes = table.texts("password_hash");
  for (const std::string& hash : tenant.password_hashes) {
    if (!hash.starts_with('$'))
      table.problem("password_hash",
                    "must hold crypt(5) hashes, like those of mkpasswd; one does not begin with \"$\"");
  }
  tenant.pool = table.required_text("pool");
  tenant.pools = table.texts("pools");
  if (!tenant.pool.empty()) draft.pool_users.emplace_back(table.where("pool") + ": tenant.pool", tenant.pool);
  for (const std::string& pool : tenant.pools)
    draft.pool_users.emplace_back(table.where("pools") + ": tenant.pools", pool);
  tenant.domains = table.texts("domains");
  if (tenant.domains.empty())
    table.problem(
        "domains",
        "is missing or empty; list the From domains this tenant may use, like [\"example.com\", \".example.com\"]");
  tenant.allow_null_sender = table.flag("allow_null_sender", false);
  if (auto rate = table.rate("rate")) {
    tenant.rate_per_second = rate->count * 1000.0 / static_cast<double>(rate->per.count());
    tenant.rate_burst = std::max(1.0, rate->count);
  }
  tenant.dsn_to_sender = table.choice("dsn", {"sender", "event"}, 0) == 0;
  tenant.weight = table.real("weight", 1, 0.001, 1000);
  if (table.has("weight"))
    draft.config.warnings.push_back(table.where("weight") + ": tenant.weight: has no effect yet; tenants take turns");
  table.finish();
  if (tenant.name.empty()) return;
  std::string name = tenant.name;
  if (!draft.config.submission.tenants.emplace(name, std::move(tenant)).second) {
    table.problem("name", fmt::format("\"{}\" is already another tenant's", name));
  }
}

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
