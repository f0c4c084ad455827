#include "cli/config_commands.hpp"

#include "config/config.hpp"

#include <cstdio>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <sysexits.h>

namespace danki::cli {
namespace json = boost::json;

namespace {

json::array to_array(const std::vector<std::string>& lines) {
  json::array array;
  for (const std::string& line : lines) array.emplace_back(line);
  return array;
}

void print_verdict_json(const std::filesystem::path& file, const std::vector<std::string>& problems,
                        const std::vector<std::string>& warnings) {
  const json::object verdict{{"file", file.string()},
                             {"valid", problems.empty()},
                             {"problems", to_array(problems)},
                             {"warnings", to_array(warnings)}};
  print(json::serialize(verdict) + "\n");
}

}  // namespace

ExitCode check_config(const std::filesystem::path& file, bool as_json) {
  const auto config = config::load(file);
  const std::vector<std::string> none;
  const auto& problems = config ? none : config.error().lines;
  const auto& warnings = config ? config->warnings : none;
  if (as_json) {
    print_verdict_json(file, problems, warnings);
  } else if (config) {
    for (const std::string& warning : warnings) print(warning + "\n");
    print(fmt::format("{} is valid.\n", file.string()));
  } else {
    fmt::print(stderr, "{}", config.error().to_string());
    complain(fmt::format("{}: {} problem{}", file.string(), problems.size(), problems.size() == 1 ? "" : "s"));
  }
  return config ? 0 : EX_CONFIG;
}

ExitCode reload_config(Context& context) {
  auto body = submit(context, "/v1/config/reload", "");
  if (!body) return body.error();
  print(context.as_json ? *body + "\n" : "The configuration is reloaded.\n");
  return 0;
}

std::expected<std::string, ExitCode> socket_of_config(const std::filesystem::path& file) {
  const auto socket = config::admin_socket(file);
  if (!socket) {
    fmt::print(stderr, "{}", socket.error().to_string());
    complain(fmt::format("{} cannot tell the daemon's socket; name it with --socket PATH", file.string()));
    return std::unexpected(EX_CONFIG);
  }
  if (socket->empty()) {
    complain(fmt::format("{} has no [admin].socket", file.string()));
    return std::unexpected(EX_CONFIG);
  }
  return socket->string();
}

}  // namespace danki::cli
