#pragma once

#include "admin/ports.hpp"
#include "base/result.hpp"
#include "queue/message.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace danki::queue {
class Spool;
struct StoredMessage;
}  // namespace danki::queue

namespace danki::admin {

/// One due entry as a list shows it.
struct ListedEntry {
  queue::MessageId id;
  queue::LaneKey lane;
  std::string site;
  std::string campaign, from, first_recipient;
  std::size_t recipients = 0;
  std::uint64_t size = 0;
  TimePoint arrived_at{}, expires_at{}, next_attempt_at{}, last_attempt_at{};
  std::uint32_t attempts = 0;             ///< the most of any of its recipients
  std::optional<mail::Reply> last_reply;  ///< of the recipient tried last
  std::string last_reason, last_source;
};

struct ListPage {
  std::vector<ListedEntry> entries;
  std::string next_cursor;  ///< empty: the list ends here. A page may be short, even empty, and yet not be the last
};

inline constexpr std::size_t kMaxPageEntries = 500;

/// The entries that `selector` means, in the order of the due index, from `cursor` on (empty: the start). Blocks on the
/// disk, and looks at a bounded number of entries a call, so that a rare selector on a long queue costs many short
/// calls instead of a long one. The error invalid_argument means that the cursor is none of ours.
Result<ListPage> list_queue(queue::Spool& spool, Ports& ports, const Clock& clock, const Selector& selector,
                            const std::string& cursor, std::size_t limit);

/// Shown for tests.
std::string make_cursor(const queue::DueEntry& last);
std::optional<queue::DueEntry> parse_cursor(std::string_view cursor);

}  // namespace danki::admin
