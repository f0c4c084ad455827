#include "mta/submission/sasl.hpp"

#include <gtest/gtest.h>

namespace danki::submission {
namespace {

std::string describe(const SaslExchange::Step& step) {
  if (const auto* challenge = std::get_if<SaslExchange::Challenge>(&step)) return "334 " + std::string(challenge->text);
  if (const auto* answer = std::get_if<Answer>(&step)) return std::to_string(answer->code);
  const auto& credentials = std::get<Credentials>(step);
  return credentials.name + "/" + credentials.password;
}

TEST(SaslExchange, RunsEachWay) {
  struct Case {
    std::string_view name, argument;
    std::vector<std::string_view> lines;
    std::string_view last;
  };
  for (const Case& c : {
           Case{"plain, initial response", "PLAIN AHNpZ251cABzZWNyZXQ=", {}, "signup/secret"},
           Case{"plain, two steps", "plain", {"AHNpZ251cABzZWNyZXQ="}, "signup/secret"},
           Case{"plain, same authzid", "PLAIN c2lnbnVwAHNpZ251cABzZWNyZXQ=", {}, "signup/secret"},
           Case{"plain, other authzid", "PLAIN cm9vdABzaWdudXAAc2VjcmV0", {}, "535"},
           Case{"plain, empty", "PLAIN =", {}, "501"},
           Case{"plain, cancelled", "PLAIN", {"*"}, "501"},
           Case{"plain, no base64", "PLAIN ====", {}, "501"},
           Case{"plain, no padding", "PLAIN AHNpZ251cABzZWNyZXQ", {}, "501"},
           Case{"plain, one part", "PLAIN c2VjcmV0", {}, "501"},
           Case{"plain, NUL in the password", "PLAIN AGEAYgBj", {}, "501"},
           Case{"plain, no password", "PLAIN AHNpZ251cAA=", {}, "501"},
           Case{"login", "LOGIN", {"c2lnbnVw", "c2VjcmV0"}, "signup/secret"},
           Case{"login, initial response", "LOGIN c2lnbnVw", {"c2VjcmV0"}, "signup/secret"},
           Case{"login, cancelled", "LOGIN", {"c2lnbnVw", "*"}, "501"},
           Case{"login, empty name", "LOGIN", {""}, "501"},
           Case{"login, empty password", "LOGIN", {"c2lnbnVw", ""}, "501"},
           Case{"unknown", "CRAM-MD5", {}, "504"},
       }) {
    SCOPED_TRACE(c.name);
    SaslExchange exchange;
    auto step = exchange.start(c.argument);
    for (const std::string_view line : c.lines) {
      ASSERT_TRUE(std::holds_alternative<SaslExchange::Challenge>(step));
      step = exchange.on_line(line);
    }
    EXPECT_EQ(describe(step), c.last);
  }
  SaslExchange login;
  EXPECT_EQ(describe(login.start("LOGIN")), "334 VXNlcm5hbWU6");
  EXPECT_EQ(describe(login.on_line("eA==")), "334 UGFzc3dvcmQ6");
}

TEST(Base64, RefusesWhatIsNone) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("TQ=="), "M");
  EXPECT_EQ(decode_base64("TWE="), "Ma");
  EXPECT_EQ(decode_base64("TWFu"), "Man");
  for (const std::string_view bad : {"T", "TWF", "TWFu=", "T===", "TQ=a", "T Fu", "TQ==TWFu", "TWF\xC0"}) {
    EXPECT_FALSE(decode_base64(bad)) << bad;
  }
}

}  // namespace
}  // namespace danki::submission
