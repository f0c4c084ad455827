// Pools that meet at one site: the mail of one must not wait for the connections of another.
#include "tests/fakes/delivery_world.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::DeliveryWorld;
using mail::MailClass;

/// Pools "a" and "b" with a source each, or sharing the first.
std::shared_ptr<Options> two_pools(bool share_source) {
  auto options = std::make_shared<Options>();
  options->hostname = "relay.example.com";
  for (int i = 1; i <= 2; ++i) {
    SourceOptions source;
    source.name = "out0" + std::to_string(i);
    source.address = boost::asio::ip::make_address("10.0.0." + std::to_string(i));
    options->sources[source.name] = source;
  }
  options->pools["a"] = {.name = "a", .sources = {"out01"}, .standby = {}};
  options->pools["b"] = {.name = "b", .sources = {share_source ? "out01" : "out02"}, .standby = {}};
  ShapingOptions shaping;
  shaping.connections = {Setting<std::uint32_t>::Kind::Value, 4};
  options->shaping.push_back(shaping);
  return options;
}

/// How many attempts there were until the last message of pool "b" was tried, with ten of them behind 200 of pool "a".
std::size_t last_turn_of_b(bool share_source, MailClass klass) {
  DeliveryWorld world(two_pools(share_source));
  for (int i = 0; i < 200; ++i) world.submit({"user@a.example"}, klass, "a", "loud");
  std::set<queue::MessageId> of_b;
  for (int i = 0; i < 10; ++i) of_b.insert(world.submit({"user@a.example"}, klass, "b", "quiet")->id);
  world.settle();
  EXPECT_EQ(world.deliveries(), 210u);
  std::size_t last = 0;
  for (std::size_t i = 0; i < world.attempts.size(); ++i) {
    if (of_b.contains(world.attempts[i].second)) last = i + 1;
  }
  return last;
}

TEST(SchedulerPools, APoolOpensItsOwnConnectionsBesideABusyOne) {
  EXPECT_LE(last_turn_of_b(false, MailClass::Bulk), 100u);
  EXPECT_LE(last_turn_of_b(false, MailClass::Transactional), 100u);
}

TEST(SchedulerPools, PoolsTakeTurnsOnAConnectionTheyShare) {
  EXPECT_LE(last_turn_of_b(true, MailClass::Bulk), 100u);
  EXPECT_LE(last_turn_of_b(true, MailClass::Transactional), 100u);
}

TEST(SchedulerPools, MailDoesNotWaitForConnectionsOfAnotherPoolToOpen) {
  DeliveryWorld world(two_pools(false));
  world.submit({"user@a.example"}, MailClass::Transactional, "a", "loud");
  world.settle();  // the site is known
  int connected = 0;
  world.connect = [&](const ConnectionPlan&) {
    ++connected;
    return std::nullopt;
  };
  for (int i = 0; i < 4; ++i) world.submit({"user@a.example"}, MailClass::Transactional, "a", "loud");
  world.submit({"user@a.example"}, MailClass::Transactional, "b", "quiet");
  world.scheduler.run();
  while (!world.pending.empty() && world.opened.back() != "out02") {
    auto step = std::move(world.pending.front());
    world.pending.pop_front();
    step();
    world.scheduler.run();
  }
  EXPECT_EQ(world.opened.back(), "out02");
  EXPECT_EQ(connected, 0) << "it waited for connections that cannot take it";
  world.settle();
  EXPECT_EQ(world.deliveries(), 6u);
}

TEST(SchedulerPools, SaysOncePerReloadThatAPoolIsNotConfigured) {
  DeliveryWorld world(two_pools(false));
  auto without_b = std::make_shared<Options>(*two_pools(false));
  without_b->pools.erase("b");
  auto warnings = [&] {
    std::size_t found = 0;
    for (const events::Event& event : world.events) {
      if (event.type != events::Type::Error) continue;
      EXPECT_EQ(event.pool, "b");
      EXPECT_NE(event.reason.find("pool b is not configured"), std::string::npos) << event.reason;
      ++found;
    }
    return found;
  };
  testing::internal::CaptureStderr();
  world.scheduler.set_options(without_b);
  for (const char* user : {"user@a.example", "user@b.example"}) {
    for (int i = 0; i < 10; ++i) world.submit({user}, MailClass::Bulk, "b", "loud");
    world.submit({user}, MailClass::Bulk, "a", "quiet");
  }
  world.pass(10s);
  EXPECT_EQ(world.deliveries(), 2u);
  EXPECT_EQ(warnings(), 1u);
  for (const SiteSummary& line : world.scheduler.sites()) {
    EXPECT_EQ(line.last_reply, "pool b is not configured");
    EXPECT_EQ(line.state, "pool b is not configured");
  }
  EXPECT_EQ(world.scheduler.counts().in_memory, 0u) << "it waits on disk";
  world.pass(1h);
  world.submit({"user@a.example"}, MailClass::Bulk, "b", "loud");
  world.pass(1h);
  EXPECT_EQ(warnings(), 1u);
  world.scheduler.set_options(without_b);
  world.pass(1min);
  EXPECT_EQ(warnings(), 2u);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("warn mail waits for a pool that is not configured pool=b"), std::string::npos) << log;
  world.scheduler.set_options(two_pools(false));
  world.pass(1min);
  EXPECT_EQ(world.deliveries(), 23u);
  for (const SiteSummary& line : world.scheduler.sites()) EXPECT_EQ(line.state, "ok");
  EXPECT_EQ(warnings(), 2u);
}

TEST(SchedulerPools, MailOfAPoolThatIsNotConfiguredExpires) {
  DeliveryWorld world(two_pools(false));
  for (int i = 0; i < 10; ++i) world.submit({"user@a.example"}, MailClass::Bulk, "c");
  world.pass(23h);
  EXPECT_EQ(world.count(events::Type::Expired), 0u);
  world.pass(61min);
  EXPECT_EQ(world.count(events::Type::Expired), 10u);
}

}  // namespace
}  // namespace danki::delivery
