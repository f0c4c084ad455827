#pragma once

#include "mail/envelope.hpp"
#include "mta/submission/answer.hpp"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace danki::submission {

/// A command line with its CRLF: 512 octets (RFC 5321 section 4.5.3.1.4) and what extensions add (SMTPUTF8, DSN's ENVID
/// and ORCPT, AUTH's responses).
inline constexpr std::size_t kMaxCommandLineBytes = 2048;

enum class Verb { Helo, Ehlo, Mail, Rcpt, Data, Bdat, Rset, Noop, Vrfy, Expn, Help, Quit, StartTls, Auth, Unknown };

struct Command {
  Verb verb = Verb::Unknown;
  std::string_view argument;  ///< without spaces around; a view into the line
};

/// `line` without its CRLF. A line with control characters is no command (tab excepted).
Command parse_command(std::string_view line);

/// The argument of HELO or EHLO as a name: not empty, printable, no spaces, at most 255 octets.
bool is_helo_name(std::string_view argument);

struct MailCommand {
  mail::Address reverse_path;
  std::uint64_t size = 0;  ///< SIZE=, RFC 1870; 0: not given
  mail::BodyType body = mail::BodyType::SevenBit;
  bool smtputf8 = false;
  mail::DsnReturn ret = mail::DsnReturn::Unset;
  std::string envid;  ///< xtext
};

/// The argument of MAIL: "FROM:<path> parameters". The error is the answer.
std::expected<MailCommand, Answer> parse_mail(std::string_view argument);
/// The argument of RCPT: "TO:<path> parameters". `smtputf8` as MAIL said. <Postmaster> has no domain.
std::expected<mail::Recipient, Answer> parse_rcpt(std::string_view argument, bool smtputf8);

struct BdatCommand {
  std::uint64_t size = 0;
  bool last = false;
};
/// RFC 3030 section 2.
std::optional<BdatCommand> parse_bdat(std::string_view argument);

}  // namespace danki::submission
