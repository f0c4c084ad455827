#include "cli/status_command.hpp"

#include "cli/human.hpp"
#include "cli/table.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fmt/format.h>

namespace danki::cli {
namespace json = boost::json;

namespace {

std::string state_line(const Context& context, const json::object& status) {
  const std::string refusing = text_of(status, "refusing");
  if (refusing.empty()) return coloured(context.terminal, Colour::Green, "taken");
  return coloured(context.terminal, Colour::Red, "refused: " + printable(refusing));
}

std::string listeners_of(const json::object& status) {
  std::string line;
  const json::value* const listeners = status.if_contains("listeners");
  if (!listeners || !listeners->is_array()) return line;
  for (const json::value& listener : listeners->get_array()) {
    if (listener.is_string()) line += (line.empty() ? "" : ", ") + printable(std::string(listener.get_string()));
  }
  return line;
}

void print_counts(const Context& context, const json::object& status) {
  const auto count = [&](std::string_view name) { return grouped(number_of(status, name)); };
  const auto line = [](std::string_view name, const std::string& text) {
    print(fmt::format("{:<12}{}\n", name, text));
  };
  line("new mail", state_line(context, status));
  line("listening", listeners_of(status));
  line("sessions", fmt::format("{} in, {} connections out", count("sessions"), count("connections_out")));
  line("accepted", fmt::format("{} messages for {} recipients", count("messages"), count("recipients")));
  line("ended", fmt::format("{} delivered, {} bounced, {} expired; {} deferrals", count("delivered"), count("bounced"),
                            count("expired"), count("deferred")));
  line("queued", count("queued") + " entries");
  if (const std::uint64_t unrecorded = number_of(status, "unrecorded_outcomes"); unrecorded > 0) {
    line("unrecorded", coloured(context.terminal, Colour::Yellow, grouped(unrecorded) + " outcomes wait for the disk"));
  }
  if (const json::value* const spool = status.if_contains("spool"); spool && spool->is_object()) {
    const json::object& object = spool->get_object();
    line("disk free", short_size(number_of(object, "disk_free_bytes")));
    if (const std::uint64_t unreadable = number_of(object, "unreadable_due_records"); unreadable > 0) {
      line("unreadable", coloured(context.terminal, Colour::Yellow, grouped(unreadable) + " due records, see the log"));
    }
  }
}

Colour colour_of_state(const std::string& state) {
  if (state == "active") return Colour::Green;
  return state == "pulled" ? Colour::Red : Colour::Yellow;
}

void print_sources(const Context& context, const json::object& status) {
  using Column = Table::Column;
  constexpr auto kRight = Column::Align::Right;
  Table table({{"SOURCE", {}, 8},
               {"ADDRESS", {}, 12},
               {"STATE"},
               {"DELIVERED", kRight},
               {"DEFERRED", kRight},
               {"BOUNCED", kRight},
               {"CONNS", kRight, 0, 1},
               {"REASON", {}, 10}});
  for (const json::object& source : objects_of(status, "sources")) {
    const std::string state = text_of(source, "state");
    table.add({text_of(source, "name"), text_of(source, "address"), Table::Cell(state, colour_of_state(state)),
               grouped(number_of(source, "delivered")), grouped(number_of(source, "deferred")),
               grouped(number_of(source, "bounced")), grouped(number_of(source, "connections")),
               text_of(source, "reason")});
  }
  if (!table.empty()) print("\n" + table.to_string(context.terminal));
}

}  // namespace

ExitCode show_status(Context& context) {
  auto body = fetch(context, "/v1/status");
  if (!body) return body.error();
  if (context.as_json) {
    print(*body + "\n");
    return 0;
  }
  const auto status = parse_object(*body);
  if (!status) return status.error();
  const std::string title =
      fmt::format("{}  danki {}", printable(text_of(*status, "hostname")), printable(text_of(*status, "version")));
  print(coloured(context.terminal, Colour::Bold, title) + "\n");
  if (const TimePoint since = time_of(*status, "started_at"); since != TimePoint{}) {
    print(fmt::format("{:<12}{}\n", "started", full_time(since, context.now)));
  }
  print_counts(context, *status);
  print_sources(context, *status);
  return 0;
}

}  // namespace danki::cli
