// Connections: how many are opened, which are used, and how they end.
#include "tests/fakes/delivery_world.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::DeliveryWorld;
using fakes::options_with;

TEST(SchedulerConnections, WhatAnEndingConnectionWasGivenGoesElsewhereAtOnce) {
  DeliveryWorld world(options_with(1, 2));
  world.submit({"user@a.example"});
  world.settle();
  ASSERT_EQ(world.plans.size(), 1u);
  const ConnectionId idle = world.plans.begin()->first;
  world.hangs = [&](const ConnectionPlan& plan) { return plan.id == idle; };  // it says QUIT and hears no answer
  for (int i = 0; i < 5; ++i) world.submit({"user@a.example"}, mail::MailClass::Bulk);
  world.scheduler.run();
  world.scheduler.on_ending(idle);
  world.settle();
  EXPECT_EQ(world.deliveries(), 6u);
  EXPECT_TRUE(world.nobody_twice());
  EXPECT_EQ(world.max_per_path, 2u) << "it is open until it is closed";
  world.submit({"user@a.example"});
  world.settle();
  EXPECT_EQ(world.deliveries(), 7u) << "it is not offered work any more";
}

TEST(SchedulerConnections, AClockThatIsSetDelaysNoPathAndHurriesNone) {
  for (const auto jump : {-1h, 1h}) {
    for (const bool dns : {false, true}) {
      SCOPED_TRACE((jump < 0h ? "back" : "forward") + std::string(dns ? ", DNS" : ", path"));
      DeliveryWorld world(options_with(1));
      bool up = false;
      world.resolution = [&, found = world.resolution](const std::string& domain) {
        Resolution none;
        none.error = "SERVFAIL";
        return up || !dns ? found(domain) : none;
      };
      world.connect = [&](const ConnectionPlan&) -> std::optional<SessionFailure> {
        if (up) return std::nullopt;
        return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
      };
      world.submit({"user@a.example"});
      world.settle();
      up = true;
      world.clock.set_calendar(world.clock.now() + jump);
      world.pass(4s);
      EXPECT_EQ(world.deliveries(), 0u);
      world.pass(2s);
      EXPECT_EQ(world.deliveries(), 1u);
    }
  }
}

}  // namespace
}  // namespace danki::delivery
