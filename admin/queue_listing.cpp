#include "admin/queue_listing.hpp"

#include "queue/spool.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace danki::admin {
namespace {

constexpr std::size_t kMaxScanned = 5000;  // entries a call: some 0.1 s when each needs its envelope
constexpr std::size_t kScanChunk = 256;

constexpr char kSeparator = '\x1f';  // cannot be in a domain, class or tenant name

std::optional<std::string> from_hex(std::string_view hex) {
  std::string text;
  if (hex.size() % 2 != 0) return std::nullopt;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    unsigned octet = 0;
    const auto [end, error] = std::from_chars(hex.data() + i, hex.data() + i + 2, octet, 16);
    if (error != std::errc{} || end != hex.data() + i + 2) return std::nullopt;
    text += static_cast<char>(octet);
  }
  return text;
}

/// Before all entries of `domain` in the order of the due index.
queue::DueEntry start_of_domain(const std::string& domain) {
  return queue::DueEntry{.lane = {.domain = domain}};
}

ListedEntry listed(const queue::DueEntry& entry, const queue::StoredMessage& message, std::string site) {
  ListedEntry row;
  row.id = entry.id;
  row.lane = entry.lane;
  row.site = std::move(site);
  row.campaign = message.envelope.campaign;
  row.from = message.envelope.reverse_path.is_null() ? "<>" : message.envelope.reverse_path.to_string();
  row.recipients = entry.recipients.size();
  row.size = message.envelope.size;
  row.arrived_at = message.envelope.arrived_at;
  row.expires_at = message.envelope.expires_at;
  row.next_attempt_at = entry.due;
  for (const std::uint32_t index : entry.recipients) {
    if (index >= message.envelope.recipients.size() || index >= message.progress.size()) continue;
    if (row.first_recipient.empty()) row.first_recipient = message.envelope.recipients[index].address.to_string();
    const queue::RecipientProgress& progress = message.progress[index];
    row.attempts = std::max(row.attempts, progress.attempts);
    if (progress.last_attempt_at == TimePoint{} || progress.last_attempt_at < row.last_attempt_at) continue;
    row.last_attempt_at = progress.last_attempt_at;
    row.last_reply = progress.last_reply;
    row.last_reason = progress.reason;
    row.last_source = progress.last_source;
  }
  return row;
}

class Listing {
 public:
  Listing(queue::Spool& spool, Ports& ports, const Selector& selector, TimePoint now)
      : spool_(spool), ports_(ports), selector_(selector), now_(now) {}

  Result<ListPage> of_message(queue::MessageId id) {
    ListPage page;
    const auto message = spool_.show(id);
    if (!message) {
      if (message.error().code == std::errc::no_such_file_or_directory) return page;
      return std::unexpected(message.error());
    }
    for (const queue::DueEntry& entry : message->entries) {
      if (lane_matches(entry.lane) && message_matches(*message)) page.entries.push_back(listed(entry, *message, site_));
    }
    return page;
  }

  Result<ListPage> scan(std::optional<queue::DueEntry> after, std::size_t limit) {
    ListPage page;
    for (std::size_t scanned = 0; scanned < kMaxScanned;) {
      const auto chunk = spool_.list(after, kScanChunk);
      if (!chunk) return std::unexpected(chunk.error());
      for (const queue::DueEntry& entry : *chunk) {
        if (!selector_.domain.empty() && entry.lane.domain != selector_.domain) return page;
        if (auto added = add_if_meant(entry, page); !added) return std::unexpected(added.error());
        after = entry;
        ++scanned;
        if (page.entries.size() >= limit) {
          page.next_cursor = make_cursor(entry);
          return page;
        }
      }
      if (chunk->size() < kScanChunk) return page;
    }
    page.next_cursor = make_cursor(*after);
    return page;
  }

 private:
  Result<void> add_if_meant(const queue::DueEntry& entry, ListPage& page) {
    if (!lane_matches(entry.lane)) return {};
    const auto message = spool_.show(entry.id);
    if (!message) {  // delivered since the chunk was read
      if (message.error().code == std::errc::no_such_file_or_directory) return {};
      return std::unexpected(message.error());
    }
    if (message_matches(*message)) page.entries.push_back(listed(entry, *message, site_));
    return {};
  }

  bool lane_matches(const queue::LaneKey& lane) {
    if (!selector_.domain.empty() && lane.domain != selector_.domain) return false;
    if (!selector_.tenant.empty() && lane.tenant != selector_.tenant) return false;
    if (selector_.klass && lane.klass != *selector_.klass) return false;
    if (lane.domain != site_domain_) {  // entries come sorted by domain
      site_domain_ = lane.domain;
      site_ = ports_.site_of(lane.domain);
    }
    return selector_.site.empty() || site_ == selector_.site;
  }

  bool message_matches(const queue::StoredMessage& message) const {
    if (!selector_.campaign.empty() && message.envelope.campaign != selector_.campaign) return false;
    return !selector_.older_than || now_ - message.envelope.arrived_at >= *selector_.older_than;
  }

  queue::Spool& spool_;
  Ports& ports_;
  const Selector& selector_;
  TimePoint now_;
  std::string site_domain_, site_;  ///< of the last entry looked at
};

}  // namespace

Result<ListPage> list_queue(queue::Spool& spool, Ports& ports, const Clock& clock, const Selector& selector,
                            const std::string& cursor, std::size_t limit) {
  std::optional<queue::DueEntry> after;
  if (!cursor.empty()) {
    after = parse_cursor(cursor);
    if (!after) return std::unexpected(Error{std::errc::invalid_argument, "cursor"});
  } else if (!selector.domain.empty()) {
    after = start_of_domain(selector.domain);
  }
  Listing listing(spool, ports, selector, clock.now());
  if (const auto id = queue::MessageId::parse(selector.id)) return listing.of_message(*id);
  return listing.scan(std::move(after), std::min(limit, kMaxPageEntries));
}

std::string make_cursor(const queue::DueEntry& last) {
  const std::string text =
      fmt::format("{1}{0}{2}{0}{3}{0}{4}{0}{5}", kSeparator, last.lane.domain, static_cast<int>(last.lane.klass),
                  last.lane.tenant, to_millis(last.due), last.id.value);
  std::string cursor;
  for (const char c : text) cursor += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return cursor;
}

std::optional<queue::DueEntry> parse_cursor(std::string_view cursor) {
  const auto text = from_hex(cursor);
  if (!text) return std::nullopt;
  std::array<std::string_view, 5> parts;
  std::string_view rest = *text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t end = i + 1 < parts.size() ? rest.find(kSeparator) : rest.size();
    if (end == std::string_view::npos) return std::nullopt;
    parts[i] = rest.substr(0, end);
    rest = rest.substr(std::min(end + 1, rest.size()));
  }
  const auto number = [](std::string_view digits, auto& value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc{} && end == digits.data() + digits.size();
  };
  int klass = 0;
  std::int64_t due = 0;
  queue::DueEntry entry;
  if (!number(parts[1], klass) || klass < 0 || klass > 1 || !number(parts[3], due) ||
      !number(parts[4], entry.id.value)) {
    return std::nullopt;
  }
  entry.lane = {std::string(parts[0]), static_cast<mail::MailClass>(klass), std::string(parts[2])};
  entry.due = from_millis(due);
  return entry;
}

}  // namespace danki::admin
