#include "mta/delivery/resolution.hpp"

#include "tests/fakes/clock.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;

TEST(QueryFor, TakesTheFirstRouteThatMatches) {
  Options options;
  options.routes = {{.match = "a.test", .next_hop = "one"}, {.match = "*.test", .next_hop = "two"}};
  EXPECT_EQ(query_for("a.test", options, 1).next_hop, "one");
  const TargetQuery second = query_for("b.test", options, 1);
  EXPECT_EQ(second.next_hop, "two");
  EXPECT_EQ(second.route, "*.test");
  EXPECT_EQ(second.domain, "b.test");
  EXPECT_EQ(query_for("c.example", options, 1).next_hop, "");
}

TEST(RouteWarnings, NameANextHopOnceAMinute) {
  fakes::FakeClock clock;
  RouteWarnings warnings;
  const TargetQuery routed{.domain = "a.test", .next_hop = "missing.example", .route = "*.test"};
  const TargetQuery by_mx{.domain = "a.example"};
  MxTargets missing;
  missing.status = MxTargets::Status::Temporary;
  MxTargets found;
  found.status = MxTargets::Status::Ok;
  EXPECT_FALSE(warnings.note(routed, found, clock.steady()));
  EXPECT_FALSE(warnings.note(by_mx, missing, clock.steady())) << "no route of ours";
  EXPECT_TRUE(warnings.note(routed, missing, clock.steady()));
  EXPECT_FALSE(warnings.note(routed, missing, clock.steady()));
  TargetQuery other = routed;
  other.next_hop = "gone.example";
  EXPECT_TRUE(warnings.note(other, missing, clock.steady()));
  clock.set_calendar(clock.now() - 1h);
  clock.advance(1min);
  EXPECT_TRUE(warnings.note(routed, missing, clock.steady())) << "a clock that is set keeps nothing from the log";
  clock.set_calendar(clock.now() + 1h);
  EXPECT_FALSE(warnings.note(routed, missing, clock.steady()));
}

}  // namespace
}  // namespace danki::delivery
