// What a plan's failure is, from the failures of its targets.
#include "mta/delivery/session_options.hpp"

#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

/// As the session meets them: "refused", or "not available".
std::optional<SessionFailure> failure_of(const std::vector<std::string>& errors, bool source_is_bound) {
  std::optional<SessionFailure> failure;
  for (const std::string& error : errors) {
    SessionFailure next{.stage = Stage::Connect, .target = {}, .reply = {}, .error = error};
    next.no_port = error == "not available";
    add_failure(failure, std::move(next), source_is_bound);
  }
  return failure;
}

TEST(SessionFailure, PortsAreLackingOnlyWhereEveryTargetSaysSo) {
  const auto lacking = failure_of({"not available", "not available"}, true);
  EXPECT_TRUE(lacking->no_port);
  EXPECT_EQ(lacking->error, "not available");
  for (const auto& errors : {std::vector<std::string>{"refused", "not available"}, {"not available", "refused"}}) {
    for (const bool source_is_bound : {false, true}) {
      const auto refused = failure_of(errors, source_is_bound);
      EXPECT_FALSE(refused->no_port) << errors[0] << ", " << source_is_bound;
      EXPECT_EQ(refused->error, "refused") << "it keeps no other failure from being told";
    }
  }
}

TEST(SessionFailure, AnAddressThatIsNotAvailableToAnySourceIsNotReachable) {  // IPv6 where it is switched off
  const auto failure = failure_of({"not available"}, false);
  EXPECT_FALSE(failure->no_port);
  EXPECT_EQ(failure->error, "not available");
  EXPECT_FALSE(failure_of({}, false));
}

}  // namespace
}  // namespace danki::delivery
