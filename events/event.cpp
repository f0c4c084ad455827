#include "events/event.hpp"

#include "base/utf8.hpp"

#include <array>
#include <charconv>
#include <concepts>

namespace danki::events {
namespace {

/// True for the octets that stand for themselves inside a JSON string. DEL could steer a terminal, so it is escaped
/// too.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x7F; ++c) plain[static_cast<std::size_t>(c)] = c != '"' && c != '\\';
  return plain;
}();

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

void append_unicode_escape(std::string& out, unsigned code_unit) {
  static constexpr char kHex[] = "0123456789abcdef";
  const char escape[] = {'\\', 'u', '0', '0', kHex[code_unit >> 4 & 0xF], kHex[code_unit & 0xF]};
  out.append(escape, sizeof escape);
}

void append_special(std::string& out, std::string_view& text) {
  const auto octet = static_cast<unsigned char>(text[0]);
  if (octet >= 0x80) {
    const std::size_t length = utf8_sequence_length(text);
    if (length == 0) {
      out += kReplacement;
    } else if (length == 2 && octet == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0) {
      append_unicode_escape(out, static_cast<unsigned char>(text[1]));  // C1 controls steer terminals too
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
    return;
  }
  switch (octet) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      append_unicode_escape(out, octet);
  }
  text.remove_prefix(1);
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size() && kPlain[static_cast<unsigned char>(text[plain])]) ++plain;
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (!text.empty()) append_special(out, text);
  }
  out += '"';
}

template <std::integral T>
void append_number(std::string& out, T number) {
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, end);
}

/// The members below take their name with quotes, comma and colon, so that each costs one append.
void text_member(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += name;
  append_string(out, value);
}

template <class T>
void number_member(std::string& out, std::string_view name, const std::optional<T>& value) {
  if (!value) return;
  out += name;
  append_number(out, *value);
}

void append_timestamp(std::string& out, TimePoint at) {
  // Events come in the order of time, so the calendar is computed once a second and the milliseconds are filled in.
  thread_local TimePoint cached_second = TimePoint::min();
  thread_local std::string cached_text;
  const TimePoint second = std::chrono::floor<std::chrono::seconds>(at);
  if (second != cached_second) {
    cached_text = to_rfc3339(second);
    cached_second = second;
  }
  const auto millis = static_cast<int>((at - second).count());
  out += cached_text;
  char* digits = out.data() + out.size() - 4;  // before the Z
  digits[0] = static_cast<char>('0' + millis / 100);
  digits[1] = static_cast<char>('0' + millis / 10 % 10);
  digits[2] = static_cast<char>('0' + millis % 10);
}

void append_reply(std::string& out, const mail::Reply& reply) {
  out += ",\"reply\":{\"code\":";
  append_number(out, reply.code);
  if (reply.enhanced) {
    out += ",\"enhanced\":\"";
    append_number(out, reply.enhanced->klass);
    out += '.';
    append_number(out, reply.enhanced->subject);
    out += '.';
    append_number(out, reply.enhanced->detail);
    out += '"';
  }
  text_member(out, ",\"text\":", reply.text);
  out += '}';
}

void append_evidence(std::string& out, const std::vector<std::pair<std::string, std::string>>& evidence) {
  if (evidence.empty()) return;
  out += ",\"evidence\":";
  char separator = '{';
  for (const auto& [key, value] : evidence) {
    out += separator;
    separator = ',';
    append_string(out, key);
    out += ':';
    append_string(out, value);
  }
  out += '}';
}

void append_tls(std::string& out, const Event::Tls& tls) {
  out += ",\"tls\":{";
  const std::size_t start = out.size();
  text_member(out, ",\"version\":", tls.version);
  text_member(out, ",\"cipher\":", tls.cipher);
  text_member(out, ",\"policy\":", tls.policy);
  if (out.size() > start) out.erase(start, 1);
  out += '}';
}

}  // namespace

std::string_view to_string(Type t) {
  static constexpr std::array<std::string_view, 21> kNames = {
      "accepted",  "signed",       "delivered", "deferred",     "bounced",    "expired", "suppressed",
      "complaint", "unsubscribed", "held",      "source_state", "path_state", "verdict", "listing",
      "warmup",    "audit",        "lint",      "alert",        "operator",   "config",  "error"};
  static_assert(static_cast<std::size_t>(Type::Error) + 1 == kNames.size());
  return kNames[static_cast<std::size_t>(t)];
}

void append_json(std::string& out, const Event& event, std::uint64_t event_id) {
  out += "{\"event_id\":";
  append_number(out, event_id);
  out += ",\"ts\":\"";
  append_timestamp(out, event.at);
  out += "\",\"event\":\"";
  out += to_string(event.type);
  out += '"';
  text_member(out, ",\"id\":", event.id);
  text_member(out, ",\"tenant\":", event.tenant);
  if (event.klass) text_member(out, ",\"class\":", mail::to_string(*event.klass));
  text_member(out, ",\"campaign\":", event.campaign);
  text_member(out, ",\"from\":", event.from);
  text_member(out, ",\"to\":", event.to);
  number_member(out, ",\"size\":", event.size);
  text_member(out, ",\"site\":", event.site);
  text_member(out, ",\"provider\":", event.provider);
  text_member(out, ",\"source\":", event.source);
  text_member(out, ",\"source_ip\":", event.source_ip);
  text_member(out, ",\"pool\":", event.pool);
  text_member(out, ",\"mx\":", event.mx);
  text_member(out, ",\"mx_ip\":", event.mx_ip);
  number_member(out, ",\"attempt\":", event.attempt);
  if (event.reply) append_reply(out, *event.reply);
  text_member(out, ",\"reply_class\":", event.reply_class);
  if (event.tls) append_tls(out, *event.tls);
  number_member(out, ",\"queued_ms\":", event.queued_ms);
  number_member(out, ",\"delivery_ms\":", event.delivery_ms);
  text_member(out, ",\"session\":", event.session);
  text_member(out, ",\"reason\":", event.reason);
  append_evidence(out, event.evidence);
  out += '}';
}

}  // namespace danki::events
