#include "admin/selector.hpp"

#include "mail/address.hpp"
#include "queue/message.hpp"

#include <charconv>
#include <optional>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

namespace danki::admin {
namespace json = boost::json;

namespace {

constexpr std::int64_t kMaxAgeSeconds = 100ll * 366 * 24 * 3600;  // larger ones would overflow in arithmetic

std::unexpected<Error> bad(std::string detail) {
  return std::unexpected(Error{std::error_code(), std::move(detail)});
}

std::optional<std::int64_t> parse_seconds(std::string_view text) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return seconds;
}

Result<void> set_age(Selector& selector, std::optional<std::int64_t> seconds) {
  if (!seconds || *seconds < 0 || *seconds > kMaxAgeSeconds)
    return bad("older_than_seconds: a number of seconds is needed");
  selector.older_than = std::chrono::seconds(*seconds);
  return {};
}

Result<void> set_id(Selector& selector, const std::string& value) {
  const auto id = queue::MessageId::parse(value);
  if (!id) return bad("id: a message id has 13 characters, such as those that \"danki queue list\" shows");
  selector.id = id->to_string();
  return {};
}

Result<void> set_text(Selector& selector, std::string_view name, const std::string& value) {
  if (value.empty()) return {};
  if (name == "id") return set_id(selector, value);
  if (name == "class") {
    selector.klass = mail::parse_mail_class(value);
    if (!selector.klass) return bad("class: transactional or bulk");
    return {};
  }
  if (name == "domain") {
    auto domain = mail::normalise_domain(value);
    if (!domain) return bad("domain: " + domain.error().detail);
    selector.domain = std::move(*domain);
    return {};
  }
  if (name == "site") selector.site = value;
  if (name == "tenant") selector.tenant = value;
  if (name == "campaign") selector.campaign = value;
  return {};
}

bool is_text_name(std::string_view name) {
  return name == "id" || name == "site" || name == "domain" || name == "tenant" || name == "campaign" ||
         name == "class";
}

Result<void> set_member(Selector& selector, std::string_view name, const json::value& value) {
  if (name == "older_than_seconds") {
    return set_age(selector, value.is_int64() ? std::optional(value.get_int64()) : std::nullopt);
  }
  if (!is_text_name(name)) return bad(std::string(name) + ": unknown member");
  if (!value.is_string()) return bad(std::string(name) + ": a string is needed");
  return set_text(selector, name, std::string(value.get_string()));
}

}  // namespace

Result<Selector> take_selector(std::map<std::string, std::string>& query) {
  Selector selector;
  for (auto parameter = query.begin(); parameter != query.end();) {
    const auto& [name, value] = *parameter;
    Result<void> set;
    if (name == "older_than_seconds") {
      set = set_age(selector, parse_seconds(value));
    } else if (is_text_name(name)) {
      set = set_text(selector, name, value);
    } else {
      ++parameter;
      continue;
    }
    if (!set) return std::unexpected(set.error());
    parameter = query.erase(parameter);
  }
  return selector;
}

Result<Selector> parse_selector(std::string_view text) {
  json::error_code failure;
  const json::value document = json::parse({text.data(), text.size()}, failure);
  if (failure || !document.is_object())
    return bad("the body must be a JSON object such as {\"domain\": \"example.com\"}");
  Selector selector;
  bool wants_all = false;
  for (const auto& [key, value] : document.get_object()) {
    const std::string_view name(key.data(), key.size());
    if (name == "all") {
      if (!value.is_bool()) return bad("all: true or false is needed");
      wants_all = value.get_bool();
      continue;
    }
    if (auto set = set_member(selector, name, value); !set) return std::unexpected(set.error());
  }
  if (wants_all && !selector.all()) return bad("all: cannot be joined with other members");
  if (!wants_all && selector.all()) return bad("which messages? Name some, or say \"all\": true");
  return selector;
}

}  // namespace danki::admin
