// Sources that go, come back or change.
#include "tests/fakes/delivery_world.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::DeliveryWorld;
using fakes::options_with;

TEST(SchedulerSources, AFailedBindPullsTheSourceAndAStandbyStepsIn) {
  auto options = options_with(3);
  options->pools["main"].sources = {"out01", "out02"};
  options->pools["main"].standby = {"out03"};
  DeliveryWorld world(options);
  world.unbindable.insert("10.0.0.1");
  world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
    if (!plan.session.local_address || !world.unbindable.contains(plan.session.local_address->to_string()))
      return std::nullopt;
    return SessionFailure{.stage = Stage::Bind,
                          .target = {},
                          .reply = {},
                          .error = "Cannot assign requested address",
                          .source_at_fault = true};
  };
  for (int i = 0; i < 40; ++i) {
    world.submit({"user@a.example"});
    world.settle();
  }
  EXPECT_EQ(world.deliveries(), 40u);
  EXPECT_EQ(world.by_source["out01"], 0);
  EXPECT_GT(world.by_source["out03"], 0);
  EXPECT_EQ(world.scheduler.sources()[0].state, "pulled");
  EXPECT_EQ(world.count(events::Type::SourceState), 1u);
  world.unbindable.clear();
  world.pass(1min);
  EXPECT_EQ(world.scheduler.sources()[0].state, "active");
  int standby_before = world.by_source["out03"];
  for (int i = 0; i < 40; ++i) {
    world.submit({"user@a.example"});
    world.settle();
  }
  EXPECT_EQ(world.by_source["out01"], 20);
  EXPECT_EQ(world.by_source["out03"], standby_before);
}

TEST(SchedulerSources, AsManyStandbysStepInAsActiveSourcesAreOut) {
  struct Case {
    std::string_view name;
    std::set<std::string> unbindable;
    std::set<std::string> at_work;
  };
  for (const Case& c : {Case{"none", {}, {"out01", "out02"}}, Case{"an active one", {"10.0.0.1"}, {"out02", "out03"}},
                        Case{"an active one and the first standby", {"10.0.0.1", "10.0.0.3"}, {"out02", "out04"}},
                        Case{"both active ones", {"10.0.0.1", "10.0.0.2"}, {"out03", "out04"}},
                        Case{"all but the second standby", {"10.0.0.1", "10.0.0.2", "10.0.0.3"}, {"out04"}}}) {
    SCOPED_TRACE(c.name);
    auto options = options_with(4);
    options->pools["main"].sources = {"out01", "out02"};
    options->pools["main"].standby = {"out03", "out04"};
    DeliveryWorld world(options);
    world.unbindable = c.unbindable;
    world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
      if (!world.unbindable.contains(plan.session.local_address->to_string())) return std::nullopt;
      return SessionFailure{
          .stage = Stage::Bind, .target = {}, .reply = {}, .error = "not here", .source_at_fault = true};
    };
    for (int i = 0; i < 20; ++i) {
      world.submit({"user@a.example"});
      world.settle();
    }
    EXPECT_EQ(world.deliveries(), 20u);
    std::set<std::string> at_work;
    for (const auto& [source, count] : world.by_source) at_work.insert(source);
    EXPECT_EQ(at_work, c.at_work);
  }
}

TEST(SchedulerSources, ASourceThatChangesLeavesItsOldAddressAndName) {
  struct Case {
    std::string_view name;
    std::function<void(Options&)> change;
    std::size_t left;  // connections that stay
  };
  for (const Case& c : {
           Case{"nothing", [](Options&) {}, 2},
           Case{"address", [](Options& o) { o.sources["out01"].address = boost::asio::ip::make_address("10.0.0.9"); },
                1},
           Case{"EHLO name", [](Options& o) { o.sources["out01"].ehlo = "new.example.com"; }, 1},
           Case{"hostname", [](Options& o) { o.hostname = "new.example.com"; }, 0},
           Case{"gone", [](Options& o) { o.sources.erase("out01"); }, 1},
       }) {
    SCOPED_TRACE(c.name);
    DeliveryWorld world(options_with(2, 2));
    world.submit({"user@a.example"});
    world.settle();
    world.submit({"user@a.example"});
    world.settle();
    ASSERT_EQ(world.plans.size(), 2u);
    // Leased to the connections, and one more that is just being opened.
    for (int i = 0; i < 30; ++i) world.submit({"user@a.example"}, mail::MailClass::Bulk);
    world.scheduler.run();
    const auto old_plans = world.plans;
    auto changed = std::make_shared<Options>(*options_with(2, 2));
    c.change(*changed);
    world.scheduler.set_options(changed);
    world.scheduler.run();
    const auto is_old = [&](const ConnectionPlan& plan) {
      auto now = changed->sources.find(plan.source);
      std::string ehlo =
          now == changed->sources.end() || now->second.ehlo.empty() ? changed->hostname : now->second.ehlo;
      return now == changed->sources.end() || plan.session.local_address != now->second.address ||
             plan.session.ehlo != ehlo;
    };
    world.answer = [&, accepted = world.answer](const std::string& source, const queue::Message& message,
                                                const std::vector<std::uint32_t>& recipients) {
      for (const auto& [id, plan] : world.plans) {
        if (plan.source == source && is_old(plan)) EXPECT_TRUE(world.leaving.contains(id));
      }
      return accepted(source, message, recipients);
    };
    world.settle();
    EXPECT_EQ(world.deliveries(), 32u);
    EXPECT_TRUE(world.nobody_twice());
    for (const auto& [id, plan] : world.plans) EXPECT_FALSE(is_old(plan)) << plan.source;
    std::size_t stayed = 0;
    for (const auto& [id, plan] : old_plans) stayed += world.plans.contains(id) ? 1 : 0;
    EXPECT_EQ(stayed, c.left);
    EXPECT_EQ(world.scheduler.sources().size(), changed->sources.size());
  }
}

TEST(SchedulerSources, WhatTheOldAddressMeetsSaysNothingOfTheNewOne) {
  for (const bool unbindable : {false, true}) {
    SCOPED_TRACE(unbindable);
    DeliveryWorld world(options_with(1));
    world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
      if (plan.session.local_address != boost::asio::ip::make_address("10.0.0.1")) return std::nullopt;
      return SessionFailure{.stage = unbindable ? Stage::Bind : Stage::Connect,
                            .target = {},
                            .reply = {},
                            .error = "old",
                            .source_at_fault = unbindable};
    };
    world.submit({"user@a.example"});
    for (int steps = 0; world.plans.empty() && steps < 10; ++steps) {  // until it is being opened
      auto next = std::move(world.pending.front());
      world.pending.pop_front();
      next();
      world.scheduler.run();
    }
    ASSERT_EQ(world.plans.size(), 1u);
    auto changed = options_with(1);
    changed->sources["out01"].address = boost::asio::ip::make_address("10.0.0.9");
    world.scheduler.set_options(changed);
    world.settle();  // no time passes: nothing backs off
    EXPECT_EQ(world.deliveries(), 1u);
    EXPECT_EQ(world.scheduler.sources()[0].state, "active");
  }
}

}  // namespace
}  // namespace danki::delivery
