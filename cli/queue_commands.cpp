#include "cli/queue_commands.hpp"

#include "cli/human.hpp"
#include "cli/table.hpp"

#include <algorithm>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <sysexits.h>

namespace danki::cli {
namespace json = boost::json;

namespace {

using Column = Table::Column;
constexpr auto kRight = Column::Align::Right;

constexpr std::size_t kPageEntries = 500;  // the most that the API gives at once

std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool is_unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                               std::string_view("-._~").find(c) != std::string_view::npos;
    if (is_unreserved) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

/// When something is tried next: what is overdue waits for a connection only.
std::string next_text(TimePoint when, TimePoint now) {
  if (when == TimePoint{}) return "";
  return when <= now ? "due" : short_duration(std::chrono::duration_cast<std::chrono::seconds>(when - now));
}

std::string age_text(TimePoint when, TimePoint now) {
  if (when == TimePoint{}) return "";
  return short_duration(std::chrono::duration_cast<std::chrono::seconds>(now - when));
}

std::string class_text(const std::string& klass) {
  return klass == "transactional" ? "trans" : klass;
}

std::string last_words(const json::object& object, std::string_view reason_name) {
  const std::string reply = reply_of(object, "last_reply");
  return reply.empty() ? text_of(object, reason_name) : reply;
}

/// The first recipient, and how many more the entry has.
std::string to_text(const json::object& entry) {
  const std::uint64_t recipients = number_of(entry, "recipients");
  const std::string first = text_of(entry, "to");
  return recipients > 1 ? fmt::format("{} +{}", first, recipients - 1) : first;
}

void print_entries(const Context& context, const json::array& entries) {
  Table table({{"ID"},
               {"AGE", kRight},
               {"SIZE", kRight, 0, 2},
               {"CLASS"},
               {"TENANT", {}, 6},
               {"FROM", {}, 7, 1, true},
               {"TO", {}, 13, 0, true},
               {"TRY", kRight},
               {"NEXT", kRight},
               {"LAST REPLY", {}, 11}});
  for (const json::value& value : entries) {
    if (!value.is_object()) continue;
    const json::object& entry = value.get_object();
    table.add({text_of(entry, "id"), age_text(time_of(entry, "arrived_at"), context.now),
               short_size(number_of(entry, "size")), class_text(text_of(entry, "class")), text_of(entry, "tenant"),
               text_of(entry, "from"), to_text(entry), std::to_string(number_of(entry, "attempts")),
               next_text(time_of(entry, "next_attempt_at"), context.now), last_words(entry, "last_reason")});
  }
  print(table.to_string(context.terminal));
}

struct Listing {
  json::array messages;
  std::string next_cursor;
};

/// Page after page until there are `limit` entries or no more. A page may be empty and yet not be the last.
std::expected<Listing, ExitCode> fetch_listing(Context& context, const SelectorOptions& selector, std::size_t limit) {
  Listing listing;
  do {
    const std::size_t wanted = std::min(limit - listing.messages.size(), kPageEntries);
    std::string target = fmt::format("/v1/queue/messages?limit={}{}", wanted, query_of(selector));
    if (!listing.next_cursor.empty()) target += "&cursor=" + listing.next_cursor;
    auto page = fetch_object(context, target);
    if (!page) return std::unexpected(page.error());
    listing.next_cursor = text_of(*page, "next_cursor");
    if (json::value* const messages = page->if_contains("messages"); messages && messages->is_array()) {
      for (json::value& message : messages->get_array()) listing.messages.push_back(std::move(message));
    }
  } while (!listing.next_cursor.empty() && listing.messages.size() < limit);
  return listing;
}

void print_line(std::string_view name, const std::string& text) {
  if (!text.empty()) print(fmt::format("{:<12}{}\n", name, printable(text)));
}

void print_time(const Context& context, std::string_view name, TimePoint time) {
  if (time != TimePoint{}) print_line(name, full_time(time, context.now));
}

Colour colour_of_state(const std::string& state) {
  if (state == "delivered") return Colour::Green;
  return state == "pending" ? Colour::Yellow : Colour::Red;
}

void print_recipient(const Context& context, const json::object& recipient) {
  const std::string state = text_of(recipient, "state");
  print(fmt::format("\n{}  {}, {} attempt{}\n",
                    coloured(context.terminal, Colour::Bold, printable(text_of(recipient, "to"))),
                    coloured(context.terminal, colour_of_state(state), printable(state)),
                    number_of(recipient, "attempts"), number_of(recipient, "attempts") == 1 ? "" : "s"));
  print_line("  site", text_of(recipient, "site"));
  print_time(context, "  next", time_of(recipient, "next_attempt_at"));
  print_time(context, "  last", time_of(recipient, "last_attempt_at"));
  print_line("  by", text_of(recipient, "last_source"));
  print_line("  at", text_of(recipient, "last_mx"));
  print_line("  reply", reply_of(recipient, "last_reply"));
  print_line("  reason", text_of(recipient, "reason"));
}

}  // namespace

ExitCode show_queue(Context& context) {
  auto body = fetch(context, "/v1/queue");
  if (!body) return body.error();
  if (context.as_json) {
    print(*body + "\n");
    return 0;
  }
  const auto queue = parse_object(*body);
  if (!queue) return queue.error();
  Table table({{"SITE", {}, 12},
               {"PROVIDER", {}, 0, 3},
               {"TRANS", kRight},
               {"BULK", kRight},
               {"READY", kRight},
               {"SENDING", kRight},
               {"CONNS", kRight, 0, 2},
               {"NEXT", kRight},
               {"STATE", {}, 10},
               {"LAST REPLY", {}, 10}});
  std::uint64_t transactional = 0, bulk = 0;
  const auto sites = objects_of(*queue, "sites");
  for (const json::object& site : sites) {
    const std::string state = text_of(site, "state");
    transactional += number_of(site, "transactional");
    bulk += number_of(site, "bulk");
    table.add({text_of(site, "site"), text_of(site, "provider"), grouped(number_of(site, "transactional")),
               grouped(number_of(site, "bulk")), grouped(number_of(site, "ready")),
               grouped(number_of(site, "in_flight")), grouped(number_of(site, "connections")),
               next_text(time_of(site, "earliest_due"), context.now),
               Table::Cell(state, state == "ok" ? Colour::Green : Colour::Yellow), text_of(site, "last_reply")});
  }
  if (table.empty()) {
    print("The queue is empty.\n");
    return 0;
  }
  print(table.to_string(context.terminal));
  print(fmt::format("{} transactional and {} bulk at {} site{}\n", grouped(transactional), grouped(bulk),
                    grouped(sites.size()), sites.size() == 1 ? "" : "s"));
  return 0;
}

ExitCode list_messages(Context& context, const SelectorOptions& selector, std::size_t limit) {
  auto listing = fetch_listing(context, selector, limit);
  if (!listing) return listing.error();
  const bool has_more = !listing->next_cursor.empty();
  if (context.as_json) {
    json::object document{{"messages", std::move(listing->messages)}};
    if (has_more) document["next_cursor"] = listing->next_cursor;
    print(json::serialize(document) + "\n");
    return 0;
  }
  if (listing->messages.empty()) {
    print(selector.empty() ? "The queue is empty.\n" : "Nothing in the queue matches.\n");
    return 0;
  }
  print_entries(context, listing->messages);
  if (has_more) print(fmt::format("These are the first {}; --limit shows more.\n", listing->messages.size()));
  return 0;
}

ExitCode show_message(Context& context, const std::string& id) {
  auto body = fetch(context, "/v1/queue/messages/" + percent_encoded(id));
  if (!body) return body.error();
  if (context.as_json) {
    print(*body + "\n");
    return 0;
  }
  const auto message = parse_object(*body);
  if (!message) return message.error();
  print_line("id", text_of(*message, "id"));
  print_line("tenant", text_of(*message, "tenant"));
  print_line("class", text_of(*message, "class"));
  print_line("pool", text_of(*message, "pool"));
  print_line("campaign", text_of(*message, "campaign"));
  print_line("from", text_of(*message, "from"));
  print_line("size", short_size(number_of(*message, "size")));
  print_line("session", text_of(*message, "session"));
  print_time(context, "arrived", time_of(*message, "arrived_at"));
  print_time(context, "not before", time_of(*message, "not_before"));
  print_time(context, "expires", time_of(*message, "expires_at"));
  for (const json::object& recipient : objects_of(*message, "recipients")) print_recipient(context, recipient);
  return 0;
}

ExitCode show_content(Context& context, const std::string& id) {
  auto body = fetch(context, "/v1/queue/messages/" + percent_encoded(id) + "/content");
  if (!body) return body.error();
  print(*body);
  return 0;
}

ExitCode retry_messages(Context& context, const SelectorOptions& selector) {
  auto body = submit(context, "/v1/queue/retry", json_of(selector));
  if (!body) return body.error();
  const auto answer = parse_object(*body);
  if (!answer) return answer.error();
  const std::uint64_t matched = number_of(*answer, "matched");
  if (context.as_json) {
    print(*body + "\n");
  } else {
    print(fmt::format("{} {} due now.\n", grouped(matched), matched == 1 ? "entry is" : "entries are"));
  }
  return 0;
}

std::string query_of(const SelectorOptions& selector) {
  std::string query;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) query += fmt::format("&{}={}", name, percent_encoded(value));
  };
  add("id", selector.id);
  add("site", selector.site);
  add("domain", selector.domain);
  add("tenant", selector.tenant);
  add("class", selector.klass);
  add("campaign", selector.campaign);
  if (selector.older_than) add("older_than_seconds", std::to_string(selector.older_than->count()));
  return query;
}

std::string json_of(const SelectorOptions& selector) {
  if (selector.empty()) return R"({"all":true})";
  json::object object;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) object[name] = value;
  };
  add("id", selector.id);
  add("site", selector.site);
  add("domain", selector.domain);
  add("tenant", selector.tenant);
  add("class", selector.klass);
  add("campaign", selector.campaign);
  if (selector.older_than) object["older_than_seconds"] = selector.older_than->count();
  return json::serialize(object);
}

}  // namespace danki::cli
