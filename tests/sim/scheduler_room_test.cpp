// Sites that are down or slow, and the mail of the others: nobody waits behind the dead.
#include "tests/fakes/delivery_world.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::DeliveryWorld;
using mail::MailClass;

std::shared_ptr<Options> options_with_pools(const std::vector<std::string>& pools, std::uint32_t connections = 2) {
  auto options = std::make_shared<Options>();
  options->hostname = "relay.example.com";
  for (std::size_t i = 0; i < pools.size(); ++i) {
    SourceOptions source;
    source.name = "out-" + pools[i];
    source.address = boost::asio::ip::make_address("10.0.0." + std::to_string(i + 1));
    options->sources[source.name] = source;
    options->pools[pools[i]] = {.name = pools[i], .sources = {source.name}, .standby = {}};
  }
  ShapingOptions shaping;
  shaping.connections = {Setting<std::uint32_t>::Kind::Value, connections};
  options->shaping.push_back(shaping);
  return options;
}

Scheduler::Limits small_table() {
  Scheduler::Limits limits;
  limits.lanes = {.window = 64, .low_water = 16, .total = 1000};
  return limits;
}

/// A world where everything named dead*.example refuses connections and dark*.example has no DNS, until it is healed.
struct RoomWorld : DeliveryWorld {
  explicit RoomWorld(Scheduler::Limits limits = small_table(),
                     std::shared_ptr<const Options> options = options_with_pools({"main"}))
      : DeliveryWorld(std::move(options), limits) {
    auto found = resolution;
    resolution = [this, found](const std::string& domain) {
      if (healed || !domain.starts_with("dark")) return found(domain);
      Resolution none;
      none.error = "SERVFAIL";
      return none;
    };
    connect = [this](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
      if (healed || !plan.site.starts_with("mx.dead")) return std::nullopt;
      return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
    };
    auto accepted = answer;
    answer = [this, accepted](const std::string& source, const queue::Message& message,
                              const std::vector<std::uint32_t>& recipients) {
      most_in_memory = std::max(most_in_memory, scheduler.counts().in_memory);
      return accepted(source, message, recipients);
    };
  }
  bool healed = false;
  std::size_t most_in_memory = 0;
};

/// Half of the dead sites hold transactional mail, half bulk; some of it waits since before the start.
struct DeadSites {
  static constexpr int kSites = 200, kOnDisk = 250, kNew = 50;
  static void fill(RoomWorld& world) {
    for (int site = 0; site < kSites; ++site) {
      MailClass klass = site % 2 ? MailClass::Bulk : MailClass::Transactional;
      for (int i = 0; i < kOnDisk; ++i) world.leave_on_disk({"user@" + name(site)}, world.clock.now() - 1min, klass);
    }
    world.scan();
    world.settle();
    for (int i = 0; i < kNew; ++i) {
      for (int site = 0; site < kSites; ++site)
        world.submit({"user@" + name(site)}, site % 2 ? MailClass::Bulk : MailClass::Transactional);
    }
    world.settle();
  }
  static std::string name(int site) { return (site % 4 < 2 ? "dead" : "dark") + std::to_string(site) + ".example"; }
};

TEST(SchedulerRoom, MailOfALiveSiteFlowsAtOnceBesideDeadOnes) {
  RoomWorld world;
  DeadSites::fill(world);
  const std::size_t dead = DeadSites::kSites * (DeadSites::kOnDisk + DeadSites::kNew);
  EXPECT_EQ(world.scheduler.counts().entries, dead);
  std::size_t live = 0;
  // From the first moment on, while the dead are found to be so, and long after.
  for (auto later : {0s, 1s, 3s, 10s, 60s, 600s}) {
    world.pass(later);
    for (int i = 0; i < 300; ++i) {
      world.submit({"user@live.example"});
      world.submit({"user@live.example"}, MailClass::Bulk, "main", "news");
      live += 2;
    }
    world.pass(50ms);
    EXPECT_EQ(world.deliveries(), live) << "after " << later.count() << " s";
  }
  EXPECT_LE(world.most_in_memory, 1000u);
  EXPECT_EQ(world.scheduler.counts().entries, dead);
  EXPECT_LT(world.scheduler.counts().in_memory, 100u) << "the dead wait on disk";
  // Each path is tried by a few of its messages; the backlog itself is not read again each time.
  const std::size_t loads = world.loads;
  world.pass(30min);
  EXPECT_LT(world.loads - loads, 20'000u);
  std::uint64_t listed = 0;
  for (const SiteSummary& line : world.scheduler.sites()) {
    listed += line.transactional + line.bulk;
    EXPECT_NE(line.state, "waiting") << line.site;
  }
  EXPECT_EQ(listed, dead);

  world.healed = true;
  world.pass(6min);  // the longest backoff
  EXPECT_EQ(world.deliveries(), dead + live);
  EXPECT_TRUE(world.nobody_twice());
  EXPECT_TRUE(world.index.empty());
  EXPECT_EQ(world.scheduler.counts().entries, 0u);
  EXPECT_EQ(world.scheduler.counts().in_memory, 0u);
}

TEST(SchedulerRoom, ASiteThatAnswersAgainHasAllItsMailSentAtOnce) {
  RoomWorld world;
  for (int i = 0; i < 3000; ++i) world.leave_on_disk({"user@dead.example"}, world.clock.now() - 1min);
  world.scan();
  world.pass(2min);
  EXPECT_EQ(world.deliveries(), 0u);
  EXPECT_LE(world.scheduler.counts().in_memory, 20u);
  world.healed = true;
  while (world.deliveries() == 0) world.pass(1s);
  world.pass(1s);
  EXPECT_EQ(world.deliveries(), 3000u);
  EXPECT_TRUE(world.nobody_twice());
}

TEST(SchedulerRoom, WhatWasPutBackExpiresInTime) {
  RoomWorld world;
  auto now = world.clock.now();
  for (int i = 0; i < 2000; ++i) {
    auto expiry = i % 2 ? 24h : 2h;  // those that expire first lie between the others
    world.leave_on_disk({"user@dead.example"}, now - 1min, MailClass::Transactional, "signup", expiry);
  }
  world.scan();
  for (int i = 0; i < 300; ++i) world.submit({"user@dead.example"}, MailClass::Bulk, "main", "news", i % 3 ? 24h : 1h);
  world.submit({"user@dark.example"}, MailClass::Bulk, "main", "news", 3h);
  world.pass(1h - 1s);
  EXPECT_EQ(world.count(events::Type::Expired), 0u);
  EXPECT_LE(world.scheduler.counts().in_memory, 20u);
  world.pass(10s);
  EXPECT_EQ(world.count(events::Type::Expired), 100u);
  world.pass(1h);
  EXPECT_EQ(world.count(events::Type::Expired), 1100u);
  world.pass(1h);
  EXPECT_EQ(world.count(events::Type::Expired), 1101u);
  world.pass(21h);
  EXPECT_EQ(world.count(events::Type::Expired), 2301u);
  EXPECT_TRUE(world.index.empty());
  EXPECT_EQ(world.scheduler.counts().entries, 0u);
  EXPECT_EQ(world.deliveries(), 0u);
}

TEST(SchedulerRoom, ADomainThatIsGivenUpBouncesWhatWasPutBack) {
  for (const char* name : {"dead.example", "dark.example"}) {
    SCOPED_TRACE(name);
    RoomWorld world;
    for (int i = 0; i < 500; ++i) world.submit({std::string("user@") + name});
    world.pass(3min);
    EXPECT_LE(world.scheduler.counts().in_memory, 20u);
    world.resolution = [](const std::string&) {
      Resolution gone;
      gone.status = Resolution::Status::NxDomain;
      return gone;
    };
    world.pass(10min);
    EXPECT_EQ(world.count(events::Type::Bounced), 500u);
    EXPECT_TRUE(world.index.empty());
    EXPECT_EQ(world.scheduler.counts().entries, 0u);
    EXPECT_EQ(world.deliveries(), 0u);
  }
}

TEST(SchedulerRoom, AClosedPoolKeepsNothingOfAnotherBack) {
  RoomWorld world(small_table(), options_with_pools({"main", "launch"}));
  world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
    if (world.healed || plan.source != "out-launch") return std::nullopt;
    return SessionFailure{.stage = Stage::Banner, .target = {}, .reply = {}, .error = "blocked"};
  };
  // One lane: the same tenant, class and domain.
  for (int i = 0; i < 1000; ++i) world.submit({"user@a.example"}, MailClass::Transactional, "launch");
  world.pass(1min);
  for (int i = 0; i < 200; ++i) {
    world.submit({"user@a.example"}, MailClass::Transactional, i % 2 ? "main" : "launch");
  }
  world.pass(1s);
  EXPECT_EQ(world.deliveries(), 100u);
  world.healed = true;
  world.pass(6min);
  EXPECT_EQ(world.deliveries(), 1200u);
  EXPECT_TRUE(world.nobody_twice());
}

TEST(SchedulerRoom, SlowSitesLeaveRoomForOthers) {
  for (MailClass slow_class : {MailClass::Bulk, MailClass::Transactional}) {
    SCOPED_TRACE(static_cast<int>(slow_class));
    RoomWorld world;
    world.hangs = [](const ConnectionPlan& plan) { return plan.site.starts_with("mx.slow"); };
    for (int site = 0; site < 30; ++site) {
      for (int i = 0; i < 400; ++i) world.submit({"user@slow" + std::to_string(site) + ".example"}, slow_class);
    }
    world.settle();
    std::size_t answered = 0;
    for (int i = 0; i < 100; ++i) {
      world.submit({"user@live.example"});
      world.submit({"user@live.example"}, MailClass::Bulk, "main", "news");
      answered += 2;
    }
    world.pass(200ms);
    EXPECT_EQ(world.deliveries(), answered);
    EXPECT_LE(world.scheduler.counts().in_memory, 1000u);
  }
}

TEST(SchedulerRoom, ALongBacklogLeavesMemoryToTransactionalMailOfOthers) {
  // Sites come one after the other, each with more than fits: the first must give room back.
  RoomWorld world;
  world.hangs = [](const ConnectionPlan& plan) { return plan.site.starts_with("mx.slow"); };
  for (int site = 0; site < 40; ++site) {
    for (int tenant = 0; tenant < 20; ++tenant) {
      for (int i = 0; i < 40; ++i) {
        world.submit({"user@slow" + std::to_string(site) + ".example"}, MailClass::Bulk, "main",
                     "t" + std::to_string(tenant));
      }
    }
    world.pass(10ms);
    world.submit({"user@live" + std::to_string(site) + ".example"});
    world.submit({"user@live" + std::to_string(site) + ".example"}, MailClass::Bulk);
    world.pass(200ms);
    EXPECT_EQ(world.deliveries(), 2u * static_cast<std::size_t>(site + 1));
  }
}

TEST(SchedulerRoom, NothingIsLostOrSentTwiceWhateverOpensAndCloses) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    Scheduler::Limits limits;
    limits.lanes = {.window = 12, .low_water = 4, .total = 40};
    RoomWorld world(limits, options_with_pools({"main", "launch"}));
    SeededRandom dice(seed);
    auto found = world.resolution;
    bool wild = true;
    world.resolution = [&](const std::string& domain) {
      if (!wild || dice.between(0, 2) > 0) return found(wild ? domain : "x.example");  // the MX changes, too
      Resolution none;
      none.error = "SERVFAIL";
      return none;
    };
    world.connect = [&](const ConnectionPlan&) -> std::optional<SessionFailure> {
      if (!wild || dice.between(0, 3) == 0) return std::nullopt;
      return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
    };
    world.break_after = [&](const ConnectionPlan&, const AttemptReport&) -> std::optional<SessionFailure> {
      if (!wild || dice.between(0, 3) > 0) return std::nullopt;
      return SessionFailure{.stage = Stage::Mail, .target = {}, .reply = {}, .error = "closed by peer"};
    };
    auto domain = [&] { return "d" + std::to_string(dice.between(0, 7)) + ".example"; };
    auto klass = [&] { return dice.between(0, 1) ? MailClass::Bulk : MailClass::Transactional; };
    std::size_t recipients = 0;
    for (; recipients < 150; ++recipients) {
      world.leave_on_disk({"disk@" + domain()}, world.clock.now() + std::chrono::seconds(dice.between(0, 100)),
                          klass());
    }
    world.scan();
    for (int round = 0; round < 150; ++round) {
      for (std::uint64_t i = dice.between(0, 8); i > 0; --i, ++recipients)
        world.submit({"u@" + domain()}, klass(), dice.between(0, 1) ? "main" : "launch");
      for (std::uint64_t steps = dice.between(0, 80); steps > 0 && !world.pending.empty(); --steps) {
        auto next = std::move(world.pending.front());
        world.pending.pop_front();
        next();
        if (dice.between(0, 2) == 0) world.scheduler.run();
      }
      if (dice.between(0, 20) == 0) world.scheduler.retry({});
      world.clock.advance(std::chrono::milliseconds(dice.between(0, 5000)));
      world.scheduler.run();
      EXPECT_LE(world.scheduler.counts().in_memory, 40u);
    }
    EXPECT_EQ(world.scheduler.counts().entries, world.index.size());
    wild = false;
    world.pass(70min);  // the longest time for which an answer of DNS is believed, and the longest backoff
    EXPECT_EQ(world.deliveries(), recipients);
    EXPECT_TRUE(world.nobody_twice());
    EXPECT_TRUE(world.index.empty());
    EXPECT_EQ(world.scheduler.counts().entries, 0u);
    EXPECT_EQ(world.scheduler.counts().in_memory, 0u);
  }
}

}  // namespace
}  // namespace danki::delivery
