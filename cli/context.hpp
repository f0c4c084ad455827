#pragma once

#include "base/time.hpp"
#include "cli/http_client.hpp"
#include "cli/terminal.hpp"

#include <expected>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

namespace danki::cli {

/// What every verb that asks the daemon works with.
struct Context {
  HttpClient client;
  bool as_json = false;
  Terminal terminal;
  TimePoint now{};
};

/// A verb's way to fail: the message is on standard error already, this is what main() returns (sysexits.h).
using ExitCode = int;

/// The body of a good answer. Otherwise says on standard error what is wrong and what to do next.
std::expected<std::string, ExitCode> fetch(Context& context, const std::string& target);
std::expected<std::string, ExitCode> submit(Context& context, const std::string& target, const std::string& json);

/// As fetch, parsed: always a JSON object.
std::expected<boost::json::object, ExitCode> fetch_object(Context& context, const std::string& target);
std::expected<boost::json::object, ExitCode> parse_object(std::string_view body);

/// Members of an object that may lack them: "", 0, zero time.
std::string text_of(const boost::json::object& object, std::string_view name);
std::uint64_t number_of(const boost::json::object& object, std::string_view name);
TimePoint time_of(const boost::json::object& object, std::string_view name);
/// The objects in the array of that name.
std::vector<boost::json::object> objects_of(const boost::json::object& object, std::string_view name);
/// The reply as people write it, "451 4.7.1 try later", from {code, enhanced, text}; "" without one.
std::string reply_of(const boost::json::object& object, std::string_view name);

void print(std::string_view text);
/// "danki: text" on standard error.
void complain(std::string_view text);

}  // namespace danki::cli
