// Input: a message.

#include "mail/address.hpp"
#include "mail/header_block.hpp"
#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

using namespace danki;
using namespace danki::mail;
using danki::fuzz::require;

namespace {

/// `value` without comments, quoted strings, and white space around dots and ats or behind an at: a reader that knows no
/// more of the grammar than that, and joins a domain's words.
std::string simplified(std::string_view value) {
  std::string text;
  std::size_t depth = 0;
  bool in_quotes = false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const bool is_hidden = in_quotes || depth > 0;
    if (is_hidden && c == '\\') {
      ++i;
    } else if (in_quotes) {
      in_quotes = c != '"';
    } else if (c == '(') {
      ++depth;
    } else if (depth > 0) {
      if (c == ')') --depth;
    } else if (c == '"') {
      in_quotes = true;
      text += '"';
    } else {
      text += c == '\t' || c == '\r' || c == '\n' ? ' ' : c;
    }
  }
  std::string close;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ' ') {
      close += text[i];
      continue;
    }
    const std::size_t next = std::min(text.find_first_not_of(' ', i), text.size());
    const bool touches = (next < text.size() && (text[next] == '.' || text[next] == '@')) ||
                         (!close.empty() && (close.back() == '.' || close.back() == '@'));
    const std::size_t special = close.find_last_of("<>,;:@[]\"");
    const bool in_domain = special != std::string::npos && close[special] == '@';
    if (!touches && !in_domain) close += ' ';
    i = next - 1;
  }
  return close;
}

/// Whatever looks like an address of the Internet in an accepted list has the domain of one of its mailboxes: who reads
/// that one as the sender reads a domain that was judged.
void check_no_other_address(std::string_view value, const std::vector<std::string>& mailboxes) {
  const std::string text = simplified(value);
  for (std::size_t at = text.find('@'); at != std::string::npos; at = text.find('@', at + 1)) {
    const bool in_route = at > 0 && (text[at - 1] == '<' || text[at - 1] == ',');
    const std::size_t end = std::min(text.find_first_of("<>,;:@()[]\" ", at + 1), text.size());
    const auto domain = normalise_domain(std::string_view(text).substr(at + 1, end - at - 1));
    if (in_route || !domain || domain->find('.') == std::string::npos) continue;
    require(std::any_of(mailboxes.begin(), mailboxes.end(),
                        [&](const std::string& mailbox) { return mailbox.ends_with('@' + *domain); }));
  }
}

void check_mailbox_list(std::string_view value) {
  const auto mailboxes = parse_mailbox_list(value);
  if (!mailboxes) {
    require(!mailboxes.error().detail.empty());
    return;
  }
  require(!mailboxes->empty() && mailboxes->size() <= kMaxMailboxes);
  std::string again;
  for (const std::string& mailbox : *mailboxes) {
    const auto address = parse_address(mailbox);
    require(address && address->to_string() == mailbox);
    again += mailbox + ", ";
  }
  require(parse_mailbox_list(again) == *mailboxes);
  check_no_other_address(value, *mailboxes);
}

void check_fields(std::string_view message, const HeaderBlock& block) {
  std::string joined;
  for (const HeaderField& field : block.fields()) {
    require(!field.name.empty() && field.raw.starts_with(field.name));
    require(field.value.data() >= field.raw.data() + field.name.size());
    require(field.value.data() + field.value.size() <= field.raw.data() + field.raw.size());
    require(unfold(field.value).find_first_of("\r\n") == std::string::npos);
    require(block.count(field.name) >= 1 && block.first(field.name) != nullptr);
    joined += field.raw;
    if (iequals(field.name, "From")) check_mailbox_list(field.value);
  }
  require(block.size() <= block.body_offset() && block.body_offset() <= message.size());
  require(block.body_offset() - block.size() <= 2);
  require(block.fields().size() <= kMaxHeaderFields);
  if (!block.truncated()) require(joined == message.substr(0, block.size()));
}

void check_removal(std::string_view message, const HeaderBlock& block) {
  static constexpr std::array<std::string_view, 1> kAll{"*"};
  static constexpr std::array<std::string_view, 2> kSome{"From", "X-*"};
  require(remove_fields(message, {}) == message);
  require(remove_fields(message, kAll) == message.substr(block.size()));
  const std::string without = remove_fields(message, kSome);
  const HeaderBlock rest = HeaderBlock::parse(without);
  require(rest.count("From") == 0);
  require(without.substr(rest.body_offset()) == message.substr(block.body_offset()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  const HeaderBlock block = HeaderBlock::parse(message);
  check_fields(message, block);
  check_removal(message, block);
  check_mailbox_list(message);
  return 0;
}
