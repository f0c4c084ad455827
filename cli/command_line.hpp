#pragma once

#include "cli/queue_commands.hpp"

#include <expected>
#include <string>

namespace danki::cli {

enum class Verb { Status, Queue, QueueList, QueueShow, QueueRetry, ConfigCheck, Reload };

/// What the operator typed.
struct CommandLine {
  Verb verb = Verb::Status;
  std::string socket;  ///< --socket; empty: not given
  std::string config;  ///< --config, or config check's FILE; empty: not given
  bool as_json = false;
  SelectorOptions selector;
  bool all = false;
  std::size_t limit = 100;
  std::string id;
  bool raw = false;
};

/// Help, version and mistakes are printed; then the error is what main() returns: 0 or EX_USAGE.
std::expected<CommandLine, ExitCode> parse_command_line(int argc, char** argv);

}  // namespace danki::cli
