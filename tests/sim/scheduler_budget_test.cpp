// The bound on connections to all sites together, and what this host lacks itself.
#include "tests/fakes/delivery_world.hpp"

#include <algorithm>

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

/// Each has the same mail, and there are fewer connections than sites.
TEST(SchedulerBudget, SitesTakeTurnsWhereThereAreFewerConnections) {
  for (const auto klass : {mail::MailClass::Transactional, mail::MailClass::Bulk}) {
    for (const std::uint32_t messages_each : {0u, 100u}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(klass)) + ", " + std::to_string(messages_each));
      constexpr std::size_t kSites = 8, kMessages = 1000;
      auto options = options_with(1, 2);
      options->shaping[0].messages_per_connection = {Setting<std::uint32_t>::Kind::Value, messages_each};
      DeliveryWorld world(options, at_most(4));
      world.takes = [](const ConnectionPlan&) { return 20ms; };
      std::map<queue::MessageId, std::size_t> site_of;
      for (std::size_t i = 0; i < kSites * kMessages; ++i) {
        site_of[world.submit({"user@s" + std::to_string(i % kSites) + ".example"}, klass)->id] = i % kSites;
      }
      world.pass(20s);  // half of it
      std::vector<std::size_t> done(kSites);
      for (const auto& [delivery, times] : world.delivered) ++done[site_of.at(delivery.first)];
      const auto [least, most] = std::minmax_element(done.begin(), done.end());
      EXPECT_GE(*least, kMessages * 2 / 5);
      EXPECT_LE(*most, kMessages * 3 / 5);
      EXPECT_LE(world.opened.size(), 100u) << "each serves for a second at least";
      world.pass(25s);
      EXPECT_EQ(world.deliveries(), kSites * kMessages);
      EXPECT_EQ(world.max_open, 4u);
      EXPECT_TRUE(world.nobody_twice());
    }
  }
}

TEST(SchedulerBudget, ABusyConnectionMakesWayAfterTheMessageUnderWay) {
  DeliveryWorld world(options_with(1, 2), at_most(2));
  world.takes = [](const ConnectionPlan& plan) { return plan.site == "mx.small.example" ? Duration(10ms) : 1s; };
  for (int i = 0; i < 100; ++i) world.submit({"user@tarpit.example"}, mail::MailClass::Bulk);
  world.pass(1500ms);
  ASSERT_EQ(world.plans.size(), 2u);
  const auto small = world.submit({"user@small.example"});
  world.pass(2s);
  EXPECT_TRUE(world.delivered.contains({small->id, 0})) << "not after all that it holds";
  world.pass(2min);
  EXPECT_EQ(world.deliveries(), 101u);
  EXPECT_TRUE(world.nobody_twice());
}

TEST(SchedulerBudget, OneThatIsLongInMakingWayIsNotCountedOn) {
  DeliveryWorld world(options_with(1, 2), at_most(2));
  std::map<ConnectionId, int> given;
  world.takes = [&](const ConnectionPlan& plan) {
    if (plan.site == "mx.small.example") return Duration(10ms);
    if (plan.id != 1) return Duration(1500ms);
    return ++given[plan.id] == 1 ? Duration(100ms) : 10min;
  };
  for (int i = 0; i < 100; ++i) world.submit({"user@tarpit.example"}, mail::MailClass::Bulk);
  world.pass(50ms);
  ASSERT_EQ(world.plans.size(), 2u);
  const auto small = world.submit({"user@small.example"});
  world.pass(100ms);
  EXPECT_TRUE(world.leaving.contains(1)) << "asked first";
  world.pass(3s);
  EXPECT_TRUE(world.plans.contains(1));
  EXPECT_TRUE(world.delivered.contains({small->id, 0})) << "the other one made way";
}

TEST(SchedulerBudget, WhatOneSiteDoesNotWantAnyMoreTheNextOneGets) {
  auto options = options_with(1, 1);
  DeliveryWorld world(options, at_most(1));
  world.takes = [](const ConnectionPlan&) { return 500ms; };
  world.break_after = [&](const ConnectionPlan& plan, AttemptReport& report) -> std::optional<SessionFailure> {
    if (plan.site != "mx.a.example") return std::nullopt;
    report.results = DeliveryWorld::all({0}, RecipientResult::Kind::Untouched, std::nullopt, Stage::Mail);
    return SessionFailure{.stage = Stage::Mail, .target = {}, .reply = {}, .error = "closed by peer"};
  };
  bool exists = true;
  world.resolution = [&, found = world.resolution](const std::string& domain) {
    if (exists || domain != "b.example") return found(domain);
    Resolution none;
    none.status = Resolution::Status::NxDomain;
    return none;
  };
  for (const std::string domain : {"a", "b", "c"}) {
    world.submit({"user@" + domain + ".example"});
    world.settle();
  }
  exists = false;
  world.scheduler.set_options(std::make_shared<Options>(*options));
  world.settle();
  ASSERT_EQ(world.count(events::Type::Bounced), 1u) << "b wants nothing any more";
  world.pass(510ms);
  ASSERT_EQ(world.plans.size(), 1u);
  EXPECT_EQ(world.plans.begin()->second.site, "mx.c.example");
}

TEST(SchedulerBudget, NobodyMakesWayForASiteThatCannotOpen) {
  auto options = options_with(1, 1);
  options->shaping[0].messages_per_connection = {Setting<std::uint32_t>::Kind::Value, 0};
  DeliveryWorld world(options, at_most(1));
  world.takes = [](const ConnectionPlan&) { return 10ms; };
  world.connect = [](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
    if (plan.site != "mx.down.example") return std::nullopt;
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  world.submit({"user@down.example"});
  world.settle();
  for (int i = 0; i < 1000; ++i) world.submit({"user@big.example"});
  world.pass(1500ms);
  ASSERT_EQ(world.opened.size(), 2u);
  world.submit({"user@down.example"});
  world.pass(2s);
  EXPECT_EQ(world.opened.size(), 2u) << "its path backs off still";
  world.pass(5s);
  EXPECT_GE(world.opened.size(), 4u) << "it was tried, and the other came back";
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
