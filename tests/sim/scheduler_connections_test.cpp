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

Duration in_half_a_minute(const ConnectionPlan&) {
  return 30s;
}

TEST(SchedulerConnections, OneMessageAtASlowHostMakesFewFurtherTries) {
  DeliveryWorld world(options_with(12, 5));
  world.greets_after = in_half_a_minute;
  const SteadyPoint start = world.clock.steady();
  world.submit({"user@a.example"});
  world.pass(29s);
  std::vector<Duration> tries;
  for (SteadyPoint at : world.opened_at) tries.push_back(std::chrono::duration_cast<Duration>(at - start));
  EXPECT_EQ(tries, (std::vector<Duration>{0ms, 500ms, 1500ms, 3500ms, 7500ms}));
  EXPECT_EQ(std::set<std::string>(world.opened.begin(), world.opened.end()).size(), 5u) << "each on another path";
  world.pass(2s);
  EXPECT_EQ(world.deliveries(), 1u);
  EXPECT_EQ(world.opened.size(), 5u);
}

TEST(SchedulerConnections, EveryMessageThatIsDueMayHaveAConnectionOpenedAtOnce) {
  DeliveryWorld world(options_with(4, 20));
  world.greets_after = in_half_a_minute;
  for (int i = 0; i < 50; ++i) world.submit({"user@a.example"});
  world.settle();
  EXPECT_EQ(world.opened.size(), 50u);
  world.pass(29s);
  EXPECT_EQ(world.opened.size(), 54u);
  for (int i = 0; i < 50; ++i) world.submit({"user@a.example"});
  world.settle();
  EXPECT_EQ(world.opened.size(), 80u) << "up to the limits";
  world.pass(2s);
  EXPECT_EQ(world.deliveries(), 100u);
}

TEST(SchedulerConnections, ASlowHostHasNoMoreConnectionsThanMessages) {
  DeliveryWorld world(options_with(12, 20));
  world.greets_after = in_half_a_minute;
  for (int i = 0; i < 20; ++i) {
    world.submit({"user@a.example"});
    world.pass(1s);
  }
  EXPECT_LE(world.opened.size(), 24u);
  world.pass(15s);
  EXPECT_EQ(world.deliveries(), 20u);
}

TEST(SchedulerConnections, APathThatHangsDelaysOthersOnceForAMoment) {
  DeliveryWorld world(options_with(3, 5));
  const auto is_silent = [](const ConnectionPlan& plan) { return plan.source == "out01"; };
  world.greets_after = [&](const ConnectionPlan& plan) { return is_silent(plan) ? Duration(5min) : Duration(0); };
  world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
    if (!is_silent(plan)) return std::nullopt;
    return SessionFailure{.stage = Stage::Banner, .target = {}, .reply = {}, .error = "time limit"};
  };
  std::size_t delayed = 0;
  for (int i = 0; i < 60; ++i) {
    world.submit({"user@a.example"});
    world.settle();
    if (world.deliveries() < world.messages.size()) {
      ++delayed;
      world.pass(500ms);
      ASSERT_EQ(world.deliveries(), world.messages.size()) << i;
    }
    if (i % 3 != 0) continue;
    const auto plans = world.plans;  // those that are idle end: the next messages need new connections
    for (const auto& [id, plan] : plans) {
      if (!is_silent(plan)) world.close(id);
    }
    world.settle();
  }
  EXPECT_LE(delayed, 2u);
  EXPECT_EQ(std::count(world.opened.begin(), world.opened.end(), "out01"), 1);
}

TEST(SchedulerConnections, ConnectionsThatWereGoneCostAMessageNothing) {
  DeliveryWorld world(options_with(1, 10));
  for (int i = 0; i < 10; ++i) world.submit({"user@a.example"});
  world.settle();
  ASSERT_EQ(world.plans.size(), 10u);
  std::set<ConnectionId> stale;
  for (const auto& [id, plan] : world.plans) stale.insert(id);
  world.break_after = [&](const ConnectionPlan& plan, AttemptReport& report) -> std::optional<SessionFailure> {
    if (!stale.contains(plan.id)) return std::nullopt;
    report.results = DeliveryWorld::all({0}, RecipientResult::Kind::Untouched, std::nullopt, Stage::Mail);
    return SessionFailure{.stage = Stage::Mail, .target = {}, .reply = {}, .error = "closed by peer"};
  };
  auto message = world.submit({"user@a.example"});
  world.settle();  // no time passes
  EXPECT_EQ(world.deliveries(), 11u);
  EXPECT_EQ(message->progress[0].attempts, 1u);
  EXPECT_EQ(world.count(events::Type::Deferred), 0u);
}

TEST(SchedulerConnections, AHostThatClosesBehindItsGreetingIsLeftAloneForAWhile) {
  DeliveryWorld world(options_with(1));
  world.hangs = [](const ConnectionPlan&) { return true; };
  world.submit({"a@x.test"});
  for (int step = 0; step < 600; ++step) {
    world.settle();
    const auto plans = world.plans;
    for (const auto& [id, plan] : plans) world.hang_up(id);
    world.pass(100ms);
  }
  EXPECT_GE(world.opened.size(), 2u);
  EXPECT_LE(world.opened.size(), 8u) << "in a minute";
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
