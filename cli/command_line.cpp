#include "cli/command_line.hpp"

#include "base/version.hpp"
#include "config/units.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sysexits.h>

namespace danki::cli {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 done; 64 wrong usage; 65 no such message or invalid data; 69 the daemon cannot be\n"
    "reached or is too busy; 70 internal error; 77 no permission; 78 a problem in the configuration.";

void add_selectors(CLI::App& verb, CommandLine& line) {
  const auto older_than = [&line](const std::string& text) {
    const auto duration = config::parse_duration(text);
    if (!duration) throw CLI::ValidationError("--older-than", "a duration is needed, such as 30s, 5m, 2h or 1d");
    line.selector.older_than = std::chrono::duration_cast<std::chrono::seconds>(*duration);
  };
  verb.add_option("--id", line.selector.id, "the message of this id")->type_name("ID");
  verb.add_option("--site", line.selector.site, "mail waiting at this site")->type_name("SITE");
  verb.add_option("--domain", line.selector.domain, "mail to this recipient domain")->type_name("DOMAIN");
  verb.add_option("--tenant", line.selector.tenant, "mail of this tenant")->type_name("TENANT");
  verb.add_option("--class", line.selector.klass, "transactional or bulk")
      ->type_name("CLASS")
      ->check(CLI::IsMember({"transactional", "bulk"}));
  verb.add_option("--campaign", line.selector.campaign, "mail of this campaign")->type_name("CAMPAIGN");
  verb.add_option_function<std::string>("--older-than", older_than, "accepted longer ago than this, such as 2h")
      ->type_name("DURATION");
}

void add_queue(CLI::App& app, CommandLine& line) {
  CLI::App* const queue = app.add_subcommand("queue", "What waits, by site; or one of the verbs below");
  queue->require_subcommand(0, 1);
  queue->callback([&line, queue] {
    if (queue->get_subcommands().empty()) line.verb = Verb::Queue;
  });

  CLI::App* const list = queue->add_subcommand("list", "The messages that wait, one line for each recipient domain");
  add_selectors(*list, line);
  list->add_option("--limit", line.limit, "at most so many")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  list->callback([&line] { line.verb = Verb::QueueList; });

  CLI::App* const show = queue->add_subcommand("show", "One message: its envelope and what happened to each recipient");
  show->add_option("ID", line.id, "the message's id")->required();
  show->add_flag("--raw", line.raw, "the octets that the next hop would get");
  show->callback([&line] { line.verb = Verb::QueueShow; });

  CLI::App* const retry = queue->add_subcommand("retry", "Makes what the selectors mean due now");
  add_selectors(*retry, line);
  retry->add_flag("--all", line.all, "everything in the queue");
  retry->callback([&line] {
    if (line.all != line.selector.empty()) {
      throw CLI::ValidationError("queue retry", line.all ? "--all cannot be joined with selectors"
                                                         : "which messages? Name some by selectors, or say --all");
    }
    line.verb = Verb::QueueRetry;
  });
}

void add_config(CLI::App& app, CommandLine& line) {
  CLI::App* const config = app.add_subcommand("config", "The configuration file");
  config->require_subcommand(1);
  CLI::App* const check =
      config->add_subcommand("check", "Says what is wrong in a configuration file; needs no daemon");
  check->add_option("FILE", line.config, "default: that of --config, else /etc/danki/danki.toml");
  check->callback([&line] { line.verb = Verb::ConfigCheck; });
}

ExitCode report(const CLI::App& app, const CLI::ParseError& mistake) {
  // A misspelt verb is "a subcommand is required" to the library.
  const auto unknown = app.remaining(true);
  const std::string what = unknown.empty() ? mistake.what() : fmt::format("unknown: {}", fmt::join(unknown, " "));
  const auto verbs = app.get_subcommands();
  complain(fmt::format("{}\nTry danki {}--help.", what, verbs.empty() ? "" : verbs.front()->get_name() + " "));
  return EX_USAGE;
}

}  // namespace

std::expected<CommandLine, ExitCode> parse_command_line(int argc, char** argv) {
  CommandLine line;
  CLI::App app("Asks and steers the mail relay dankid.", "danki");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("danki ") + kVersion);
  app.require_subcommand(1);
  app.fallthrough();  // global options may come after the verb
  app.add_option("--socket", line.socket,
                 "the daemon's admin socket; default: that of --config, else $DANKI_SOCKET, else /run/danki/admin.sock")
      ->type_name("PATH");
  app.add_option("--config", line.config, "the configuration file that names the socket")->type_name("FILE");
  app.add_flag("--json", line.as_json, "print the API's JSON");
  app.add_subcommand("status", "How the daemon and its egress sources do")->callback([&line] {
    line.verb = Verb::Status;
  });
  add_queue(app, line);
  add_config(app, line);
  app.add_subcommand("reload", "Reads the configuration again; a bad one leaves the old one active")->callback([&line] {
    line.verb = Verb::Reload;
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return std::unexpected(app.exit(help));
  } catch (const CLI::ParseError& mistake) {
    return std::unexpected(report(app, mistake));
  }
  return line;
}

}  // namespace danki::cli
