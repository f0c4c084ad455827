#include "mta/submission/sasl.hpp"

#include "mail/ascii.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <openssl/crypto.h>

namespace danki::submission {
namespace {

constexpr std::size_t kMaxNameBytes = 255;      // RFC 4616 section 2 leaves it to us; a tenant's name is short
constexpr std::size_t kMaxPasswordBytes = 512;  // crypt(3) takes this much

constexpr std::array<std::int8_t, 256> kBase64 = [] {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}();

Answer bad_encoding() {
  return {.code = 501, .enhanced = "5.5.2", .text = "the response is not base64"};
}

Answer bad_message() {
  return {.code = 501, .enhanced = "5.5.4", .text = "the response is not a name and a password"};
}

SaslExchange::Step credentials(std::string_view name, std::string_view password) {
  const bool valid = !name.empty() && name.size() <= kMaxNameBytes && !password.empty() &&
                     password.size() <= kMaxPasswordBytes && name.find('\0') == std::string_view::npos &&
                     password.find('\0') == std::string_view::npos;
  if (!valid) return bad_message();
  return Credentials(std::string(name), std::string(password));
}

}  // namespace

void wipe(std::string& secret) {
  if (secret.capacity() != 0) OPENSSL_cleanse(secret.data(), secret.capacity());
  secret.clear();
}

Credentials::Credentials(Credentials&& other) noexcept
    : name(std::move(other.name)), password(std::move(other.password)) {
  wipe(other.password);  // a short one was copied, not moved
}

Credentials& Credentials::operator=(Credentials&& other) noexcept {
  if (this == &other) return *this;
  wipe(password);
  name = std::move(other.name);
  password = std::move(other.password);
  wipe(other.password);
  return *this;
}

Credentials::~Credentials() {
  wipe(password);
}

SaslExchange::Step SaslExchange::start(std::string_view argument) {
  const std::size_t space = std::min(argument.find(' '), argument.size());
  const std::string_view mechanism = argument.substr(0, space);
  const std::string_view initial = mail::trim_wsp(argument.substr(space));
  if (mail::iequals(mechanism, "PLAIN")) {
    expect_ = Expect::PlainMessage;
    if (initial.empty()) return Challenge{""};
  } else if (mail::iequals(mechanism, "LOGIN")) {
    expect_ = Expect::LoginName;
    if (initial.empty()) return Challenge{"VXNlcm5hbWU6"};  // "Username:"
  } else {
    return Answer{.code = 504, .enhanced = "5.5.4", .text = "the mechanisms are PLAIN and LOGIN"};
  }
  if (initial == "=") return on_message({});  // RFC 4954 section 4: an initial response that is empty
  return on_line(initial);
}

SaslExchange::Step SaslExchange::on_line(std::string_view line) {
  if (line == "*") return Answer{.code = 501, .enhanced = "5.7.0", .text = "authentication cancelled"};
  auto message = decode_base64(line);
  if (!message) return bad_encoding();
  Step step = on_message(std::move(*message));
  wipe(*message);  // a short one was copied, not moved
  return step;
}

SaslExchange::Step SaslExchange::on_message(std::string message) {
  struct Wiped {
    std::string& text;
    ~Wiped() { wipe(text); }
  } const wiped{message};

  switch (expect_) {
    case Expect::LoginName:
      if (message.empty() || message.size() > kMaxNameBytes) return bad_message();
      login_name_ = message;
      expect_ = Expect::LoginPassword;
      return Challenge{"UGFzc3dvcmQ6"};  // "Password:"
    case Expect::LoginPassword:
      return credentials(login_name_, message);
    case Expect::PlainMessage:
      break;
  }
  const std::string_view text = message;
  const std::size_t first = text.find('\0');
  const std::size_t second = first == std::string_view::npos ? first : text.find('\0', first + 1);
  if (second == std::string_view::npos) return bad_message();
  const std::string_view acting_as = text.substr(0, first);
  const std::string_view name = text.substr(first + 1, second - first - 1);
  if (!acting_as.empty() && acting_as != name) {
    return Answer{.code = 535, .enhanced = "5.7.8", .text = "nobody may act as another here"};
  }
  return credentials(name, text.substr(second + 1));
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const std::string_view digits = text.substr(0, text.size() - padding);

  std::string decoded;
  decoded.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : digits) {
    const int value = kBase64[static_cast<unsigned char>(c)];
    if (value < 0) {
      wipe(decoded);
      return std::nullopt;
    }
    bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xFFFFFF;
    held += 6;
    if (held >= 8) {
      held -= 8;
      decoded += static_cast<char>(bits >> held & 0xFF);
    }
  }
  return decoded;
}

}  // namespace danki::submission
