#include "cli/context.hpp"

#include "cli/human.hpp"

#include <cstdio>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <sysexits.h>

namespace danki::cli {
namespace json = boost::json;

namespace {

const json::value* member(const json::object& object, std::string_view name) {
  return object.if_contains({name.data(), name.size()});
}

ExitCode unreachable(const std::string& socket, const Error& error) {
  if (error.code == std::errc::permission_denied) {
    complain(fmt::format("{}: permission denied; run this as root or as a member of the socket's group", socket));
    return EX_NOPERM;
  }
  if (error.code == std::errc::no_such_file_or_directory || error.code == std::errc::connection_refused) {
    complain(fmt::format(
        "no daemon at {}: is dankid running? If it listens elsewhere, try --socket PATH or --config FILE", socket));
  } else {
    complain(fmt::format("the daemon at {} gave no answer: {}; its log may say why", socket, error.message()));
  }
  return EX_UNAVAILABLE;
}

ExitCode exit_code_of(int status) {
  switch (status) {
    case 400:
    case 404:
    case 413:
      return EX_DATAERR;
    case 422:
      return EX_CONFIG;
    case 503:
      return EX_UNAVAILABLE;
    default:
      return EX_SOFTWARE;
  }
}

std::expected<std::string, ExitCode> judge(Context& context, Result<HttpReply> reply) {
  if (!reply) return std::unexpected(unreachable(context.client.socket(), reply.error()));
  if (reply->status >= 200 && reply->status < 300) return std::move(reply->body);
  json::error_code failure;
  const json::value body = json::parse(reply->body, failure);
  std::string reason = !failure && body.is_object() ? text_of(body.get_object(), "error") : std::string();
  if (reason.empty()) reason = fmt::format("the daemon answered {}", reply->status);
  complain(printable(reason));
  return std::unexpected(exit_code_of(reply->status));
}

}  // namespace

std::expected<std::string, ExitCode> fetch(Context& context, const std::string& target) {
  return judge(context, context.client.get(target));
}

std::expected<std::string, ExitCode> submit(Context& context, const std::string& target, const std::string& body) {
  return judge(context, context.client.post(target, body));
}

std::expected<json::object, ExitCode> fetch_object(Context& context, const std::string& target) {
  auto body = fetch(context, target);
  if (!body) return std::unexpected(body.error());
  return parse_object(*body);
}

std::expected<json::object, ExitCode> parse_object(std::string_view body) {
  json::error_code failure;
  json::value parsed = json::parse({body.data(), body.size()}, failure);
  if (!failure && parsed.is_object()) return std::move(parsed.get_object());
  complain("the daemon's answer is no JSON object: are danki and dankid of the same version?");
  return std::unexpected(EX_SOFTWARE);
}

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* const value = member(object, name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::uint64_t number_of(const json::object& object, std::string_view name) {
  const json::value* const value = member(object, name);
  if (!value) return 0;
  if (value->is_uint64()) return value->get_uint64();
  return value->is_int64() && value->get_int64() > 0 ? static_cast<std::uint64_t>(value->get_int64()) : 0;
}

TimePoint time_of(const json::object& object, std::string_view name) {
  return parse_rfc3339(text_of(object, name)).value_or(TimePoint{});
}

std::vector<json::object> objects_of(const json::object& object, std::string_view name) {
  std::vector<json::object> objects;
  const json::value* const value = member(object, name);
  if (!value || !value->is_array()) return objects;
  for (const json::value& element : value->get_array()) {
    if (element.is_object()) objects.push_back(element.get_object());
  }
  return objects;
}

std::string reply_of(const json::object& object, std::string_view name) {
  const json::value* const value = member(object, name);
  if (!value || !value->is_object()) return {};
  const json::object& reply = value->get_object();
  std::string line = std::to_string(number_of(reply, "code"));
  for (const char* part : {"enhanced", "text"}) {
    if (const std::string text = text_of(reply, part); !text.empty()) line += " " + text;
  }
  return line;
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void complain(std::string_view text) {
  fmt::print(stderr, "danki: {}\n", text);
}

}  // namespace danki::cli
