// Mail that waits long: domains that move to other MX hosts meanwhile, and what its sender hears when it expires.
#include "tests/fakes/delivery_world.hpp"

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::DeliveryWorld;

std::shared_ptr<Options> one_source() {
  auto options = std::make_shared<Options>();
  options->hostname = "relay.example.com";
  SourceOptions source;
  source.name = "out01";
  source.address = boost::asio::ip::make_address("10.0.0.1");
  options->sources[source.name] = source;
  options->pools["main"] = {.name = "main", .sources = {source.name}, .standby = {}};
  return options;
}

/// Every domain is at mx.old, whose host fails in one way or another, until it has `moved` to a host that works.
struct MovingWorld : DeliveryWorld {
  MovingWorld() : DeliveryWorld(one_source()) {
    unsigned_mail = true;
    resolution = [this](const std::string&) {
      Resolution found;
      found.status = Resolution::Status::Ok;
      found.site = moved ? "mx.new" : "mx.old";
      const bool reachable = moved || old_is_v4;
      found.targets.push_back(
          {found.site, {boost::asio::ip::make_address(reachable ? "192.0.2.1" : "2001:db8::1"), 25}});
      found.ttl = 300s;
      return found;
    };
  }
  bool moved = false;
  bool old_is_v4 = true;
  std::size_t hung = 0;  // messages at a host that never answers: their connection's to give back
};

TEST(SchedulerMoves, MailThatWaitsForADeadHostFollowsItsDomain) {
  struct Case {
    std::string_view name;
    std::function<void(MovingWorld&)> set_up;
  };
  const auto refuses = [](MovingWorld& world) {
    world.connect = [](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
      if (plan.site != "mx.old") return std::nullopt;
      return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
    };
  };
  const auto closes_after_mail = [](MovingWorld& world) {
    auto delivered = world.answer;
    world.answer = [&world, delivered](const std::string& source, const queue::Message& message,
                                       const std::vector<std::uint32_t>& recipients) {
      if (world.moved) return delivered(source, message, recipients);
      return DeliveryWorld::all(recipients, RecipientResult::Kind::Untouched, mail::Reply{421, {}, "closing"},
                                Stage::Rcpt);
    };
    world.break_after = [](const ConnectionPlan& plan, const AttemptReport&) -> std::optional<SessionFailure> {
      if (plan.site != "mx.old") return std::nullopt;
      return SessionFailure{.stage = Stage::Rcpt, .target = {}, .reply = mail::Reply{421, {}, "closing"}, .error = {}};
    };
  };
  const auto closes_before_mail = [](MovingWorld& world) {
    auto delivered = world.answer;
    world.answer = [&world, delivered](const std::string& source, const queue::Message& message,
                                       const std::vector<std::uint32_t>& recipients) {
      if (world.moved) return delivered(source, message, recipients);
      return DeliveryWorld::all(recipients, RecipientResult::Kind::Untouched, mail::Reply{421, {}, "closing"},
                                Stage::Ehlo);
    };
    world.break_after = [](const ConnectionPlan& plan, const AttemptReport&) -> std::optional<SessionFailure> {
      if (plan.site != "mx.old") return std::nullopt;
      return SessionFailure{.stage = Stage::Ehlo, .target = {}, .reply = mail::Reply{421, {}, "closing"}, .error = {}};
    };
  };
  const auto never_answers = [](MovingWorld& world) {
    world.hangs = [&world](const ConnectionPlan& plan) {
      if (plan.site != "mx.old") return false;
      ++world.hung;
      return true;
    };
  };
  const auto is_out_of_reach = [](MovingWorld& world) { world.old_is_v4 = false; };
  for (const Case& c : {Case{"refuses", refuses}, Case{"closes after MAIL", closes_after_mail},
                        Case{"closes before MAIL", closes_before_mail}, Case{"never answers", never_answers},
                        Case{"has no address of the source's family", is_out_of_reach}}) {
    SCOPED_TRACE(c.name);
    MovingWorld world;
    c.set_up(world);
    constexpr int kMessages = 40;
    for (int i = 0; i < kMessages / 2; ++i) {
      world.submit({"user@a.example"});
      world.leave_on_disk({"user@b.example"}, world.clock.now(), mail::MailClass::Bulk);
    }
    world.scan();
    world.pass(20min);
    EXPECT_EQ(world.deliveries(), 0u);
    world.moved = true;
    world.pass(10min);
    EXPECT_EQ(world.deliveries() + world.hung, static_cast<std::size_t>(kMessages));
    EXPECT_GT(world.deliveries(), 0u);
    EXPECT_TRUE(world.nobody_twice());
  }
}

TEST(SchedulerMoves, DomainsAreNotAskedForAllAtOnce) {
  constexpr int kDomains = 2000;
  MovingWorld world;
  world.connect = [](const ConnectionPlan&) {
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  for (int i = 0; i < kDomains; ++i) world.submit({"user@d" + std::to_string(i) + ".example"});
  world.settle();
  auto asked = [&] {
    int sum = 0;
    for (const auto& [domain, times] : world.resolved) sum += times;
    return sum;
  };
  world.pass(10min);
  int before = asked();
  for (int second = 0; second < 1800; second += 5) {
    world.pass(5s);
    EXPECT_LE(asked() - before, 300);
    before = asked();
  }
  for (const auto& [domain, times] : world.resolved) {
    EXPECT_GE(times, 3) << domain;
    EXPECT_LE(times, 2400 / 300 + 1) << domain;
  }
}

TEST(SchedulerMoves, ExpiryTellsWhyNothingCouldBeSent) {
  MovingWorld world;
  auto found = world.resolution;
  world.resolution = [found](const std::string& domain) {
    Resolution none;
    none.error = "SERVFAIL";
    return domain == "dark.example" ? none : found(domain);
  };
  const mail::Reply blocked{554, mail::EnhancedStatus{5, 7, 1}, "blocked"};
  world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
    return SessionFailure{.stage = Stage::Banner, .target = plan.targets.front(), .reply = blocked, .error = {}};
  };
  world.submit({"user@dark.example"});
  world.submit({"user@blocked.example"});
  world.pass(25h);
  std::map<std::string, events::Event> expired;
  for (const events::Event& event : world.events) {
    if (event.type == events::Type::Expired) expired[event.to] = event;
  }
  ASSERT_EQ(expired.size(), 2u);
  const events::Event& refused = expired["user@blocked.example"];
  EXPECT_EQ(refused.reply, blocked);
  EXPECT_EQ(refused.site, "mx.old");
  EXPECT_EQ(refused.mx_ip, "192.0.2.1");
  EXPECT_EQ(refused.source, "out01");
  const events::Event& unknown = expired["user@dark.example"];
  EXPECT_EQ(unknown.site, "dark.example");
  EXPECT_EQ(unknown.reason, "not delivered in time: DNS: SERVFAIL");
  ASSERT_EQ(world.reports.size(), 2u);
}

TEST(SchedulerMoves, ARetryOfOneMessageTriesItsOwnSitesOnly) {
  DeliveryWorld world(one_source());
  world.connect = [](const ConnectionPlan&) {
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  auto meant = world.submit({"user@a.example"});
  world.submit({"user@b.example"});
  world.pass(10min);
  std::map<std::string, int> tried;
  world.connect = [&](const ConnectionPlan& plan) {
    ++tried[plan.site];
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  const std::vector<queue::LaneKey> lanes{{"a.example", mail::MailClass::Transactional, "signup"}};
  EXPECT_EQ(world.scheduler.retry({.id = meant->id.to_string()}, &lanes), lanes);
  world.settle();
  EXPECT_EQ(tried["mx.a.example"], 1);
  EXPECT_EQ(tried["mx.b.example"], 0);
}

}  // namespace
}  // namespace danki::delivery
