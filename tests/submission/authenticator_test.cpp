#include "mta/submission/authenticator.hpp"

#include "tests/fakes/clock.hpp"

#include <future>
#include <map>

#include <crypt.h>
#include <gtest/gtest.h>

namespace danki::submission {
namespace {

using namespace std::chrono_literals;

/// SHA-256 with few rounds: quick.
std::string hash_of(const std::string& password) {
  return crypt(password.c_str(), "$5$rounds=1000$saltsalt$");
}

class AuthenticatorTest : public testing::Test {
 protected:
  AuthenticatorTest() {
    auto options = std::make_shared<Options>();
    options->tenants["signup"] = TenantOptions{.name = "signup", .password_hashes = {hash_of("old"), hash_of("new")}};
    options->tenants["shop"] = TenantOptions{.name = "shop", .password_hashes = {hash_of("shop's")}};
    options->tenants["open"] = TenantOptions{.name = "open"};
    reload(options);
  }

  void reload(std::shared_ptr<const Options> options) {
    options_ = std::move(options);
    authenticator_.set_options(options_);
  }
  void ask(std::string name, std::string password, Authenticator::Done done, std::string client = "192.0.2.1") {
    authenticator_.check(std::move(client), Credentials(std::move(name), std::move(password)), std::move(done));
  }
  AuthResult check(std::string name, std::string password, std::string client = "192.0.2.1") {
    std::promise<AuthResult> promise;
    ask(
        std::move(name), std::move(password), [&](AuthResult result) { promise.set_value(result); }, std::move(client));
    return promise.get_future().get();
  }

  fakes::FakeClock clock_;
  std::shared_ptr<const Options> options_;
  Authenticator authenticator_{clock_, std::make_shared<Options>()};
};

TEST_F(AuthenticatorTest, ChecksEachHashOfATenant) {
  EXPECT_EQ(check("signup", "old").verdict, AuthVerdict::Accepted);
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::Accepted);
  EXPECT_EQ(check("signup", "wrong").verdict, AuthVerdict::Refused);
  EXPECT_EQ(check("nobody", "old").verdict, AuthVerdict::Refused);
  EXPECT_EQ(check("open", "").verdict, AuthVerdict::Refused);
  EXPECT_EQ(authenticator_.failures(), 3u);
}

TEST_F(AuthenticatorTest, SpendsOnUnknownNamesWhatItSpendsOnKnownOnes) {
  int asked = 0;
  const auto hashes = [&](const std::string& name, const std::string& password) {
    const std::uint64_t before = authenticator_.hashed();
    check(name, password, "192.0.2." + std::to_string(++asked));
    return authenticator_.hashed() - before;
  };
  EXPECT_EQ(hashes("signup", "wrong"), 2u);
  EXPECT_EQ(hashes("signup", "old"), 2u) << "which of them fits is nobody's business";
  EXPECT_EQ(hashes("shop", "wrong"), 1u);
  std::map<std::uint64_t, int> names_by_cost;
  for (int i = 0; i < 64; ++i) {
    const std::string name = i == 0 ? "open" : "nobody " + std::to_string(i);
    const std::uint64_t cost = hashes(name, "wrong");
    EXPECT_EQ(hashes(name, "shop's"), cost) << name;
    ++names_by_cost[cost];
  }
  EXPECT_EQ(names_by_cost.size(), 2u);
  EXPECT_GT(names_by_cost[1], 0);
  EXPECT_GT(names_by_cost[2], 0);

  auto none = std::make_shared<Options>(*options_);
  none->tenants.clear();
  reload(none);
  EXPECT_EQ(hashes("nobody", "wrong"), 1u);
}

TEST_F(AuthenticatorTest, NeverAcceptsAPasswordUnderAnotherName) {
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(check("nobody " + std::to_string(i), "shop's").verdict, AuthVerdict::Refused);
    EXPECT_EQ(check("nobody " + std::to_string(i), "new", "192.0.2.2").verdict, AuthVerdict::Refused);
  }
  EXPECT_EQ(check("open", "shop's", "192.0.2.3").verdict, AuthVerdict::Refused);
}

TEST_F(AuthenticatorTest, RemembersASuccessForTenMinutesAndUntilAReload) {
  check("signup", "new");
  check("signup", "new");
  EXPECT_EQ(authenticator_.hashed(), 2u);
  clock_.advance(9min + 59s);
  check("signup", "new");
  EXPECT_EQ(authenticator_.hashed(), 2u);
  clock_.advance(1s);
  check("signup", "new");
  EXPECT_EQ(authenticator_.hashed(), 4u);
  reload(options_);
  check("signup", "new");
  EXPECT_EQ(authenticator_.hashed(), 6u);
  // The boundary between name and password is part of what is remembered.
  EXPECT_EQ(check("signu", "pnew").verdict, AuthVerdict::Refused);
}

TEST_F(AuthenticatorTest, AnswersByTheOptionsThatAQuestionWasAskedUnder) {
  auto slow = std::make_shared<Options>(*options_);  // so slow that a reload overtakes it
  slow->tenants["signup"].password_hashes = {crypt("old", "$5$rounds=400000$saltsalt$")};
  reload(slow);
  std::promise<AuthVerdict> before_right, before_wrong;
  ask("signup", "old", [&](AuthResult result) { before_right.set_value(result.verdict); });
  ask("signup", "new", [&](AuthResult result) { before_wrong.set_value(result.verdict); });
  auto next = std::make_shared<Options>(*options_);
  next->tenants["signup"].password_hashes = {hash_of("new")};
  reload(next);
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::Accepted);
  EXPECT_EQ(before_right.get_future().get(), AuthVerdict::Accepted);
  EXPECT_EQ(before_wrong.get_future().get(), AuthVerdict::Refused);
  EXPECT_EQ(check("signup", "old").verdict, AuthVerdict::Refused) << "an old password is remembered";
}

TEST_F(AuthenticatorTest, StopsAClientBeforeHashing) {
  Duration last{0};
  for (int i = 0; i < 5; ++i) {
    const AuthResult result = check("signup", "wrong");
    EXPECT_EQ(result.verdict, AuthVerdict::Refused);
    EXPECT_GT(result.delay, last);
    last = result.delay;
  }
  EXPECT_EQ(authenticator_.hashed(), 10u);
  const AuthResult stopped = check("signup", "new");
  EXPECT_EQ(stopped.verdict, AuthVerdict::TooManyFailures);
  EXPECT_GT(stopped.delay, last);
  EXPECT_EQ(authenticator_.hashed(), 10u);
  EXPECT_EQ(check("signup", "new", "192.0.2.2").verdict, AuthVerdict::Accepted);
  clock_.advance(10min);
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::Accepted);
}

TEST_F(AuthenticatorTest, StopsNoOtherTenantBehindTheSameAddress) {
  check("shop", "shop's");
  for (int i = 0; i < 8; ++i) check("signup", "wrong");
  EXPECT_EQ(check("signup", "wrong").verdict, AuthVerdict::TooManyFailures);
  EXPECT_EQ(check("shop", "shop's").verdict, AuthVerdict::Accepted) << "remembered";
  clock_.advance(9min);
  reload(options_);
  EXPECT_EQ(check("shop", "shop's").verdict, AuthVerdict::Accepted) << "hashed";
}

TEST_F(AuthenticatorTest, CountsAWrongPasswordAskedManyTimesAtOnceAsOneFailure) {
  auto slow = std::make_shared<Options>(*options_);  // so slow that all ask before the first is answered
  slow->tenants["signup"].password_hashes = {crypt("new", "$5$rounds=400000$saltsalt$")};
  reload(slow);
  std::atomic<int> refused{0};
  for (int i = 0; i < 60; ++i) {
    ask("signup", "outdated", [&](AuthResult result) { refused += result.verdict == AuthVerdict::Refused; });
  }
  while (refused < 60) std::this_thread::yield();
  EXPECT_EQ(authenticator_.failures(), 1u);
  EXPECT_EQ(check("shop", "shop's").verdict, AuthVerdict::Accepted);
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::Accepted);
}

TEST_F(AuthenticatorTest, TakesARememberedPasswordFromAStoppedClient) {
  check("signup", "new");
  for (int i = 0; i < 8; ++i) check("signup", "wrong");
  EXPECT_EQ(check("signup", "old").verdict, AuthVerdict::TooManyFailures) << "right, but not remembered";
  const std::uint64_t hashed = authenticator_.hashed();
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::Accepted);
  // Whoever may try without end finds any password, one that costs no hash soonest.
  for (int i = 0; i < 50; ++i) check("signup", "guess " + std::to_string(i));
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::TooManyFailures);
  EXPECT_EQ(check("signup", "new", "192.0.2.2").verdict, AuthVerdict::Accepted);
  EXPECT_EQ(authenticator_.hashed(), hashed);
  clock_.advance(10min);
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::Accepted);
}

TEST_F(AuthenticatorTest, StopsAClientThatTriesManyNames) {
  check("shop", "shop's");
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(check("name " + std::to_string(i), "wrong").verdict, AuthVerdict::Refused) << i;
  }
  const std::uint64_t hashed = authenticator_.hashed();
  const AuthResult stopped = check("one more", "wrong");
  EXPECT_EQ(stopped.verdict, AuthVerdict::TooManyFailures);
  EXPECT_EQ(stopped.delay, AuthFailures::kMaxDelay);
  EXPECT_EQ(check("signup", "new").verdict, AuthVerdict::TooManyFailures);
  EXPECT_EQ(authenticator_.hashed(), hashed);
  EXPECT_EQ(check("shop", "shop's").verdict, AuthVerdict::Accepted) << "remembered";
  EXPECT_EQ(check("one more", "wrong", "192.0.2.2").verdict, AuthVerdict::Refused);
}

TEST_F(AuthenticatorTest, SharesOneHashAmongEqualQuestionsAndRefusesWhenBusy) {
  // Slow enough that both threads are busy while the others ask.
  auto options = std::make_shared<Options>(*options_);
  options->tenants["signup"].password_hashes = {crypt("new", "$5$rounds=400000$saltsalt$")};
  reload(options);
  constexpr std::size_t kQuestions = Authenticator::kThreads + Authenticator::kMaxQueued + 200;
  std::atomic<std::size_t> busy{0}, refused{0}, accepted{0};
  const auto count = [&](AuthResult result) {
    (result.verdict == AuthVerdict::Busy ? busy : result.verdict == AuthVerdict::Accepted ? accepted : refused)++;
  };
  for (int i = 0; i < 50; ++i) ask("signup", "new", count, "192.0.2.9");
  for (std::size_t i = 0; i < kQuestions; ++i) {
    ask("signup", std::to_string(i), count, "client" + std::to_string(i));
  }
  EXPECT_GE(busy, 20u);
  while (accepted < 50) std::this_thread::yield();
  EXPECT_LE(authenticator_.hashed(), kQuestions);
  authenticator_.stop();
}

TEST(AuthFailures, ForgetsTheLeastRecentlyUsedFirst) {
  AuthFailures failures;
  SteadyPoint now{};
  for (std::size_t i = 0; i < AuthFailures::kMaxKeys; ++i) failures.add(std::to_string(i), now);
  EXPECT_EQ(failures.count("0", now), 1u);
  failures.add("one more", now);
  EXPECT_EQ(failures.count("0", now), 1u);
  EXPECT_EQ(failures.count("1", now), 0u);
  Duration delay{};
  for (int i = 0; i < 30; ++i) delay = failures.add("0", now);
  EXPECT_EQ(delay, AuthFailures::kMaxDelay);
}

}  // namespace
}  // namespace danki::submission
