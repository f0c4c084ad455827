#include "base/time.hpp"
#include "cli/command_line.hpp"
#include "cli/config_commands.hpp"
#include "cli/status_command.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>

#include <sysexits.h>

namespace danki::cli {
namespace {

constexpr const char* kDefaultSocket = "/run/danki/admin.sock";
constexpr const char* kDefaultConfig = "/etc/danki/danki.toml";

std::expected<std::string, ExitCode> socket_of(const CommandLine& line) {
  if (!line.socket.empty()) return line.socket;
  if (!line.config.empty()) return socket_of_config(line.config);
  const char* const from_environment = std::getenv("DANKI_SOCKET");
  return from_environment && *from_environment ? from_environment : kDefaultSocket;
}

ExitCode ask_daemon(const CommandLine& line, Context& context) {
  switch (line.verb) {
    case Verb::Status:
      return show_status(context);
    case Verb::Queue:
      return show_queue(context);
    case Verb::QueueList:
      return list_messages(context, line.selector, line.limit);
    case Verb::QueueShow:
      return line.raw ? show_content(context, line.id) : show_message(context, line.id);
    case Verb::QueueRetry:
      return retry_messages(context, line.selector);
    case Verb::Reload:
      return reload_config(context);
    case Verb::ConfigCheck:
      break;  // needs no daemon
  }
  return EX_SOFTWARE;
}

ExitCode run(int argc, char** argv) {
  const auto line = parse_command_line(argc, argv);
  if (!line) return line.error();
  if (line->verb == Verb::ConfigCheck) {
    return check_config(line->config.empty() ? kDefaultConfig : line->config, line->as_json);
  }
  const auto socket = socket_of(*line);
  if (!socket) return socket.error();
  Context context{.client = HttpClient(*socket),
                  .as_json = line->as_json,
                  .terminal = detect_terminal(),
                  .now = SystemClock().now()};
  return ask_daemon(*line, context);
}

}  // namespace
}  // namespace danki::cli

int main(int argc, char** argv) {
  try {
    const int code = danki::cli::run(argc, argv);
    // A full disk or a closed pipe behind us must not look like success.
    return std::fflush(stdout) == 0 || code != 0 ? code : EX_IOERR;
  } catch (const std::exception& failure) {
    danki::cli::complain(failure.what());
    return EX_SOFTWARE;
  }
}
