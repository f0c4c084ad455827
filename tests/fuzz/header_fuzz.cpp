// Input: a message.

#include "mail/address.hpp"
#include "mail/header_block.hpp"
#include "tests/fuzz/require.hpp"

#include <array>
#include <cstdint>

using namespace danki;
using namespace danki::mail;
using danki::fuzz::require;

namespace {

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
