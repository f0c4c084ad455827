#include "mta/delivery/lane_retry.hpp"

#include "tests/dkim/test_keys.hpp"
#include "tests/fakes/delivery_world.hpp"

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<Options> plain_options() {
  auto options = std::make_shared<Options>();
  options->sources["out01"] = {.name = "out01", .address = {}, .public_address = {}, .ehlo = {}};
  options->pools["main"] = {.name = "main", .sources = {"out01"}, .standby = {}};
  return options;
}

/// A real spool and one disk thread; the scheduler's tasks are run by the test when it likes.
struct LaneRetryTest : ::testing::Test {
  LaneRetryTest() {
    queue::SpoolOptions options;
    options.directory = folder.path() / "spool";
    options.reserve_file_bytes = 1 << 20;
    options.disk_reserve_bytes = 1 << 20;
    auto opened = queue::Spool::open(options, world.clock);
    if (!opened) throw std::runtime_error(opened.error().message());
    spool = std::move(*opened);
  }
  queue::NewMessage message_to(const std::vector<std::string>& domains, const std::string& campaign = "") {
    queue::NewMessage message;
    for (const std::string& domain : domains)
      message.envelope.recipients.push_back({.address = {.local = "u", .domain = domain}, .orcpt = {}, .notify = 0});
    message.envelope.tenant = "shop";
    message.envelope.campaign = campaign;
    message.envelope.arrived_at = world.clock.now();
    message.envelope.expires_at = world.clock.now() + 24h;
    message.content = "Subject: x\r\n\r\nx\r\n";
    return message;
  }
  queue::MessageId accept(const std::vector<std::string>& domains, const std::string& campaign = "") {
    std::promise<queue::MessageId> stored;
    spool->accept(message_to(domains, campaign), [&](Result<queue::MessageId> id) { stored.set_value(*id); });
    return stored.get_future().get();
  }
  void scan() { world.scheduler.on_scanned(*spool->scan_lanes(spool->last_id()), spool->last_id()); }
  void start(EntrySelector selector) {
    LaneRetry::World at{*spool, disk, world.clock, stopping, [this](LaneRetry::Task task) {
                          std::lock_guard lock(mutex);
                          tasks.push_back(std::move(task));
                          changed.notify_all();
                        }};
    std::make_shared<LaneRetry>(std::move(at), std::move(selector), [this](std::uint64_t count) {
      std::lock_guard lock(mutex);
      matched = count;
      changed.notify_all();
    })->start();
  }
  /// The next task for the scheduler; an empty one when the retry is done.
  LaneRetry::Task next() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return !tasks.empty() || matched; });
    if (tasks.empty()) return {};
    auto task = std::move(tasks.front());
    tasks.pop_front();
    return task;
  }
  std::uint64_t retried(EntrySelector selector) {
    start(std::move(selector));
    while (auto task = next()) task(world.scheduler);
    return *std::exchange(matched, std::nullopt);
  }

  dkim::test::KeyFolder folder;
  fakes::DeliveryWorld world{plain_options()};
  std::unique_ptr<queue::Spool> spool;
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<LaneRetry::Task> tasks;
  std::optional<std::uint64_t> matched;
  DiskWork disk{"disk", 1, 100};  // last: its work uses the others
};

TEST_F(LaneRetryTest, CountsWhatTheSelectorMeans) {
  const auto id = accept({"a.test", "b.test"}, "spring");
  accept({"b.test"});
  scan();
  EXPECT_EQ(retried({}), 3u);
  EXPECT_EQ(retried({.domain = "b.test"}), 2u);
  EXPECT_EQ(retried({.campaign = "spring"}), 2u);
  EXPECT_EQ(retried({.id = id.to_string()}), 2u);
  EXPECT_EQ(retried({.id = id.to_string(), .domain = "a.test"}), 1u);
  EXPECT_EQ(retried({.id = id.to_string(), .campaign = "autumn"}), 0u);
  EXPECT_EQ(retried({.id = "no id"}), 0u);
}

TEST_F(LaneRetryTest, ALongOneLeavesTheDiskToOthersBetweenItsPages) {
  for (int i = 1; i < 2500; ++i) spool->accept(message_to({"a.test"}), [](Result<queue::MessageId>) {});
  accept({"a.test"});  // the last one: all are stored
  scan();
  start({});
  next()(world.scheduler);  // which lanes
  auto first_page = next();
  std::promise<void> other;
  disk.must([&] { other.set_value(); });
  other.get_future().wait();  // while the retry waits for the scheduler
  first_page(world.scheduler);
  while (auto task = next()) task(world.scheduler);
  EXPECT_EQ(matched, 2500u);
}

TEST_F(LaneRetryTest, EndsWhenDeliveryStops) {
  accept({"a.test"});
  scan();
  stopping = true;
  EXPECT_EQ(retried({}), 0u);
}

}  // namespace
}  // namespace danki::delivery
