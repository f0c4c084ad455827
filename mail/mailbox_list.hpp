#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace danki::mail {

inline constexpr std::size_t kMaxMailboxes = 1'000;  ///< in one field

/// The addr-specs of a From, Sender or Reply-To value (RFC 5322 section 3.4, obsolete forms too): mailbox-list and
/// groups, comments, quoted strings and folding understood, encoded words left alone. Domains normalised as in
/// address.hpp, local parts quoted only where they must be. Milder than the RFC in one thing: a display name may have
/// "@" and words between square brackets without quotes, unless somebody might take what it says for another address
/// than the one behind it; that is an error. Never empty: a list without a mailbox is an error
/// (mail::Errc::BadMailboxList).
Result<std::vector<std::string>> parse_mailbox_list(std::string_view value);

}  // namespace danki::mail
