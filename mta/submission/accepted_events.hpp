#pragma once

#include "base/time.hpp"
#include "events/event_log.hpp"
#include "queue/spool.hpp"

#include <vector>

namespace danki::submission {

/// Writes an `accepted` event for each recipient of what the spool announces; that of our own report has as its reason
/// which message it is about. Called from the spool's on_stored before anyone else hears of the batch: no other event
/// of a message then stands before these, and they are in the kernel's hands before a client hears 250, so that kill -9
/// loses none of mail that was taken.
void record_accepted(const std::vector<queue::Accepted>& batch, events::EventLog& events, const Clock& clock);

}  // namespace danki::submission
