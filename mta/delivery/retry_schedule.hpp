#pragma once

#include "base/random.hpp"
#include "base/time.hpp"
#include "mail/reply.hpp"

#include <chrono>
#include <optional>
#include <vector>

namespace danki::delivery {

/// Jitter either way, so that what failed together does not come back together.
inline constexpr double kRetryJitter = 0.1;
/// A stated time beyond this is not believed: it would outlive most mail, and no greylist asks for it (RFC 6647 section
/// 5: from one minute to a day).
inline constexpr std::chrono::seconds kMaxStatedRetry{24 * 3600};

/// When to try again after the `attempts`-th attempt (counted from 1) failed for now: `steps` in turn, the last one
/// repeats, each spread by kRetryJitter. `steps` is not empty. `stated`, the time a reply asked for, overrides a
/// shorter step and is then never undercut by the jitter.
TimePoint next_attempt_at(TimePoint now, unsigned attempts, const std::vector<std::chrono::seconds>& steps,
                          Random& random, std::optional<std::chrono::seconds> stated = std::nullopt);

/// The time after which a 4xx reply says to come back, as greylisting and rate limits do (RFC 6647; RFC 5321 section
/// 4.5.4.1 lets the client follow what it knows of the reason). Conservative: a number with a unit of time must follow
/// words that ask for another try, nothing else is taken for it; nullopt when there is none, when it is zero, or above
/// kMaxStatedRetry. With several the longest counts.
///
/// Read as such, in any case: "try again in 300 seconds", "retry after 5 minutes", "Greylisted for 300 sec.",
/// "come back in 00:04:59" (hours, minutes, seconds), "wait at least 2 min", "retry=300s".
std::optional<std::chrono::seconds> stated_retry_after(const mail::Reply& reply);

}  // namespace danki::delivery
