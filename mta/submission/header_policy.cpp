#include "mta/submission/header_policy.hpp"

#include "base/utf8.hpp"
#include "mail/address.hpp"
#include "mail/ascii.hpp"
#include "mail/header_block.hpp"
#include "mail/mailbox_list.hpp"
#include "mta/submission/moment.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace danki::submission {
namespace {

constexpr std::size_t kMaxCampaignBytes = 128;  // a name in every event of the message
constexpr std::size_t kMaxShownBytes = 60;      // of a line that is refused
constexpr std::string_view kOwnPrefix = "X-Danki-";
constexpr std::array<std::string_view, 1> kOwnFields{"X-Danki-*"};

Answer refuse(std::string text) {
  return {.code = 550, .enhanced = "5.7.1", .text = std::move(text)};
}

Answer malformed(std::string text) {
  return {.code = 550, .enhanced = "5.6.0", .text = std::move(text)};
}

/// Names that occur in nearly every message, counted in one walk over the fields.
struct Census {
  std::size_t from = 0, received = 0, date = 0, message_id = 0, own = 0;
  const mail::HeaderField* from_field = nullptr;

  explicit Census(const mail::HeaderBlock& block) {
    for (const mail::HeaderField& field : block.fields()) {
      switch (field.name.size()) {
        case 4:
          if (mail::iequals(field.name, "From")) {
            ++from;
            from_field = &field;
          } else if (mail::iequals(field.name, "Date")) {
            ++date;
          }
          break;
        case 8:
          if (mail::iequals(field.name, "Received")) ++received;
          break;
        case 10:
          if (mail::iequals(field.name, "Message-ID")) ++message_id;
          break;
        default:
          break;
      }
      if (mail::istarts_with(field.name, kOwnPrefix)) ++own;
    }
  }
};

/// A line that is no field ends the section for some readers and is passed over by others: what a signature of ours
/// would say of such a message depends on who verifies it. `header` goes on behind its fields with more than the empty
/// line.
Answer no_field(std::string_view header, std::size_t fields_end) {
  const std::string_view before = header.substr(0, fields_end);
  const std::string_view rest = header.substr(fields_end);
  const std::string_view line = rest.substr(0, std::min({rest.find('\r'), rest.find('\n'), kMaxShownBytes}));
  return malformed(fmt::format("line {} of the header section is no field: {}",
                               std::count(before.begin(), before.end(), '\n') + 1, line));
}

bool belongs_to(std::string_view domain, const TenantOptions& tenant) {
  return std::any_of(tenant.domains.begin(), tenant.domains.end(),
                     [&](const std::string& pattern) { return mail::domain_matches(domain, pattern); });
}

std::optional<Answer> judge_from(std::string_view value, const TenantOptions& tenant, std::string& from_domain) {
  const auto mailboxes = mail::parse_mailbox_list(value);
  if (!mailboxes) return refuse("From field: " + mailboxes.error().detail);
  for (const std::string& mailbox : *mailboxes) {
    const std::string_view domain = std::string_view(mailbox).substr(mailbox.rfind('@') + 1);
    if (!belongs_to(domain, tenant)) {
      return refuse(fmt::format("From domain {} is not one of {}'s", domain, tenant.name));
    }
    if (from_domain.empty()) from_domain = domain;
  }
  return std::nullopt;
}

/// One of our own fields.
std::optional<Answer> obey(const mail::HeaderField& field, const HeaderContext& context, HeaderVerdict& verdict) {
  const std::string_view name = field.name.substr(kOwnPrefix.size());
  const std::string value = mail::unfold(field.value);
  if (mail::iequals(name, "Campaign")) {
    const bool printable = std::none_of(value.begin(), value.end(), mail::is_control);
    if (value.size() > kMaxCampaignBytes || !is_utf8(value) || !printable) {
      return malformed(fmt::format("X-Danki-Campaign takes up to {} octets of text", kMaxCampaignBytes));
    }
    verdict.campaign = value;
  } else if (mail::iequals(name, "Pool")) {
    const auto& pools = context.tenant.pools;
    if (value != context.tenant.pool && std::find(pools.begin(), pools.end(), value) == pools.end()) {
      return refuse(fmt::format("pool {} is not one of {}'s", value, context.tenant.name));
    }
    verdict.pool = value;
  } else if (mail::iequals(name, "Send-After")) {
    const auto moment = parse_moment(value, context.now);
    if (!moment) return malformed("X-Danki-Send-After takes a duration like 5m or an RFC 3339 time, up to a year");
    verdict.not_before = *moment > context.now ? *moment : TimePoint{};
  }
  return std::nullopt;
}

/// Counted from when the message may be sent: mail for next week must not expire before.
std::optional<Answer> set_expiry(const mail::HeaderBlock& block, const HeaderContext& context, HeaderVerdict& verdict) {
  const TimePoint start = std::max(context.now, verdict.not_before);
  verdict.expires_at = start + context.expiry;
  const mail::HeaderField* field = block.first("X-Danki-Expire-After");
  if (field == nullptr) return std::nullopt;
  const auto moment = parse_moment(mail::unfold(field->value), start);
  if (!moment) return malformed("X-Danki-Expire-After takes a duration like 5m or an RFC 3339 time, up to a year");
  if (*moment <= start) return malformed("X-Danki-Expire-After is over before the message may be sent");
  verdict.expires_at = *moment;
  return std::nullopt;
}

std::optional<Answer> judge(const mail::HeaderBlock& block, const Census& census, std::string_view header,
                            const HeaderContext& context, HeaderVerdict& verdict) {
  if (block.truncated()) {
    return malformed(fmt::format("more than {} header fields", mail::kMaxHeaderFields));
  }
  if (census.received > context.max_received_lines) {
    return Answer{.code = 554, .enhanced = "5.4.6", .text = "too many Received lines, this looks like a loop"};
  }
  // The body, and with it the empty line, may be missing (RFC 5322 section 2.1).
  const bool is_separated = block.body_offset() != block.size();
  if (!is_separated && block.size() != header.size()) return no_field(header, block.size());
  if (census.from != 1) {
    return refuse(census.from == 0 ? "the message has no From field" : "the message has more than one From field");
  }
  if (auto no = judge_from(census.from_field->value, context.tenant, verdict.from_domain)) return no;
  if (census.own != 0) {
    for (const mail::HeaderField& field : block.fields()) {
      if (!mail::istarts_with(field.name, kOwnPrefix)) continue;
      if (auto no = obey(field, context, verdict)) return no;
    }
  }
  return set_expiry(block, context, verdict);
}

}  // namespace

HeaderVerdict judge_header(std::string_view header, const HeaderContext& context) {
  HeaderVerdict verdict;
  verdict.pool = context.tenant.pool;
  const mail::HeaderBlock block = mail::HeaderBlock::parse(header);
  const Census census(block);
  verdict.refusal = judge(block, census, header, context, verdict);
  if (verdict.refusal || (census.own == 0 && census.date != 0 && census.message_id != 0)) return verdict;

  std::string& replacement = verdict.replacement.emplace();
  if (census.date == 0) replacement += fmt::format("Date: {}\r\n", to_rfc5322(context.now));
  if (census.message_id == 0) replacement += fmt::format("Message-ID: {}\r\n", context.message_id);
  replacement += census.own == 0 ? std::string(header) : mail::remove_fields(header, kOwnFields);
  return verdict;
}

}  // namespace danki::submission
