#pragma once

#include <string>
#include <system_error>

namespace danki::mail {

/// What kind of text was not well formed. The Error's detail says what is wrong with it, fit for an SMTP reply.
enum class Errc { BadAddress = 1, BadDomain, BadPath, BadParameter, BadXtext, BadMailboxList, LongLine };

std::error_code make_error_code(Errc e);

}  // namespace danki::mail

template <>
struct std::is_error_code_enum<danki::mail::Errc> : std::true_type {};
