#include "bench/message_template.hpp"

#include <ctime>
#include <string_view>

#include <fmt/chrono.h>
#include <fmt/core.h>

namespace danki::bench {
namespace {

constexpr std::size_t kDigits = 10;
constexpr std::string_view kPlaceholder = "##########";
constexpr std::string_view kText =
    "Thank you for signing up. Your account is ready, and the first month is on us.\r\n"
    "To finish, open the link below and choose a password. It works for two days.\r\n"
    "\r\n"
    "    https://www.example.com/welcome?token=9f2c4e1ab7d05836\r\n"
    "\r\n"
    "What you can do next: invite your colleagues, connect a calendar, or read the\r\n"
    "short guide that we wrote for newcomers. Questions? Simply answer this message;\r\n"
    "somebody of the team reads every one of them, usually within a working day.\r\n"
    "\r\n";

void put_digits(char* at, uint64_t number) {
  for (std::size_t i = kDigits; i-- > 0; number /= 10) at[i] = static_cast<char>('0' + number % 10);
}

std::string text_of(std::size_t bytes) {
  std::string text;
  while (text.size() + kText.size() <= bytes) text += kText;
  // Whole lines as far as they fit, then one line of the length that is missing.
  while (bytes - text.size() > 78) text += "and so on, line by line, until the size that was asked for is reached\r\n";
  if (auto rest = bytes - text.size(); rest >= 2) {
    text.append(rest - 2, 'x');
    text += "\r\n";
  } else if (rest == 1) {
    text.insert(text.size() - 2, 1, 'x');
  }
  return text;
}

}  // namespace

MessageTemplate::MessageTemplate(const LoadOptions& options) : run_(options.run) {
  const std::string& from = options.from_header.empty() ? options.from : options.from_header;
  auto from_domain = from.substr(from.find('@') + 1);
  wire_ = fmt::format(
      "From: \"Example News\" <{}>\r\n"
      "To: Valued Customer <customer@example.net>\r\n"
      "Subject: Welcome aboard: your account is ready\r\n"
      "Date: {:%a, %d %b %Y %H:%M:%S} +0000\r\n"
      "Message-ID: <{}.{}@{}>\r\n"
      "Reply-To: support@{}\r\n"
      "MIME-Version: 1.0\r\n"
      "Content-Type: text/plain; charset=utf-8\r\n"
      "Content-Transfer-Encoding: 7bit\r\n"
      "List-Unsubscribe: <https://www.{}/unsubscribe?id={}>\r\n"
      "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
      "X-Bench-Seq: {}-{}\r\n",
      from, fmt::gmtime(std::time(nullptr)), kPlaceholder, run_, from_domain, from_domain, from_domain, kPlaceholder,
      run_, kPlaceholder);
  for (const std::string& line : options.header) wire_ += line + "\r\n";
  wire_ += "\r\n";
  auto size = static_cast<std::size_t>(options.size);
  if (size > wire_.size()) wire_ += text_of(size - wire_.size());
  wire_ += ".\r\n";
  for (auto at = wire_.find(kPlaceholder); at != std::string::npos; at = wire_.find(kPlaceholder, at + kDigits)) {
    digits_at_.push_back(at);
  }
}

void MessageTemplate::stamp(std::string& copy, uint64_t number) const {
  for (std::size_t at : digits_at_) put_digits(copy.data() + at, number);
}

std::string MessageTemplate::sequence(uint64_t number) const {
  return fmt::format("{}-{:010}", run_, number);
}

}  // namespace danki::bench
