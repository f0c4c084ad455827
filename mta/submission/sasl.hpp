#pragma once

#include "mta/submission/answer.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace danki::submission {

/// What a client claims to be. The password is wiped when it goes.
struct Credentials {
  std::string name;
  std::string password;

  Credentials() = default;
  Credentials(std::string n, std::string p) : name(std::move(n)), password(std::move(p)) {}
  Credentials(Credentials&& other) noexcept;
  Credentials& operator=(Credentials&& other) noexcept;
  ~Credentials();
};

/// Overwrites the octets, and the optimiser may not leave it out.
void wipe(std::string& secret);

/// One AUTH exchange (RFC 4954; PLAIN: RFC 4616; LOGIN as everybody does it). Told the client's lines, it answers with
/// a challenge, the credentials or a refusal.
class SaslExchange {
 public:
  /// `challenge` is what follows "334 ".
  struct Challenge {
    std::string_view text;
  };
  using Step = std::variant<Challenge, Credentials, Answer>;

  /// `argument` is what follows AUTH: a mechanism and perhaps an initial response.
  Step start(std::string_view argument);
  /// A line of the client, without CRLF.
  Step on_line(std::string_view line);

 private:
  enum class Expect { PlainMessage, LoginName, LoginPassword };
  Step on_message(std::string message);

  Expect expect_ = Expect::PlainMessage;
  std::string login_name_;
};

/// RFC 4648 section 4, padding required, no other characters.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace danki::submission
