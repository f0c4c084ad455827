#include "mail/dsn.hpp"

#include "base/utf8.hpp"
#include "mail/ascii.hpp"
#include "mail/header_block.hpp"
#include "mail/path.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danki::mail {
namespace {

using Action = DsnRecipient::Action;

constexpr std::size_t kMaxReturnedBytes = 64 * 1024;  // of the original, whole or header section
constexpr std::size_t kMaxLineBytes = 998;            // RFC 5322 section 2.1.1, without CRLF
constexpr std::size_t kFoldAtBytes = 76;              // RFC 5322 section 2.1.1 asks for 78
constexpr std::size_t kMaxWordBytes = 900;            // a longer word is cut in two, so that no line exceeds 998
constexpr std::size_t kMaxBoundaryBytes = 44;         // RFC 2046 section 5.1.1 allows 70; 26 are for safe_boundary()

struct Style {
  bool utf8;             ///< the report is one of RFC 6533
  std::string boundary;  ///< occurs nowhere in the original
};

/// `text` with nothing in it that could end a line, and ASCII or well-formed UTF-8; anything else becomes '?'.
std::string cleaned(std::string_view text, bool utf8) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_sequence_length(text);
    const bool keep = length == 1 ? !is_control(text[0]) : length > 1 && utf8;
    if (keep) {
      clean += text.substr(0, length);
    } else {
      clean += text[0] == '\t' ? ' ' : '?';
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return clean;
}

/// Appends `text` behind the `column` octets that its line holds already, broken at spaces into lines that begin with
/// `indent`. With " " as indent, unfolding gives the text back.
void append_wrapped(std::string& out, std::string_view text, std::size_t column, std::string_view indent) {
  bool is_first = true;
  while (!text.empty() || is_first) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view word = utf8_prefix(text.substr(0, space), kMaxWordBytes);
    if (!is_first && !word.empty() && column + 1 + word.size() > kFoldAtBytes) {
      out += "\r\n";
      out += indent;
      column = indent.size();
    } else if (!is_first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    is_first = false;
    text.remove_prefix(word.size() < space ? word.size() : std::min(space + 1, text.size()));
  }
}

/// "Name: value" with folding; nothing for an empty value.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += name;
  out += ": ";
  append_wrapped(out, value, name.size() + 2, " ");
  out += "\r\n";
}

/// Calls `each` with every line of a reply's text.
template <class Each>
void for_each_line(std::string_view text, Each each) {
  for (;;) {
    const std::size_t newline = text.find('\n');
    each(text.substr(0, newline));
    if (newline == std::string_view::npos) return;
    text.remove_prefix(newline + 1);
  }
}

std::string_view action_name(Action action) {
  switch (action) {
    case Action::Failed:
      return "failed";
    case Action::Delayed:
      return "delayed";
    case Action::Delivered:
      return "delivered";
    case Action::Relayed:
      return "relayed";
    case Action::Expanded:
      return "expanded";
  }
  return "failed";
}

EnhancedStatus status_of(const DsnRecipient& recipient) {
  if (recipient.status != EnhancedStatus{}) return recipient.status;
  const int klass = recipient.action == Action::Failed ? 5 : recipient.action == Action::Delayed ? 4 : 2;
  // A 4.x.x that led to the end of all attempts says more than 5.0.0 (RFC 3464 section 2.3.4 allows it).
  if (recipient.reply && recipient.reply->enhanced) return *recipient.reply->enhanced;
  return {klass, 0, 0};
}

bool all_are(const DsnRequest& request, std::initializer_list<Action> actions) {
  return std::all_of(request.recipients.begin(), request.recipients.end(), [&](const DsnRecipient& r) {
    return std::find(actions.begin(), actions.end(), r.action) != actions.end();
  });
}

bool any_is(const DsnRequest& request, Action action) {
  return std::any_of(request.recipients.begin(), request.recipients.end(),
                     [&](const DsnRecipient& r) { return r.action == action; });
}

std::string_view subject_of(const DsnRequest& request) {
  if (all_are(request, {Action::Failed})) return "Your message could not be delivered";
  if (all_are(request, {Action::Delayed})) return "Your message is delayed";
  if (all_are(request, {Action::Delivered, Action::Relayed, Action::Expanded})) return "Your message was delivered";
  return "Delivery status of your message";
}

// The part for people.

std::string_view headline_of(Action action) {
  switch (action) {
    case Action::Failed:
      return "Your message could not be delivered to this recipient, and no further attempt will be made:";
    case Action::Delayed:
      return "Your message has not been delivered to this recipient yet. You need not send it again:";
    case Action::Delivered:
      return "Your message was delivered to this recipient:";
    case Action::Relayed:
      return "Your message was handed on to the mail server of this recipient, which sends no notification when it "
             "delivers:";
    case Action::Expanded:
      return "Your message was delivered to this mailing list or alias, which handed it on to its members:";
  }
  return "";
}

void append_paragraph(std::string& out, std::string_view text) {
  append_wrapped(out, text, 0, "");
  out += "\r\n\r\n";
}

void append_indented(std::string& out, std::string_view text) {
  constexpr std::string_view kIndent = "    ";
  out += kIndent;
  append_wrapped(out, text, kIndent.size(), kIndent);
  out += "\r\n";
}

void append_recipient_for_people(std::string& out, const DsnRequest& request, const DsnRecipient& recipient) {
  append_paragraph(out, headline_of(recipient.action));
  append_indented(out, '<' + cleaned(recipient.recipient.address.to_string(), true) + '>');
  if (recipient.reply) {
    const Reply& reply = *recipient.reply;
    append_indented(out, recipient.remote_mta.empty()
                             ? std::string("The answer was:")
                             : fmt::format("The mail server {} answered:", cleaned(recipient.remote_mta, true)));
    std::string codes = std::to_string(reply.code);
    if (reply.enhanced) codes += ' ' + reply.enhanced->to_string();
    for_each_line(reply.text, [&](std::string_view line) { append_indented(out, codes + ' ' + cleaned(line, true)); });
  }
  if (!recipient.reason.empty()) {
    for_each_line(recipient.reason, [&](std::string_view line) { append_indented(out, cleaned(line, true)); });
  }
  if (recipient.action == Action::Delayed && request.envelope->expires_at != TimePoint{}) {
    append_indented(out, "It will be tried until " + to_rfc5322(request.envelope->expires_at) + '.');
  }
  out += "\r\n";
}

std::string text_for_people(const DsnRequest& request, bool returns_whole) {
  std::string text;
  append_paragraph(text, fmt::format("This is the mail system at {}, about the message that you sent on {}.",
                                     cleaned(request.reporting_mta, true), to_rfc5322(request.envelope->arrived_at)));
  for (const DsnRecipient& recipient : request.recipients) append_recipient_for_people(text, request, recipient);
  append_paragraph(text, returns_whole ? "Details for mail programs follow, then your message."
                                       : "Details for mail programs follow, then the header of your message.");
  append_paragraph(text, "Identifier of the message here: " + cleaned(request.id, false));
  return text;
}

// The part for programs, RFC 3464 section 2.

/// "type; address" out of an ORCPT parameter; empty if there is none or it is none.
std::string original_recipient(const Recipient& recipient, bool utf8) {
  const std::size_t semicolon = recipient.orcpt.find(';');
  if (semicolon == std::string::npos || semicolon == 0) return {};
  const auto address = decode_xtext(std::string_view(recipient.orcpt).substr(semicolon + 1));
  if (!address) return {};
  return cleaned(recipient.orcpt.substr(0, semicolon), false) + "; " + cleaned(*address, utf8);
}

void append_diagnostic(std::string& out, const DsnRecipient& recipient, bool utf8) {
  if (!recipient.reply) {
    if (!recipient.reason.empty()) append_field(out, "Diagnostic-Code", "X-Danki; " + cleaned(recipient.reason, utf8));
    return;
  }
  const Reply& reply = *recipient.reply;
  const std::size_t begin = out.size();
  out += fmt::format("Diagnostic-Code: smtp; {}", reply.code);
  if (reply.enhanced) out += ' ' + reply.enhanced->to_string();
  bool is_first = true;
  for_each_line(reply.text, [&](std::string_view line) {
    const std::string clean = cleaned(line, utf8);
    if (clean.find_first_not_of(' ') == std::string::npos) return;  // a line of spaces alone is no folding
    out += is_first ? " " : "\r\n ";
    append_wrapped(out, clean, is_first ? out.size() - begin : 1, " ");
    is_first = false;
  });
  out += "\r\n";
}

void append_recipient_for_programs(std::string& out, const DsnRequest& request, const DsnRecipient& recipient,
                                   bool utf8) {
  const Address& address = recipient.recipient.address;
  append_field(out, "Original-Recipient", original_recipient(recipient.recipient, utf8));
  append_field(out, "Final-Recipient",
               (address.needs_smtputf8() ? "utf-8; " : "rfc822; ") + cleaned(address.to_string(), utf8));
  append_field(out, "Action", action_name(recipient.action));
  append_field(out, "Status", status_of(recipient).to_string());
  if (!recipient.remote_mta.empty()) append_field(out, "Remote-MTA", "dns; " + cleaned(recipient.remote_mta, false));
  append_diagnostic(out, recipient, utf8);
  if (recipient.last_attempt_at != TimePoint{}) {
    append_field(out, "Last-Attempt-Date", to_rfc5322(recipient.last_attempt_at));
  }
  append_field(out, "Final-Log-ID", cleaned(request.id, false));
  if (recipient.action == Action::Delayed && request.envelope->expires_at != TimePoint{}) {
    append_field(out, "Will-Retry-Until", to_rfc5322(request.envelope->expires_at));
  }
}

std::string text_for_programs(const DsnRequest& request, bool utf8) {
  std::string text;
  if (!request.envelope->envid.empty()) {
    const auto envid = decode_xtext(request.envelope->envid);
    if (envid) append_field(text, "Original-Envelope-Id", cleaned(*envid, false));
  }
  append_field(text, "Reporting-MTA", "dns; " + cleaned(request.reporting_mta, false));
  append_field(text, "Arrival-Date", to_rfc5322(request.envelope->arrived_at));
  for (const DsnRecipient& recipient : request.recipients) {
    text += "\r\n";
    append_recipient_for_programs(text, request, recipient, utf8);
  }
  return text;
}

// The returned part.

/// CRLF line ends only, no line over 998 octets, no NUL.
bool has_proper_lines(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    if (end > kMaxLineBytes) return false;
    text.remove_prefix(end);
    if (!text.empty() && !text.starts_with("\r\n")) return false;
    text.remove_prefix(std::min<std::size_t>(2, text.size()));
  }
  return true;
}

/// RET is about failures only (RFC 3461 section 4.3); whoever asked for success learns nothing from the body.
bool may_return_whole(const DsnRequest& request) {
  return request.envelope->ret == DsnReturn::Full && any_is(request, Action::Failed) &&
         request.original.size() < kMaxReturnedBytes && has_proper_lines(request.original);
}

/// The header section, field by field as far as it fits. A field that no mail system accepts is left out.
std::string returned_header(std::string_view original) {
  std::string header;
  const HeaderBlock block = HeaderBlock::parse(original);
  for (const HeaderField& field : block.fields()) {
    if (header.size() + field.raw.size() > kMaxReturnedBytes) break;
    if (!has_proper_lines(field.raw)) continue;
    header += field.raw;
  }
  if (!header.empty() && !header.ends_with("\r\n")) header += "\r\n";
  return header;
}

/// The header section, for a look at its octets: bounded, as what is returned of it is.
std::string_view header_octets(const DsnRequest& request) {
  const std::size_t end = std::min(request.original.find("\r\n\r\n"), request.original.size());
  return request.original.substr(0, std::min(end, kMaxReturnedBytes));
}

void append_part(std::string& out, const Style& style, std::string_view type, std::string_view description,
                 std::string_view content) {
  out += fmt::format("--{}\r\nContent-Description: {}\r\nContent-Type: {}\r\n", style.boundary, description, type);
  if (!is_ascii(content)) out += "Content-Transfer-Encoding: 8bit\r\n";
  out += "\r\n";
  out += content;
  out += "\r\n";  // belongs to the delimiter that follows (RFC 2046 section 5.1.1)
}

/// Letters and digits only, and nothing that a line of the original begins with.
std::string safe_boundary(const DsnRequest& request) {
  std::string boundary;
  for (const char c : request.boundary) {
    if (is_alnum(c) && boundary.size() < kMaxBoundaryBytes) boundary += c;
  }
  if (boundary.empty()) boundary = "report";
  for (char last = 'a'; last <= 'z' && request.original.find("--" + boundary) != std::string_view::npos; ++last) {
    boundary += last;
  }
  return boundary;
}

std::string message_id(const DsnRequest& request, const Style& style) {
  std::string local;
  for (const char c : request.id) {
    if (is_alnum(c) || c == '-' || c == '_') local += c;
  }
  return fmt::format("<{}.{}@{}>", local, style.boundary, cleaned(request.reporting_mta, false));
}

void append_own_header(std::string& out, const DsnRequest& request, const Style& style, bool has_8bit) {
  append_field(out, "Date", to_rfc5322(request.now));
  append_field(out, "From",
               fmt::format("Mail Delivery System <MAILER-DAEMON@{}>", cleaned(request.reporting_mta, false)));
  append_field(out, "To", '<' + cleaned(request.envelope->reverse_path.to_string(), style.utf8) + '>');
  append_field(out, "Subject", subject_of(request));
  append_field(out, "Message-ID", message_id(request, style));
  append_field(out, "Auto-Submitted", "auto-replied");  // RFC 3834 section 5
  append_field(out, "MIME-Version", "1.0");
  append_field(out, "Content-Type",
               fmt::format("multipart/report; report-type=delivery-status; boundary=\"{}\"", style.boundary));
  if (has_8bit) append_field(out, "Content-Transfer-Encoding", "8bit");  // RFC 2045 section 6.4
  out += "\r\n";
}

}  // namespace

bool needs_smtputf8(const DsnRequest& request) {
  const bool address_needs = std::any_of(request.recipients.begin(), request.recipients.end(),
                                         [](const DsnRecipient& r) { return r.recipient.address.needs_smtputf8(); });
  return address_needs || request.envelope->reverse_path.needs_smtputf8() ||
         (request.envelope->smtputf8 && !is_ascii(header_octets(request)));
}

std::string build_dsn(const DsnRequest& request) {
  const Style style{.utf8 = needs_smtputf8(request), .boundary = safe_boundary(request)};
  const bool whole = may_return_whole(request);
  const std::string for_people = text_for_people(request, whole);
  const std::string for_programs = text_for_programs(request, style.utf8);
  const std::string returned = whole ? std::string(request.original) : returned_header(request.original);
  const bool has_8bit = !is_ascii(for_people) || !is_ascii(for_programs) || !is_ascii(returned);

  std::string message;
  message.reserve(for_people.size() + for_programs.size() + returned.size() + 2048);
  append_own_header(message, request, style, has_8bit);
  append_part(message, style, is_ascii(for_people) ? "text/plain; charset=us-ascii" : "text/plain; charset=utf-8",
              "What happened", for_people);
  append_part(message, style, style.utf8 ? "message/global-delivery-status" : "message/delivery-status",
              "Delivery status", for_programs);
  if (whole) {
    append_part(message, style, style.utf8 ? "message/global" : "message/rfc822", "Your message", returned);
  } else {
    append_part(message, style, style.utf8 ? "message/global-headers" : "text/rfc822-headers", "Header of your message",
                returned);
  }
  message += "--" + style.boundary + "--\r\n";
  return message;
}

}  // namespace danki::mail
