// The scheduler in simulated time: hosts, disk and clock are tests/fakes/delivery_world.hpp.
#include "tests/fakes/delivery_world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::DeliveryWorld;
using fakes::options_with;
using Kind = RecipientResult::Kind;

mail::Reply reply(int code, int klass, int subject, int detail, std::string text) {
  return {code, mail::EnhancedStatus{klass, subject, detail}, std::move(text)};
}

TEST(Scheduler, DeliversAndForgetsWhatItAccepted) {
  DeliveryWorld world(options_with(1));
  for (int i = 0; i < 100; ++i) world.submit({"user" + std::to_string(i) + "@a.example"});
  world.settle();
  EXPECT_EQ(world.deliveries(), 100u);
  EXPECT_TRUE(world.nobody_twice());
  EXPECT_TRUE(world.index.empty());
  EXPECT_EQ(world.scheduler.counts().entries, 0u);
  EXPECT_EQ(world.scheduler.counts().in_memory, 0u);
  EXPECT_EQ(world.count(events::Type::Delivered), 100u);
}

TEST(Scheduler, TurnsOverTheSourcesOfThePoolEvenForSingleMessages) {
  DeliveryWorld world(options_with(12));
  for (int i = 0; i < 120; ++i) {
    world.submit({"user@a.example"});
    world.settle();  // one by one: the last connection is idle each time
  }
  ASSERT_EQ(world.by_source.size(), 12u);
  for (const auto& [source, count] : world.by_source) EXPECT_EQ(count, 10) << source;
}

TEST(Scheduler, HonoursTheWeightsOfSources) {
  auto options = options_with(2);
  options->sources["out01"].weight = 3;
  DeliveryWorld world(options);
  for (int i = 0; i < 80; ++i) {
    world.submit({"user@a.example"});
    world.settle();
  }
  EXPECT_EQ(world.by_source["out01"], 60);
  EXPECT_EQ(world.by_source["out02"], 20);
}

TEST(Scheduler, SpreadsConnectionsOverTheMostPreferredHosts) {  // RFC 5321 section 5.1
  auto options = options_with(1, 1);
  options->shaping[0].messages_per_connection = {Setting<std::uint32_t>::Kind::Value, 1};
  DeliveryWorld world(options);
  world.resolution = [](const std::string&) {
    Resolution found{.status = Resolution::Status::Ok, .site = "mx", .targets = {}, .ttl = 3600s, .error = {}};
    for (std::uint16_t i = 1; i <= 4; ++i) {
      const auto address = boost::asio::ip::make_address("192.0.2." + std::to_string(i));
      const std::uint16_t preference = i < 4 ? 10 : 20;
      found.targets.push_back({"mx" + std::to_string(i), {address, 25}, preference});
    }
    return found;
  };
  std::map<std::string, int> first;
  world.connect = [&](const ConnectionPlan& plan) {
    ++first[plan.targets.front().name];
    EXPECT_EQ(plan.targets.size(), 4u);
    EXPECT_EQ(plan.targets.back().name, "mx4");
    return std::optional<SessionFailure>();
  };
  for (int i = 0; i < 300; ++i) world.submit({"user@a.example"});
  world.settle();
  EXPECT_EQ(world.deliveries(), 300u);
  EXPECT_EQ(first.size(), 3u);
  for (const auto& [host, count] : first) EXPECT_GT(count, 70) << host;
}

TEST(Scheduler, KeepsTheConnectionLimitOfAPath) {
  DeliveryWorld world(options_with(2, 3));
  for (int i = 0; i < 500; ++i)
    world.submit({"user@a.example"}, i % 2 ? mail::MailClass::Bulk : mail::MailClass::Transactional);
  world.settle();
  EXPECT_EQ(world.deliveries(), 500u);
  EXPECT_LE(world.max_per_path, 3u);
}

TEST(Scheduler, KeepsTheStrictestLimitOfTheDomainsAtASite) {
  auto options = options_with(1, 4);
  ShapingOptions narrow;
  narrow.domain = "narrow.example";
  narrow.connections = {Setting<std::uint32_t>::Kind::Value, 1};
  options->shaping.push_back(narrow);
  DeliveryWorld world(options);
  world.resolution = [](const std::string&) {
    Resolution found{.status = Resolution::Status::Ok, .site = "mx", .targets = {}, .ttl = 60s, .error = {}};
    found.targets.push_back({"mx", {boost::asio::ip::make_address("192.0.2.1"), 25}});
    return found;
  };
  for (const char* last : {"wide.example", "narrow.example"}) {
    world.submit({"user@narrow.example"});
    world.submit({"user@wide.example"});
    world.submit({std::string("user@") + last});
    world.settle();
    for (int i = 0; i < 100; ++i) world.submit({std::string("user@") + (i % 2 ? "narrow.example" : "wide.example")});
    world.settle();
    EXPECT_EQ(world.max_per_path, 1u);
  }
  world.pass(70s);  // the narrow one is forgotten: nothing is sent there any more
  for (int i = 0; i < 100; ++i) world.submit({"user@wide.example"});
  world.settle();
  EXPECT_EQ(world.max_per_path, 4u);
}

TEST(Scheduler, EndsAConnectionAfterItsMessages) {
  auto options = options_with(1, 1);
  options->shaping.front().messages_per_connection = {Setting<std::uint32_t>::Kind::Value, 10};
  DeliveryWorld world(options);
  for (int i = 0; i < 100; ++i) world.submit({"user@a.example"});
  world.settle();
  EXPECT_EQ(world.deliveries(), 100u);
  EXPECT_EQ(world.opened.size(), 10u);
}

TEST(Scheduler, BulkAloneLeavesTheLastConnectionToTransactional) {
  DeliveryWorld world(options_with(1, 4));
  for (int i = 0; i < 300; ++i) world.submit({"user@a.example"}, mail::MailClass::Bulk);
  world.settle();
  EXPECT_EQ(world.max_per_path, 3u);
}

TEST(Scheduler, TransactionalGoesFirstAndBulkKeepsItsShare) {
  auto options = options_with(1, 1);
  options->bulk_share = 0.1;
  DeliveryWorld world(options);
  for (int i = 0; i < 200; ++i) world.submit({"user@a.example"}, mail::MailClass::Bulk, "main", "news");
  for (int i = 0; i < 200; ++i) world.submit({"user@a.example"});
  world.settle();
  std::size_t bulk_in_first_100 = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    if (world.messages[world.attempts[i].second]->envelope.klass == mail::MailClass::Bulk) ++bulk_in_first_100;
  }
  EXPECT_GE(bulk_in_first_100, 8u);
  EXPECT_LE(bulk_in_first_100, 20u);
  EXPECT_EQ(world.deliveries(), 400u);
}

TEST(Scheduler, DefersByTheStepsOfTheClassAndNeverEarly) {
  DeliveryWorld world(options_with(1));
  std::vector<TimePoint> tried;
  world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
    tried.push_back(world.clock.now());
    return DeliveryWorld::all(recipients, Kind::Transient, reply(451, 4, 7, 1, "later"), Stage::Rcpt);
  };
  auto message = world.submit({"user@a.example"});
  world.pass(20min);
  ASSERT_GE(tried.size(), 6u);
  const std::chrono::seconds steps[] = {30s, 60s, 120s, 300s, 600s};
  for (std::size_t i = 0; i < 5; ++i) {
    auto gap = tried[i + 1] - tried[i];
    EXPECT_GE(gap, steps[i] * 0.9) << i;
    EXPECT_LE(gap, steps[i] * 1.1 + 1s) << i;
  }
  EXPECT_EQ(message->progress[0].attempts, tried.size());
  EXPECT_EQ(message->progress[0].last_source, "out01");
  EXPECT_EQ(message->progress[0].last_reply->code, 451);
}

TEST(Scheduler, ExpiresWhatCouldNotBeDeliveredInTimeAndReportsIt) {
  DeliveryWorld world(options_with(1));
  world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
    return DeliveryWorld::all(recipients, Kind::Transient, reply(451, 4, 7, 1, "later"), Stage::Rcpt);
  };
  world.submit({"user@a.example"});
  world.pass(23h);
  EXPECT_EQ(world.count(events::Type::Expired), 0u);
  world.pass(2h);
  EXPECT_EQ(world.count(events::Type::Expired), 1u);
  ASSERT_EQ(world.reports.size(), 1u);
  EXPECT_EQ(world.reports[0].status, (mail::EnhancedStatus{5, 4, 7}));
  EXPECT_EQ(world.reports[0].reply->text, "later");
  EXPECT_TRUE(world.index.empty());
}

TEST(Scheduler, ExpiresWhileEveryPathIsClosed) {
  DeliveryWorld world(options_with(1));
  world.connect = [](const ConnectionPlan&) {
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  for (int i = 0; i < 600; ++i) world.submit({"user@a.example"});  // beyond a lane's window: most wait on disk
  world.pass(25h);
  EXPECT_EQ(world.count(events::Type::Expired), 600u);
  EXPECT_EQ(world.deliveries(), 0u);
  EXPECT_TRUE(world.index.empty());
}

TEST(Scheduler, PathTroubleCostsNoAttemptAndBouncesNothing) {
  DeliveryWorld world(options_with(1));
  bool up = false;
  world.connect = [&](const ConnectionPlan&) -> std::optional<SessionFailure> {
    if (up) return std::nullopt;
    return SessionFailure{.stage = Stage::Banner, .target = {}, .reply = reply(554, 5, 7, 1, "no"), .error = {}};
  };
  auto message = world.submit({"user@a.example"});
  world.pass(30min);
  EXPECT_EQ(message->progress[0].attempts, 0u);
  EXPECT_EQ(world.count(events::Type::Bounced), 0u);
  EXPECT_EQ(world.count(events::Type::Deferred), 0u);
  EXPECT_GE(world.opened.size(), 5u);
  EXPECT_LE(world.opened.size(), 20u);  // backs off
  up = true;
  world.pass(6min);
  EXPECT_EQ(world.deliveries(), 1u);
}

TEST(Scheduler, OneClosedPathLeavesTheOthersAtWork) {
  DeliveryWorld world(options_with(3));
  world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
    if (plan.source != "out02") return std::nullopt;
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  for (int i = 0; i < 60; ++i) {
    world.submit({"user@a.example"});
    world.settle();
  }
  EXPECT_EQ(world.deliveries(), 60u);
  EXPECT_EQ(world.by_source["out02"], 0);
}

TEST(Scheduler, RetriesTheRightRecipientsOfOneMessage) {
  DeliveryWorld world(options_with(1));
  world.answer = [&](const std::string&, const queue::Message& message, const std::vector<std::uint32_t>& recipients) {
    std::vector<RecipientResult> results;
    for (std::uint32_t index : recipients) {
      const std::string& local = message.envelope.recipients[index].address.local;
      RecipientResult result{.recipient = index,
                             .kind = Kind::Delivered,
                             .stage = Stage::FinalDot,
                             .reply = reply(250, 2, 0, 0, "ok"),
                             .error = {}};
      if (local == "later" && message.progress[index].attempts == 0) {
        result = {.recipient = index,
                  .kind = Kind::Transient,
                  .stage = Stage::Rcpt,
                  .reply = reply(450, 4, 2, 1, "later"),
                  .error = {}};
      }
      if (local == "never") {
        result = {.recipient = index,
                  .kind = Kind::Permanent,
                  .stage = Stage::Rcpt,
                  .reply = reply(550, 5, 1, 1, "no such user"),
                  .error = {}};
      }
      results.push_back(result);
    }
    return results;
  };
  world.submit({"now@a.example", "later@a.example", "never@a.example", "other@b.example"});
  world.settle();
  EXPECT_EQ(world.deliveries(), 2u);
  EXPECT_EQ(world.count(events::Type::Bounced), 1u);
  ASSERT_EQ(world.reports.size(), 1u);
  EXPECT_EQ(world.reports[0].recipient.address.local, "never");
  ASSERT_EQ(world.index.size(), 1u);
  EXPECT_EQ(world.index.begin()->second.recipients, std::vector<std::uint32_t>{1});
  world.pass(2min);
  EXPECT_EQ(world.deliveries(), 3u);
  EXPECT_TRUE(world.nobody_twice());
  EXPECT_TRUE(world.index.empty());
}

TEST(Scheduler, ReportsNothingToTheNullSenderAndHonoursNotify) {
  DeliveryWorld world(options_with(1));
  world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
    return DeliveryWorld::all(recipients, Kind::Permanent, reply(550, 5, 1, 1, "no such user"), Stage::Rcpt);
  };
  struct Case {
    std::string_view name;
    bool null_sender;
    std::uint8_t notify;
    std::size_t want;
  };
  for (const Case& c :
       {Case{"nothing said", false, mail::kNotifyUnset, 1}, Case{"never", false, mail::kNotifyNever, 0},
        Case{"success only", false, mail::kNotifySuccess, 0}, Case{"failure", false, mail::kNotifyFailure, 1},
        Case{"null sender", true, mail::kNotifyFailure, 0}}) {
    SCOPED_TRACE(c.name);
    mail::Envelope envelope;
    if (!c.null_sender) envelope.reverse_path = {"sender", "example.com"};
    envelope.recipients.push_back({.address = {"user", "a.example"}, .orcpt = {}, .notify = c.notify});
    envelope.arrived_at = world.clock.now();
    envelope.expires_at = world.clock.now() + 1h;
    auto message = std::make_shared<queue::Message>(queue::MessageId{1}, envelope);
    queue::DueEntry entry{{"a.example", mail::MailClass::Transactional, "t"}, world.clock.now(), message->id, {0}};
    Options options;
    JudgeOptions judge_options{&options.transactional_retries, &options.bulk_retries};
    auto results = world.answer("out01", *message, {0});
    JudgedAttempt judged = judge(message, entry, results, {}, world.clock.now(), judge_options, world.random);
    EXPECT_EQ(judged.dsn.size(), c.want);
    EXPECT_EQ(judged.bounced, 1u);
  }
}

TEST(Scheduler, ReportsRelayedWhenTheNextHostWillNot) {
  DeliveryWorld world(options_with(1));
  for (bool host_has_dsn : {false, true}) {
    mail::Envelope envelope;
    envelope.reverse_path = {"sender", "example.com"};
    envelope.recipients.push_back({.address = {"user", "a.example"}, .orcpt = {}, .notify = mail::kNotifySuccess});
    envelope.expires_at = world.clock.now() + 1h;
    auto message = std::make_shared<queue::Message>(queue::MessageId{1}, envelope);
    queue::DueEntry entry{{"a.example", mail::MailClass::Transactional, "t"}, world.clock.now(), message->id, {0}};
    Options options;
    AttemptContext context;
    context.host_has_dsn = host_has_dsn;
    JudgedAttempt judged =
        judge(message, entry, DeliveryWorld::all({0}, Kind::Delivered, reply(250, 2, 0, 0, "ok")), context,
              world.clock.now(), {&options.transactional_retries, &options.bulk_retries}, world.random);
    EXPECT_EQ(judged.dsn.size(), host_has_dsn ? 0u : 1u);
  }
}

TEST(Scheduler, AHostThatClosesAfterSomeMessagesHasACap) {
  DeliveryWorld world(options_with(1));
  world.break_after = [](const ConnectionPlan&, const AttemptReport& report) -> std::optional<SessionFailure> {
    if (report.delivered_before < 3) return std::nullopt;
    return SessionFailure{.stage = Stage::Mail, .target = {}, .reply = {}, .error = "closed by peer"};
  };
  world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
    return DeliveryWorld::all(recipients, Kind::Delivered, reply(250, 2, 0, 0, "ok"));
  };
  for (int i = 0; i < 40; ++i) world.submit({"user@a.example"});
  world.settle();  // no time passes: no backing off
  EXPECT_EQ(world.deliveries(), 40u);
  EXPECT_TRUE(world.nobody_twice());
}

TEST(Scheduler, AMessageThatAlwaysEndsTheSessionIsDeferredInTheEnd) {
  DeliveryWorld world(options_with(1));
  world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
    return DeliveryWorld::all(recipients, Kind::Untouched, reply(421, 4, 3, 0, "go away"), Stage::Rcpt);
  };
  world.break_after = [](const ConnectionPlan&, const AttemptReport&) -> std::optional<SessionFailure> {
    return SessionFailure{.stage = Stage::Rcpt, .target = {}, .reply = reply(421, 4, 3, 0, "go away"), .error = {}};
  };
  auto message = world.submit({"user@a.example"});
  world.pass(1min);
  EXPECT_EQ(message->progress[0].attempts, 0u);
  world.pass(30min);
  EXPECT_GE(message->progress[0].attempts, 1u);
  EXPECT_EQ(message->progress[0].last_reply->code, 421);
}

TEST(Scheduler, UnknownDomainAndNullMxBounceAndTemporaryDnsWaits) {
  struct Case {
    std::string_view name;
    Resolution::Status status;
    std::size_t bounced;
  };
  for (const Case& c :
       {Case{"no such domain", Resolution::Status::NxDomain, 1}, Case{"null MX", Resolution::Status::NullMx, 1},
        Case{"SERVFAIL", Resolution::Status::Temporary, 0}}) {
    SCOPED_TRACE(c.name);
    DeliveryWorld world(options_with(1));
    auto good = world.resolution;
    bool healed = false;
    world.resolution = [&](const std::string& domain) {
      if (healed) return good(domain);
      Resolution found;
      found.status = c.status;
      found.error = "test";
      return found;
    };
    auto message = world.submit({"user@a.example"});
    world.pass(3min);
    EXPECT_EQ(world.count(events::Type::Bounced), c.bounced);
    EXPECT_EQ(world.index.size(), 1 - c.bounced);
    if (c.bounced) continue;
    EXPECT_EQ(message->progress[0].attempts, 0u);
    healed = true;
    world.pass(6min);
    EXPECT_EQ(world.deliveries(), 1u);
  }
}

TEST(Scheduler, MailFollowsAChangeOfMx) {
  DeliveryWorld world(options_with(1));
  std::string host = "old.example";
  world.resolution = [&](const std::string&) {
    Resolution found;
    found.status = Resolution::Status::Ok;
    found.site = host;
    found.targets.push_back({host, {boost::asio::ip::make_address("192.0.2.1"), 25}});
    found.ttl = 60s;
    return found;
  };
  world.connect = [&](const ConnectionPlan& plan) -> std::optional<SessionFailure> {
    if (plan.site == "new.example") return std::nullopt;
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  std::vector<std::string> asked;
  world.connect = [&, refuses = world.connect](const ConnectionPlan& plan) {
    asked.push_back(plan.site);
    EXPECT_EQ(plan.targets.front().name, plan.site);
    return refuses(plan);
  };
  auto message = world.submit({"user@a.example"});
  world.pass(30s);
  EXPECT_GE(asked.size(), 2u);
  host = "new.example";
  world.pass(45s);  // no new mail: what waits has its domain asked for again when the answer is old
  EXPECT_EQ(world.deliveries(), 1u);
  EXPECT_EQ(message->progress[0].attempts, 1u);
  EXPECT_EQ(std::count(asked.begin(), asked.end(), "new.example"), 1);
  asked.clear();
  for (int i = 0; i < 10; ++i) {
    world.submit({"user@a.example"});
    world.pass(2min);
  }
  EXPECT_EQ(world.deliveries(), 11u);
  EXPECT_EQ(std::count(asked.begin(), asked.end(), "old.example"), 0) << "the old host is left for good";
}

TEST(Scheduler, ReadsTheBacklogFromDiskWithoutHoldingItInMemory) {
  DeliveryWorld world(options_with(1, 2));
  for (int i = 0; i < 5000; ++i) world.leave_on_disk({"user@a.example"}, world.clock.now() - 1min);
  for (int i = 0; i < 100; ++i) world.leave_on_disk({"user@b.example"}, world.clock.now() + 1h);
  world.scan();
  std::size_t most = 0;
  world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
    most = std::max(most, world.scheduler.counts().in_memory);
    return DeliveryWorld::all(recipients, Kind::Delivered, reply(250, 2, 0, 0, "ok"));
  };
  world.settle();
  EXPECT_EQ(world.deliveries(), 5000u);
  EXPECT_LE(most, 600u);
  world.pass(59min);
  EXPECT_EQ(world.deliveries(), 5000u);  // nothing early
  world.pass(2min);
  EXPECT_EQ(world.deliveries(), 5100u);
  EXPECT_TRUE(world.nobody_twice());
  EXPECT_TRUE(world.index.empty());
}

TEST(Scheduler, NothingIsLostOrSentTwiceWhateverTheOrderOfEvents) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    Scheduler::Limits limits;
    limits.lanes.window = 20;
    limits.lanes.low_water = 5;
    limits.lanes.total = 60;
    if (seed % 2 == 0) limits.connections = 1 + seed % 5;
    DeliveryWorld world(options_with(3, 2), limits);
    SeededRandom dice(seed);
    world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
      switch (dice.between(0, 9)) {
        case 0:
        case 1:
          return DeliveryWorld::all(recipients, Kind::Transient, reply(451, 4, 7, 1, "later"), Stage::Rcpt);
        case 2:
          return DeliveryWorld::all(recipients, Kind::Untouched, std::nullopt, Stage::Mail);
        default:
          return DeliveryWorld::all(recipients, Kind::Delivered, reply(250, 2, 0, 0, "ok"));
      }
    };
    world.break_after = [&](const ConnectionPlan&, const AttemptReport& report) -> std::optional<SessionFailure> {
      bool untouched = report.results.front().kind == Kind::Untouched;
      if (!untouched && dice.between(0, 19) != 0) return std::nullopt;
      return SessionFailure{.stage = Stage::Mail, .target = {}, .reply = {}, .error = "closed by peer"};
    };
    std::size_t recipients = 0;
    for (int i = 0; i < 200; ++i)
      world.leave_on_disk({"disk@d" + std::to_string(i % 3) + ".example"},
                          world.clock.now() + std::chrono::seconds(dice.between(0, 100)));
    recipients += 200;
    world.scan();
    for (int round = 0; round < 60; ++round) {
      for (std::uint64_t i = dice.between(0, 20); i > 0; --i) {
        world.submit({"u@d" + std::to_string(dice.between(0, 4)) + ".example",
                      "v@d" + std::to_string(dice.between(0, 4)) + ".example"},
                     dice.between(0, 1) ? mail::MailClass::Bulk : mail::MailClass::Transactional);
        recipients += 2;
      }
      // Some of what is under way happens, the rest later: any interleaving may come up.
      for (std::uint64_t steps = dice.between(0, 60); steps > 0 && !world.pending.empty(); --steps) {
        auto next = std::move(world.pending.front());
        world.pending.pop_front();
        next();
        if (dice.between(0, 2) == 0) world.scheduler.run();
      }
      if (dice.between(0, 3) == 0) {
        auto lanes = world.scheduler.retry({});
        for (const queue::LaneKey& lane : lanes) {
          std::vector<queue::DueEntry> later;
          for (const auto& [key, entry] : world.index) {
            if (entry.lane == lane && entry.due > world.clock.now()) later.push_back(entry);
          }
          world.scheduler.reschedule(later);
        }
      }
      world.clock.advance(std::chrono::milliseconds(dice.between(0, 5000)));
      world.scheduler.run();
    }
    world.pass(20h);
    for (const auto& [key, entry] : world.index) {
      ADD_FAILURE() << entry.lane.domain << " due in " << (entry.due - world.clock.now()).count() << " attempts "
                    << world.messages[entry.id]->progress[entry.recipients[0]].attempts;
    }
    EXPECT_EQ(world.deliveries(), recipients);
    EXPECT_TRUE(world.nobody_twice());
    EXPECT_TRUE(world.index.empty());
    EXPECT_EQ(world.scheduler.counts().entries, 0u);
    EXPECT_EQ(world.scheduler.counts().recording, 0u);
  }
}

TEST(Scheduler, StopsTakingMailWhileOutcomesCannotBeRecorded) {
  Scheduler::Limits limits;
  limits.max_unrecorded = 50;
  DeliveryWorld world(options_with(1, 4), limits);
  world.spool_stuck = true;
  for (int i = 0; i < 200; ++i) world.submit({"user@a.example"});
  world.settle();
  EXPECT_GE(world.deliveries(), 40u);
  EXPECT_LE(world.max_unrecorded, 50u + 4);  // what the connections held when the bound was reached
  world.unstick();
  world.settle();
  EXPECT_EQ(world.deliveries(), 200u);
  EXPECT_TRUE(world.nobody_twice());
}

TEST(Scheduler, SigningTroubleDefersAndSaysWhy) {
  DeliveryWorld world(options_with(1));
  world.prepare_error = "no DKIM key for example.com";
  auto message = world.submit({"user@a.example"});
  world.settle();
  EXPECT_EQ(world.opened.size(), 0u);
  EXPECT_EQ(message->progress[0].reason, "no DKIM key for example.com");
  world.prepare_error.clear();
  world.pass(1min);
  EXPECT_EQ(world.deliveries(), 1u);
}

TEST(Scheduler, SignsAnewWhatWaitedTooLongInMemory) {
  DeliveryWorld world(options_with(1));
  bool up = false;
  world.connect = [&](const ConnectionPlan&) -> std::optional<SessionFailure> {
    if (up) return std::nullopt;
    return SessionFailure{.stage = Stage::Connect, .target = {}, .reply = {}, .error = "refused"};
  };
  auto message = world.submit({"user@a.example"});
  world.pass(1min);
  EXPECT_TRUE(world.prepared.contains(message->id));
  world.prepared.clear();
  up = true;
  world.pass(6min);
  EXPECT_EQ(world.deliveries(), 1u);
  EXPECT_TRUE(world.prepared.contains(message->id));
}

TEST(Scheduler, AShiftedClockNeitherLosesNorRepeats) {
  for (auto jump : {-1h, 1h}) {
    DeliveryWorld world(options_with(1));
    bool later = true;
    world.answer = [&](const std::string&, const queue::Message&, const std::vector<std::uint32_t>& recipients) {
      if (later) return DeliveryWorld::all(recipients, Kind::Transient, reply(451, 4, 7, 1, "later"), Stage::Rcpt);
      return DeliveryWorld::all(recipients, Kind::Delivered, reply(250, 2, 0, 0, "ok"));
    };
    for (int i = 0; i < 20; ++i) world.submit({"user@a.example"});
    world.settle();
    world.clock.set_calendar(world.clock.now() + jump);
    later = false;
    world.pass(2h);
    EXPECT_EQ(world.deliveries(), 20u);
    EXPECT_TRUE(world.nobody_twice());
  }
}

TEST(Scheduler, DropsDueRecordsWhoseMessageIsGone) {
  DeliveryWorld world(options_with(1));
  queue::MessagePtr gone = world.leave_on_disk({"user@a.example"}, world.clock.now() - 1min);
  world.leave_on_disk({"other@a.example"}, world.clock.now() - 1min);
  world.messages.erase(gone->id);  // a power cut between records that were not synced
  world.scan();
  world.settle();
  EXPECT_EQ(world.deliveries(), 1u);
  EXPECT_TRUE(world.index.empty());
  EXPECT_EQ(world.scheduler.counts().entries, 0u);
}

}  // namespace
}  // namespace danki::delivery
