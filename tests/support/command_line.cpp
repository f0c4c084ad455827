#include "tests/support/command_line.hpp"

#include <charconv>
#include <cstdlib>
#include <utility>

#include <fmt/core.h>
#include <sysexits.h>

namespace danki::support {
namespace {

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

CommandLine::CommandLine(std::string program, std::string purpose)
    : program_(std::move(program)), purpose_(std::move(purpose)) {}

void CommandLine::flag(std::string name, bool& target, std::string help) {
  options_.push_back({std::move(name), false, std::move(help), [&target](std::string_view) { return target = true; }});
}

void CommandLine::value(std::string name, std::string& target, std::string help) {
  auto set = [&target](std::string_view text) {
    target = text;
    return true;
  };
  options_.push_back({std::move(name), true, std::move(help), set});
}

void CommandLine::value(std::string name, int& target, std::string help) {
  auto set = [&target](std::string_view text) { return parse_number(text, target); };
  options_.push_back({std::move(name), true, std::move(help), set});
}

void CommandLine::value(std::string name, long& target, std::string help) {
  auto set = [&target](std::string_view text) { return parse_number(text, target); };
  options_.push_back({std::move(name), true, std::move(help), set});
}

void CommandLine::value(std::string name, double& target, std::string help) {
  auto set = [&target](std::string_view text) { return parse_number(text, target); };
  options_.push_back({std::move(name), true, std::move(help), set});
}

void CommandLine::list(std::string name, std::vector<std::string>& target, std::string help) {
  auto set = [&target](std::string_view text) {
    target.emplace_back(text);
    return true;
  };
  options_.push_back({std::move(name), true, std::move(help), set});
}

void CommandLine::parse(int argc, char** argv) const {
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") print_help();
    auto equals = argument.find('=');
    const Option& option = find(argument.substr(0, equals));
    std::string_view text;
    if (option.takes_value) {
      if (equals != std::string_view::npos) {
        text = argument.substr(equals + 1);
      } else if (++i < argc) {
        text = argv[i];
      } else {
        fail(fmt::format("{} needs a value", option.name));
      }
    }
    if (!option.set(text)) fail(fmt::format("{}: \"{}\" is not what it takes", option.name, text));
  }
}

const CommandLine::Option& CommandLine::find(std::string_view name) const {
  for (const Option& option : options_) {
    if (option.name == name) return option;
  }
  fail(fmt::format("unknown option {}", name));
}

void CommandLine::fail(const std::string& problem) const {
  fmt::print(stderr, "{}: {}; --help lists the options\n", program_, problem);
  std::exit(EX_USAGE);
}

void CommandLine::print_help() const {
  fmt::print("{}: {}\n\n", program_, purpose_);
  for (const Option& option : options_) {
    fmt::print("  {:<26} {}\n", option.takes_value ? option.name + " VALUE" : option.name, option.help);
  }
  std::exit(0);
}

}  // namespace danki::support
