#include "mta/submission/command.hpp"

#include "base/utf8.hpp"
#include "mail/ascii.hpp"
#include "mail/path.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace danki::submission {
namespace {

constexpr std::size_t kMaxEnvidBytes = 100;  // RFC 3461 section 4.4
constexpr std::size_t kMaxOrcptBytes = 500;  // RFC 3461 section 4.2
constexpr std::size_t kMaxHeloBytes = 255;   // RFC 5321 section 4.5.3.1.2

struct VerbName {
  std::string_view name;
  Verb verb;
};
constexpr std::array<VerbName, 14> kVerbs{{{"MAIL", Verb::Mail},
                                           {"RCPT", Verb::Rcpt},
                                           {"DATA", Verb::Data},
                                           {"BDAT", Verb::Bdat},
                                           {"RSET", Verb::Rset},
                                           {"NOOP", Verb::Noop},
                                           {"QUIT", Verb::Quit},
                                           {"EHLO", Verb::Ehlo},
                                           {"HELO", Verb::Helo},
                                           {"VRFY", Verb::Vrfy},
                                           {"EXPN", Verb::Expn},
                                           {"HELP", Verb::Help},
                                           {"AUTH", Verb::Auth},
                                           {"STARTTLS", Verb::StartTls}}};

std::unexpected<Answer> answer(int code, std::string_view enhanced, std::string text) {
  return std::unexpected(Answer{.code = code, .enhanced = enhanced, .text = std::move(text)});
}

std::unexpected<Answer> bad_parameter(std::string text) {
  return answer(501, "5.5.4", std::move(text));
}

std::unexpected<Answer> unknown_parameter(std::string_view keyword) {
  return answer(555, "5.5.4", fmt::format("parameter {} is not known here", keyword));
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_printable_xtext(std::string_view text) {
  const auto decoded = mail::decode_xtext(text);
  return decoded && !decoded->empty() && std::none_of(decoded->begin(), decoded->end(), mail::is_control);
}

bool parse_ret(std::string_view value, mail::DsnReturn& ret) {
  if (mail::iequals(value, "FULL")) {
    ret = mail::DsnReturn::Full;
  } else if (mail::iequals(value, "HDRS")) {
    ret = mail::DsnReturn::Headers;
  } else {
    return false;
  }
  return true;
}

bool parse_body(std::string_view value, mail::BodyType& body) {
  if (mail::iequals(value, "8BITMIME")) {
    body = mail::BodyType::EightBitMime;
    return true;
  }
  return mail::iequals(value, "7BIT");  // BINARYMIME is not announced
}

/// "NEVER", or a list of the others (RFC 3461 section 4.1).
bool parse_notify(std::string_view value, std::uint8_t& notify) {
  if (mail::iequals(value, "NEVER")) {
    notify = mail::kNotifyNever;
    return true;
  }
  while (true) {
    const std::size_t comma = value.find(',');
    const std::string_view word = value.substr(0, comma);
    if (mail::iequals(word, "SUCCESS")) {
      notify |= mail::kNotifySuccess;
    } else if (mail::iequals(word, "FAILURE")) {
      notify |= mail::kNotifyFailure;
    } else if (mail::iequals(word, "DELAY")) {
      notify |= mail::kNotifyDelay;
    } else {
      return false;
    }
    if (comma == std::string_view::npos) return true;
    value.remove_prefix(comma + 1);
  }
}

/// addr-type ";" xtext (RFC 3461 section 4.2).
bool is_orcpt(std::string_view value) {
  const std::size_t semicolon = value.find(';');
  if (value.size() > kMaxOrcptBytes || semicolon == 0 || semicolon == std::string_view::npos) return false;
  const std::string_view type = value.substr(0, semicolon);
  return std::all_of(type.begin(), type.end(), mail::is_atext) && is_printable_xtext(value.substr(semicolon + 1));
}

std::optional<Answer> take_mail_parameter(const mail::Parameter& parameter, MailCommand& command) {
  const auto& [keyword, value] = parameter;
  if (keyword == "SIZE") {
    const auto size = parse_number(value);
    if (!size) return bad_parameter("SIZE takes a number of octets").error();
    command.size = *size;
  } else if (keyword == "BODY") {
    if (!parse_body(value, command.body)) return bad_parameter("BODY is 7BIT or 8BITMIME").error();
  } else if (keyword == "SMTPUTF8") {
    if (!value.empty()) return bad_parameter("SMTPUTF8 takes no value").error();
    command.smtputf8 = true;
  } else if (keyword == "RET") {
    if (!parse_ret(value, command.ret)) return bad_parameter("RET is FULL or HDRS").error();
  } else if (keyword == "ENVID") {
    if (value.size() > kMaxEnvidBytes || !is_printable_xtext(value)) {
      return bad_parameter("ENVID is up to 100 octets of xtext").error();
    }
    command.envid = value;
  } else if (keyword == "AUTH") {  // RFC 4954 section 5: who submitted it first; we vouch for nobody but the tenant
    if (value != "<>" && !is_printable_xtext(value)) return bad_parameter("AUTH is an address in xtext or <>").error();
  } else {
    return unknown_parameter(keyword).error();
  }
  return std::nullopt;
}

std::optional<Answer> take_rcpt_parameter(const mail::Parameter& parameter, mail::Recipient& recipient) {
  const auto& [keyword, value] = parameter;
  if (keyword == "NOTIFY") {
    if (!parse_notify(value, recipient.notify)) {
      return bad_parameter("NOTIFY is NEVER or a list of SUCCESS, FAILURE, DELAY").error();
    }
  } else if (keyword == "ORCPT") {
    if (!is_orcpt(value)) return bad_parameter("ORCPT is like rfc822;xtext").error();
    recipient.orcpt = value;
  } else {
    return unknown_parameter(keyword).error();
  }
  return std::nullopt;
}

Answer non_ascii_address() {
  return {.code = 553, .enhanced = "5.6.7", .text = "a non-ASCII address needs SMTPUTF8"};
}

/// True if the path in `text`, of which `rest` follows it, has octets that only SMTPUTF8 allows.
bool path_needs_smtputf8(std::string_view text, std::string_view rest) {
  const std::size_t path_end = rest.empty() ? text.size() : static_cast<std::size_t>(rest.data() - text.data());
  return !is_ascii(text.substr(0, path_end));
}

}  // namespace

Command parse_command(std::string_view line) {
  const bool garbage = std::any_of(line.begin(), line.end(), [](char c) { return mail::is_control(c) && c != '\t'; });
  if (garbage) return {};
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view name = line.substr(0, end);
  for (const VerbName& known : kVerbs) {
    if (mail::iequals(name, known.name)) return {known.verb, mail::trim_wsp(line.substr(end))};
  }
  return {};
}

bool is_helo_name(std::string_view argument) {
  return !argument.empty() && argument.size() <= kMaxHeloBytes &&
         std::none_of(argument.begin(), argument.end(), [](char c) { return mail::is_control(c) || c == ' '; });
}

std::expected<MailCommand, Answer> parse_mail(std::string_view argument) {
  if (!mail::istarts_with(argument, "FROM:")) return bad_parameter("MAIL takes FROM:<address>");
  const std::string_view text = argument.substr(5);
  const auto path = mail::parse_path(text, {.allow_null = true});
  if (!path) return answer(501, "5.1.7", path.error().detail);
  const auto parameters = mail::parse_parameters(path->rest);
  if (!parameters) return bad_parameter(parameters.error().detail);

  MailCommand command;
  command.reverse_path = path->address;
  for (const mail::Parameter& parameter : *parameters) {
    if (auto no = take_mail_parameter(parameter, command)) return std::unexpected(std::move(*no));
  }
  if (!command.smtputf8 && path_needs_smtputf8(text, path->rest)) return std::unexpected(non_ascii_address());
  return command;
}

std::expected<mail::Recipient, Answer> parse_rcpt(std::string_view argument, bool smtputf8) {
  if (!mail::istarts_with(argument, "TO:")) return bad_parameter("RCPT takes TO:<address>");
  const std::string_view text = argument.substr(3);
  const auto path = mail::parse_path(text, {.allow_postmaster = true});
  if (!path) return answer(501, "5.1.3", path.error().detail);
  if (!smtputf8 && path_needs_smtputf8(text, path->rest)) return std::unexpected(non_ascii_address());
  const auto parameters = mail::parse_parameters(path->rest);
  if (!parameters) return bad_parameter(parameters.error().detail);

  mail::Recipient recipient;
  recipient.address = path->address;
  for (const mail::Parameter& parameter : *parameters) {
    if (auto no = take_rcpt_parameter(parameter, recipient)) return std::unexpected(std::move(*no));
  }
  if (!is_ascii(recipient.orcpt)) {
    if (!smtputf8) return std::unexpected(non_ascii_address());
    // The next host may know DSN without SMTPUTF8. What is too long for it in ASCII helps nobody.
    recipient.orcpt = mail::ascii_orcpt(recipient.orcpt);
    if (recipient.orcpt.size() > kMaxOrcptBytes) recipient.orcpt.clear();
  }
  return recipient;
}

std::optional<BdatCommand> parse_bdat(std::string_view argument) {
  const std::size_t space = argument.find(' ');
  const auto size = parse_number(argument.substr(0, space));
  if (!size) return std::nullopt;
  if (space == std::string_view::npos) return BdatCommand{.size = *size};
  if (!mail::iequals(mail::trim_wsp(argument.substr(space)), "LAST")) return std::nullopt;
  return BdatCommand{.size = *size, .last = true};
}

}  // namespace danki::submission
