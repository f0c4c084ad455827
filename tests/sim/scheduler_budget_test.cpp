// The bound on connections to all sites together, and what this host lacks itself.
#include "tests/fakes/delivery_world.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::DeliveryWorld;
using fakes::options_with;

Scheduler::Limits at_most(std::size_t connections) {
  Scheduler::Limits limits;
  limits.connections = connections;
  return limits;
}

TEST(SchedulerBudget, LeavesFilesToOthers) {
  for (const auto& [files, want] : std::map<std::uint64_t, std::size_t>{
           {0, 16}, {256, 16}, {1024, 212}, {20'000, 9'700}, {131'072, 20'000}, {~std::uint64_t{0}, 20'000}}) {
    EXPECT_EQ(most_connections(files), want) << files;
  }
}

TEST(SchedulerBudget, HasNoMoreConnectionsThanTheBoundAndStarvesNobody) {
  DeliveryWorld world(options_with(3, 10), at_most(10));
  for (int i = 0; i < 3000; ++i) world.submit({"user@big" + std::to_string(i % 3) + ".example"});
  std::set<queue::MessageId> small;
  for (int i = 0; i < 30; ++i) small.insert(world.submit({"user@s" + std::to_string(i) + ".example"})->id);
  world.settle();
  EXPECT_EQ(world.max_open, 10u);
  EXPECT_EQ(world.deliveries(), 3030u);
  EXPECT_TRUE(world.nobody_twice());
  std::size_t last = 0;
  for (std::size_t i = 0; i < world.attempts.size(); ++i) {
    if (small.contains(world.attempts[i].second)) last = i;
  }
  EXPECT_LT(last, 1000u);
}

TEST(SchedulerBudget, ASiteHasItsFirstConnectionHoweverManyAnotherHas) {
  DeliveryWorld world(options_with(1, 100), at_most(40));
  world.greets_after = [](const ConnectionPlan&) { return Duration(30s); };
  for (int i = 0; i < 200; ++i) world.submit({"user@big.example"});
  world.settle();
  EXPECT_EQ(world.opened.size(), 30u) << "the last quarter is left";
  for (int i = 0; i < 10; ++i) world.submit({"user@s" + std::to_string(i) + ".example"});
  world.settle();
  EXPECT_EQ(world.opened.size(), 40u);
  world.pass(31s);
  EXPECT_EQ(world.deliveries(), 210u);
  EXPECT_EQ(world.max_open, 40u);
}

TEST(SchedulerBudget, AloneASiteHasThreeQuartersAndKeepsThem) {
  DeliveryWorld world(options_with(1, 100), at_most(40));
  for (int i = 0; i < 3000; ++i) world.submit({"user@big.example"});
  world.settle();
  EXPECT_EQ(world.deliveries(), 3000u);
  EXPECT_EQ(world.max_open, 30u);
  EXPECT_LE(world.opened.size(), 60u) << "100 messages each: they do not end for their own site's sake";
}

TEST(SchedulerBudget, IdleConnectionsMakeWay) {
  DeliveryWorld world(options_with(1, 100), at_most(8));
  for (int i = 0; i < 8; ++i) world.submit({"user@s" + std::to_string(i) + ".example"});
  world.settle();
  ASSERT_EQ(world.plans.size(), 8u);
  for (int i = 0; i < 4; ++i) world.submit({"user@t" + std::to_string(i) + ".example"});
  world.settle();  // no time passes
  EXPECT_EQ(world.deliveries(), 12u);
  EXPECT_EQ(world.max_open, 8u);
}

TEST(SchedulerBudget, WhatThisHostLacksIsNobodysFault) {
  for (const bool descriptor : {true, false}) {
    SCOPED_TRACE(descriptor ? "descriptors" : "ports");
    DeliveryWorld world(options_with(2));
    bool lacks = true;
    world.connect = [&](const ConnectionPlan&) -> std::optional<SessionFailure> {
      if (!lacks) return std::nullopt;
      SessionFailure failure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "lacking"};
      (descriptor ? failure.no_descriptor : failure.no_port) = true;
      return failure;
    };
    auto message = world.submit({"user@a.example"});
    world.submit({"user@b.example"});
    world.pass(30s);
    EXPECT_LE(world.opened.size(), descriptor ? 70u : 130u) << "once a second";
    EXPECT_GE(world.opened.size(), 29u);
    EXPECT_EQ(message->progress[0].attempts, 0u);
    EXPECT_EQ(world.count(events::Type::PathState), 0u);
    EXPECT_EQ(world.count(events::Type::SourceState), 0u);
    EXPECT_EQ(world.count(events::Type::Error), 1u) << "once";
    EXPECT_EQ(world.scheduler.sites()[0].last_reply, "connect: lacking");
    lacks = false;
    world.pass(1100ms);
    EXPECT_EQ(world.deliveries(), 2u);
  }
}

}  // namespace
}  // namespace danki::delivery
