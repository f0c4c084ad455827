// Signing between commit and first attempt, with a real spool, real keys and a real event log.
#include "mta/delivery/prepare.hpp"

#include "tests/dkim/test_keys.hpp"
#include "tests/fakes/clock.hpp"

#include <condition_variable>
#include <fstream>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kContent = "From: shop@example.com\r\nSubject: Hello\r\n\r\nBody\r\n";

struct PrepareTest : ::testing::Test {
  PrepareTest() {
    key = folder.add("example.com", "s1", dkim::test::ed25519_key());
    queue::SpoolOptions spool_options;
    spool_options.directory = folder.path() / "spool";
    spool_options.reserve_file_bytes = 1 << 20;
    spool_options.disk_reserve_bytes = 1 << 20;
    auto opened = queue::Spool::open(spool_options, clock);
    if (!opened) throw std::runtime_error(opened.error().message());
    spool = std::move(*opened);
    spool->on_accepted([this](std::vector<queue::Accepted> batch) {
      for (queue::Accepted& accepted : batch) announced.set_value(accepted.message);
    });
    auto log = events::EventLog::open({.directory = folder.path() / "events"}, clock);
    if (!log) throw std::runtime_error(log.error().message());
    event_log = std::move(*log);
    options.keys = ring({key});
    start();
  }
  ~PrepareTest() override {
    stage->stop();
    spool->close();
  }

  static std::shared_ptr<const dkim::KeyRing> ring(std::vector<dkim::KeyOptions> keys) {
    auto loaded = dkim::KeyRing::load(std::move(keys));
    if (!loaded) throw std::runtime_error(loaded.error().message());
    return *loaded;
  }
  void start(unsigned threads = 1) {
    stage = std::make_unique<Prepare>(threads, *spool, *event_log, clock, options,
                                      [this](std::vector<Prepare::Finished> finished) {
                                        std::lock_guard lock(mutex);
                                        for (Prepare::Finished& one : finished) done[one.item] = std::move(one.error);
                                        changed.notify_all();
                                      });
  }
  int signatures(const queue::Message& message) {
    event_log->flush();
    std::ifstream log(folder.path() / "events" / "events.log");
    int count = 0;
    for (std::string line; std::getline(log, line);) {
      count += line.find("\"event\":\"signed\",\"id\":\"" + message.id.to_string()) != std::string::npos;
    }
    return count;
  }
  queue::MessagePtr accept(const std::string& from_domain,
                           mail::Address reverse_path = {.local = "bounces", .domain = "example.com"}) {
    announced = {};
    queue::NewMessage message;
    message.envelope.reverse_path = std::move(reverse_path);
    message.envelope.recipients.push_back({.address = {.local = "u", .domain = "a.example"}, .orcpt = {}, .notify = 0});
    message.envelope.tenant = "shop";
    message.envelope.klass = mail::MailClass::Bulk;
    message.envelope.campaign = "spring";
    message.envelope.pool = "main";
    message.envelope.from_domain = from_domain;
    message.envelope.arrived_at = clock.now();
    message.envelope.expires_at = clock.now() + 24h;
    message.envelope.size = kContent.size();
    message.content = kContent;
    spool->accept(std::move(message), [](Result<queue::MessageId>) {});
    return announced.get_future().get();
  }
  std::string prepare(const queue::MessagePtr& message) {
    std::uint64_t item = ++last_item;
    stage->submit(item, message);
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done.contains(item); });
    return done[item];
  }

  dkim::test::KeyFolder folder;
  fakes::FakeClock clock;
  dkim::KeyOptions key;
  std::unique_ptr<queue::Spool> spool;
  std::unique_ptr<events::EventLog> event_log;
  std::promise<queue::MessagePtr> announced;
  PrepareOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::uint64_t, std::string> done;
  std::uint64_t last_item = 0;
  std::unique_ptr<Prepare> stage;
};

TEST_F(PrepareTest, SignsWithTheKeyOfTheFromDomain) {
  auto message = accept("example.com");
  EXPECT_FALSE(stage->is_prepared(*message));
  EXPECT_EQ(prepare(message), "");
  ASSERT_NE(message->prepared(), nullptr);
  EXPECT_THAT(message->prepared()->header_lines, StartsWith("DKIM-Signature: "));
  EXPECT_THAT(message->prepared()->header_lines, HasSubstr("d=example.com"));
  EXPECT_EQ(message->prepared()->selectors, "example.com/s1");
  EXPECT_EQ(message->prepared()->signed_at, clock.now());
  EXPECT_FALSE(message->prepared_stored);
  EXPECT_TRUE(stage->is_prepared(*message));
  event_log->flush();
  std::ifstream log(folder.path() / "events" / "events.log");
  std::string line;
  std::getline(log, line);
  EXPECT_THAT(line, HasSubstr("\"event\":\"signed\",\"id\":\"" + message->id.to_string() + "\",\"tenant\":\"shop\""));
  EXPECT_THAT(line, HasSubstr("\"class\":\"bulk\",\"campaign\":\"spring\",\"from\":\"bounces@example.com\""));
}

TEST_F(PrepareTest, ReadsAContentThatIsOnDiskOnly) {
  auto message = accept("example.com");
  message->set_content(nullptr);
  EXPECT_EQ(prepare(message), "");
  ASSERT_NE(message->prepared(), nullptr);
  EXPECT_THAT(message->prepared()->header_lines, HasSubstr("d=example.com"));
}

TEST_F(PrepareTest, SignsWithEveryKeyOfTheDomain) {
  options.keys = ring({key, folder.add("example.com", "r1", dkim::test::rsa_key(2048))});
  stage->set_options(options);
  auto message = accept("example.com");
  EXPECT_EQ(prepare(message), "");
  EXPECT_EQ(message->prepared()->selectors, "example.com/s1 example.com/r1");
}

TEST_F(PrepareTest, RefusesWhatItCannotSignUnlessToldOtherwise) {
  auto message = accept("other.example");
  EXPECT_FALSE(stage->is_prepared(*message));
  EXPECT_EQ(prepare(message), "no DKIM key for other.example");
  EXPECT_EQ(message->prepared(), nullptr);

  options.send_unsigned = true;
  stage->set_options(options);
  EXPECT_TRUE(stage->is_prepared(*message)) << "nothing to do for it";
  EXPECT_EQ(prepare(message), "");
  EXPECT_EQ(message->prepared()->header_lines, "");
  EXPECT_TRUE(stage->is_prepared(*message));
}

TEST_F(PrepareTest, OurOwnReportsGoOutWhateverOurNameIsNow) {
  for (const std::string& host : {"relay.example.com", "the-name-before.example.com", ""}) {
    auto report = accept(host, {});
    EXPECT_TRUE(stage->is_prepared(*report)) << host;
    EXPECT_EQ(prepare(report), "") << host;
  }
  EXPECT_EQ(prepare(accept("relay.example.com")), "no DKIM key for relay.example.com") << "that is no report";
  auto signed_one = accept("example.com", {});
  EXPECT_FALSE(stage->is_prepared(*signed_one));
  EXPECT_EQ(prepare(signed_one), "");
  EXPECT_EQ(signed_one->prepared()->selectors, "example.com/s1");
}

TEST_F(PrepareTest, SignsAMessageOnceForAllItsDomains) {
  for (unsigned threads : {1u, 4u}) {
    stage->stop();
    start(threads);
    options.keys = ring({key, folder.add("example.com", "r" + std::to_string(threads), dkim::test::rsa_key(2048))});
    stage->set_options(options);
    auto message = accept("example.com");
    const std::uint64_t first = last_item + 1;
    for (int i = 0; i < 200; ++i) stage->submit(++last_item, message);
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return done.contains(first) && done.size() == last_item; });
    }
    EXPECT_EQ(signatures(*message), 1) << threads << " threads";
  }
}

TEST_F(PrepareTest, SignsAnewWhatIsOlderThanItsAge) {
  options.sign_max_age = 1h;
  stage->set_options(options);
  auto message = accept("example.com");
  EXPECT_EQ(prepare(message), "");
  auto first = message->prepared();
  clock.advance(1h - 1ms);
  EXPECT_TRUE(stage->is_prepared(*message));
  clock.advance(1ms);
  EXPECT_FALSE(stage->is_prepared(*message));
  EXPECT_EQ(prepare(message), "");
  EXPECT_EQ(message->prepared()->signed_at, clock.now());
  EXPECT_NE(message->prepared()->header_lines, first->header_lines);
}

TEST_F(PrepareTest, SignsAnewWhatARetiredSelectorSigned) {
  auto message = accept("example.com");
  EXPECT_EQ(prepare(message), "");
  options.keys = ring({key, folder.add("example.com", "s2", dkim::test::ed25519_key())});
  stage->set_options(options);
  EXPECT_TRUE(stage->is_prepared(*message)) << "another key beside it retires nothing";
  options.keys = ring({folder.add("example.com", "s3", dkim::test::ed25519_key())});
  stage->set_options(options);
  EXPECT_FALSE(stage->is_prepared(*message));
  EXPECT_EQ(prepare(message), "");
  EXPECT_EQ(message->prepared()->selectors, "example.com/s3");
}

TEST_F(PrepareTest, MailThatWentUnsignedIsSignedOnceThereIsAKey) {
  options.send_unsigned = true;
  options.keys = ring({});
  stage->set_options(options);
  auto message = accept("example.com");
  EXPECT_EQ(prepare(message), "");
  options.keys = ring({key});
  stage->set_options(options);
  EXPECT_FALSE(stage->is_prepared(*message));
  EXPECT_EQ(prepare(message), "");
  EXPECT_EQ(message->prepared()->selectors, "example.com/s1");
}

}  // namespace
}  // namespace danki::delivery
