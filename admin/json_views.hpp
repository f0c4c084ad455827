#pragma once

#include "admin/ports.hpp"
#include "admin/queue_listing.hpp"
#include "queue/spool.hpp"

#include <string>
#include <string_view>
#include <vector>

/// What the API answers, as JSON text. Times are RFC 3339; a time, reply or reason that there is not is left out. Text
/// of strangers is made valid UTF-8.
namespace danki::admin {

std::string error_json(std::string_view text);
std::string status_json(const StatusView& view, const queue::SpoolStats& spool, TimePoint now);
std::string sites_json(const std::vector<SiteView>& sites);
std::string page_json(const ListPage& page);
/// `sites`: that of each of message.entries, in the same order.
std::string message_json(const queue::StoredMessage& message, const std::vector<std::string>& sites);

}  // namespace danki::admin
