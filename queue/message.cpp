#include "queue/message.hpp"

#include "queue/ledger.hpp"

#include <array>

namespace danki::queue {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";  // Crockford's: no i, l, o, u
constexpr std::size_t kTextLength = 13;                                     // 64 bits in groups of 5, the first of 4

/// 32 for characters outside the alphabet.
int digit_of(char c) {
  if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  const std::size_t at = kAlphabet.find(c);
  return at == std::string_view::npos ? 32 : static_cast<int>(at);
}

}  // namespace

std::string MessageId::to_string() const {
  std::string text(kTextLength, '0');
  std::uint64_t rest = value;
  for (std::size_t i = kTextLength; i-- > 0; rest >>= 5) text[i] = kAlphabet[rest & 31];
  return text;
}

std::optional<MessageId> MessageId::parse(std::string_view text) {
  if (text.size() != kTextLength) return std::nullopt;
  if (digit_of(text[0]) > 15) return std::nullopt;  // would not fit 64 bits
  std::uint64_t value = 0;
  for (const char c : text) {
    const int digit = digit_of(c);
    if (digit > 31) return std::nullopt;
    value = value << 5 | static_cast<std::uint64_t>(digit);
  }
  return MessageId{value};
}

Message::Message(MessageId id_, mail::Envelope envelope_)
    : id(id_), envelope(std::move(envelope_)), progress(envelope.recipients.size()) {}

Message::~Message() = default;

std::shared_ptr<const std::string> Message::content() const {
  const std::scoped_lock lock(mutex_);
  return content_;
}

void Message::set_content(std::shared_ptr<const std::string> content) {
  const std::scoped_lock lock(mutex_);
  content_.swap(content);  // what was there is freed after the lock
}

std::shared_ptr<const Message::Prepared> Message::prepared() const {
  const std::scoped_lock lock(mutex_);
  return prepared_;
}

void Message::set_prepared(std::shared_ptr<const Prepared> prepared) {
  const std::scoped_lock lock(mutex_);
  if (prepared != prepared_) prepared_stored = false;
  prepared_.swap(prepared);
}

void Message::mark_prepared_stored(const Prepared* stored) {
  const std::scoped_lock lock(mutex_);
  if (prepared_.get() == stored) prepared_stored = true;
}

void Message::set_ledger(std::unique_ptr<Ledger> ledger) {
  ledger_ = std::move(ledger);
}

}  // namespace danki::queue
