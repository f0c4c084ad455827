#include "events/event_log.hpp"

#include "events/archive.hpp"
#include "tests/events/log_directory.hpp"

#include <csignal>
#include <cstdio>
#include <future>
#include <latch>
#include <set>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

namespace danki::events {
namespace {

class EventLogTest : public testing::Test {
 protected:
  EventOptions options() const {
    EventOptions result;
    result.directory = directory.path;
    return result;
  }
  std::unique_ptr<EventLog> open(EventOptions opts) {
    auto log = EventLog::open(std::move(opts), clock);
    if (!log) throw std::runtime_error(log.error().message());
    return std::move(*log);
  }

  LogDirectory directory;
  SharedClock clock;
};

std::vector<Event> batch_of(int count, int first = 0) {
  std::vector<Event> batch;
  for (int i = 0; i < count; ++i) batch.push_back(outcome("m" + std::to_string(first + i)));
  return batch;
}

TEST_F(EventLogTest, WritesInOrderWithRisingIds) {
  auto log = open(options());
  for (int i = 0; i < 100; ++i) log->append(outcome("m" + std::to_string(i)));
  log->flush();
  const auto lines = lines_of(read_file(directory.live()));
  ASSERT_EQ(lines.size(), 100u);
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_NE(lines[i].find("\"id\":\"m" + std::to_string(i) + "\""), std::string::npos);
    EXPECT_GT(event_id_of(lines[i]), last);
    last = event_id_of(lines[i]);
  }
  EXPECT_EQ(log->stats().written, 100u);
}

TEST_F(EventLogTest, HandsLinesToTheKernelBeforeItSaysWritten) {
  auto log = open(options());
  for (int i = 0; i < 50; ++i) {
    std::promise<bool> seen;
    log->append({outcome("m" + std::to_string(i))}, [&] {
      seen.set_value(read_file(directory.live()).find("\"id\":\"m" + std::to_string(i) + "\"") != std::string::npos);
    });
    ASSERT_TRUE(seen.get_future().get());
  }
}

TEST_F(EventLogTest, WritesAtOnceWhatMayNotWait) {
  auto log = open(options());
  for (int i = 0; i < 50; ++i) {
    log->append(outcome("later" + std::to_string(i)));
    log->write(batch_of(3, 3 * i));
    EXPECT_NE(read_file(directory.live()).find("\"id\":\"m" + std::to_string(3 * i + 2) + "\""), std::string::npos);
  }
  log->write({});
  log->flush();
  const auto lines = lines_of(read_file(directory.live()));
  ASSERT_EQ(lines.size(), 200u);
  for (std::size_t i = 1; i < lines.size(); ++i) EXPECT_GT(event_id_of(lines[i]), event_id_of(lines[i - 1]));
  EXPECT_EQ(log->stats().written, 200u);
}

TEST_F(EventLogTest, AnEmptyBatchIsCalledBackAfterThoseBeforeIt) {
  auto log = open(options());
  std::vector<int> order;
  std::latch both(2);
  log->append(batch_of(5000), [&] { order.push_back(1), both.count_down(); });
  log->append({}, [&] { order.push_back(2), both.count_down(); });
  both.wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(EventLogTest, IdsGoOnRisingOverRestartsAndAClockSetBack) {
  std::uint64_t last = 0;
  for (int run = 0; run < 4; ++run) {
    {
      auto log = open(options());
      log->append(batch_of(10), [] {});
    }
    const auto lines = lines_of(read_file(directory.live()));
    ASSERT_EQ(lines.size(), 10u * static_cast<std::size_t>(run + 1));
    for (std::size_t i = lines.size() - 10; i < lines.size(); ++i) {
      ASSERT_GT(event_id_of(lines[i]), last);
      last = event_id_of(lines[i]);
    }
    clock.advance(run == 1 ? std::chrono::hours(-5) : std::chrono::hours(1));
  }
}

TEST_F(EventLogTest, IdsGoOnRisingWhenTheLiveLogIsEmptyAfterARotation) {
  auto small = options();
  small.rotate_bytes = 1;
  std::uint64_t last = 0;
  {
    auto log = open(small);
    log->append(batch_of(1), [] {});
    log->flush();
    last = event_id_of(read_file(directory.live()));
    log->append(batch_of(1), [] {});
    log->flush();
  }
  std::filesystem::remove(directory.live());
  clock.advance(std::chrono::hours(-1));
  {
    auto log = open(options());
    log->append(batch_of(1), [] {});
  }
  EXPECT_GT(event_id_of(read_file(directory.live())), last);
}

TEST_F(EventLogTest, StartsOnAFreshLineAfterOneThatACrashCut) {
  {
    auto log = open(options());
    log->append(batch_of(3), [] {});
  }
  std::string text = read_file(directory.live());
  write_file(directory.live(), text.substr(0, text.size() - 40));
  {
    auto log = open(options());
    log->append({outcome("after")}, [] {});
  }
  const auto lines = lines_of(read_file(directory.live()));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_TRUE(lines[3].starts_with("{\"event_id\":"));
  EXPECT_NE(lines[3].find("\"id\":\"after\""), std::string::npos);
  EXPECT_GT(event_id_of(lines[3]), event_id_of(lines[1]));
}

TEST_F(EventLogTest, WhenOffItWritesNothingAndStillCallsBack) {
  auto off = options();
  off.enabled = false;
  auto log = open(off);
  std::promise<void> called;
  log->append(batch_of(3), [&] { called.set_value(); });
  called.get_future().wait();
  log->append(outcome("x"));
  log->write(batch_of(2));
  log->flush();
  EXPECT_TRUE(directory.names("").empty());
}

TEST_F(EventLogTest, SaysWhyItCannotOpen) {
  auto wrong = options();
  wrong.directory = directory.path / "file" / "events";
  write_file(directory.path / "file", "no folder");
  const auto log = EventLog::open(wrong, clock);
  ASSERT_FALSE(log);
  EXPECT_NE(log.error().message().find("file/events"), std::string::npos);
}

TEST_F(EventLogTest, DropsLooseEventsWhenItsBufferIsFullButNeverOutcomes) {
  auto tight = options();
  tight.max_buffered = 10;
  auto log = open(tight);
  std::latch writer_held(1), release(1);
  log->append({outcome("first")}, [&] { writer_held.count_down(), release.wait(); });
  writer_held.wait();
  for (int i = 0; i < 50; ++i) log->append(outcome("loose"));
  log->append(batch_of(40), [] {});
  release.count_down();
  log->flush();
  const auto stats = log->stats();
  EXPECT_EQ(stats.dropped, 41u);  // 9 fit beside the one in the writer's hands
  EXPECT_EQ(stats.written, 1u + 9u + 40u);
  EXPECT_EQ(lines_of(read_file(directory.live())).size(), 50u);
  log->append(outcome("again"));
  log->flush();
  EXPECT_EQ(log->stats().written, 51u);
}

TEST_F(EventLogTest, AFullDiskLosesEventsButHoldsUpNobody) {
  std::filesystem::create_symlink("/dev/full", directory.live());
  auto log = open(options());
  for (int i = 0; i < 3; ++i) {
    std::promise<void> called;
    log->append(batch_of(5), [&] { called.set_value(); });
    called.get_future().wait();
  }
  log->flush();
  const auto stats = log->stats();
  EXPECT_EQ(stats.written, 0u);
  EXPECT_EQ(stats.dropped, 15u);
  EXPECT_EQ(stats.failed_writes, 3u);
}

TEST_F(EventLogTest, AWriteCutShortLeavesNoHalfLineAndGoesOnWhenThereIsRoom) {
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  getrlimit(RLIMIT_FSIZE, &old_limit);
  auto log = open(options());
  log->append(batch_of(10), [] {});
  log->flush();
  const std::string before = read_file(directory.live());

  rlimit tight = old_limit;
  tight.rlim_cur = before.size() + 1000;  // room for two lines and a half
  setrlimit(RLIMIT_FSIZE, &tight);
  log->append(batch_of(10, 100), [] {});
  log->flush();
  EXPECT_EQ(read_file(directory.live()), before);
  EXPECT_EQ(log->stats().failed_writes, 1u);
  EXPECT_EQ(log->stats().dropped, 10u);

  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  log->append(batch_of(10, 200), [] {});
  log->flush();
  const auto lines = lines_of(read_file(directory.live()));
  ASSERT_EQ(lines.size(), 20u);
  EXPECT_NE(lines[10].find("\"id\":\"m200\""), std::string::npos);
}

TEST_F(EventLogTest, RotatesBySizeAndLosesNothing) {
  auto small = options();
  small.rotate_bytes = 64 * 1024;
  auto log = open(small);
  constexpr int kBatches = 100;
  for (int i = 0; i < kBatches; ++i) {
    log->append(batch_of(20, i * 20), [] {});
    log->flush();
  }
  EXPECT_TRUE(eventually([&] { return directory.names(".log").size() == 1 && directory.names(".tmp").empty(); }))
      << "all but the live log are compressed";
  EXPECT_GE(directory.names(".log.zst").size(), 5u);
  log.reset();
  std::string text;
  for (const std::string& name : directory.names(".log.zst")) {
    const std::string command = "zstd -dc " + (directory.path / name).string();
    std::FILE* pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, got);
    ASSERT_EQ(::pclose(pipe), 0) << "zstd itself reads it";
  }
  text += read_file(directory.live());
  const auto lines = lines_of(text);
  ASSERT_EQ(lines.size(), kBatches * 20u);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    ASSERT_NE(lines[i].find("\"id\":\"m" + std::to_string(i) + "\""), std::string::npos) << i;
  }
}

TEST_F(EventLogTest, RotatesByAgeAlsoCountingFromARunBefore) {
  {
    auto log = open(options());
    log->append(batch_of(1), [] {});
  }
  clock.advance(std::chrono::hours(23));
  auto log = open(options());
  log->append(batch_of(1), [] {});
  log->flush();
  EXPECT_EQ(lines_of(read_file(directory.live())).size(), 2u);
  clock.advance(std::chrono::hours(2));
  log->append(batch_of(1), [] {});
  log->flush();
  EXPECT_EQ(lines_of(read_file(directory.live())).size(), 1u);
  EXPECT_TRUE(eventually([&] { return directory.names(".log.zst").size() == 1; }));
}

TEST_F(EventLogTest, CompressesWhatARunBeforeLeft) {
  write_file(directory.path / archive_name(clock.now()), "{\"event_id\":5}\n");
  write_file(directory.path / (archive_name(clock.now()) + ".zst.tmp"), "half");
  auto log = open(options());
  EXPECT_TRUE(eventually([&] { return directory.names(".log") == std::vector<std::string>{"events.log"}; }));
  EXPECT_EQ(directory.names(".zst").size(), 1u);
  EXPECT_TRUE(directory.names(".tmp").empty());
}

TEST_F(EventLogTest, RemovesLogsThatAreOldOrTooMany) {
  auto short_lived = options();
  short_lived.retain_for = std::chrono::hours(24);
  short_lived.retain_bytes = 2500;
  const std::string thousand(1000, 'x');
  const auto name = [&](int hours_ago) { return archive_name(clock.now() - std::chrono::hours(hours_ago)) + ".zst"; };
  for (const int hours_ago : {48, 25, 23, 22, 21}) write_file(directory.path / name(hours_ago), thousand);
  write_file(directory.path / "unrelated.log.zst", thousand);
  auto log = open(short_lived);
  const std::vector<std::string> kept{name(22), name(21), "unrelated.log.zst"};
  EXPECT_TRUE(eventually([&] { return directory.names(".zst") == kept; }));
}

/// The child appends as fast as it can and tells of each outcome whose `written` ran, until it is killed.
[[noreturn]] void write_until_killed(const std::filesystem::path& path, int tell) {
  SystemClock clock;
  EventOptions options;
  options.directory = path;
  options.rotate_bytes = 256 * 1024;
  auto log = EventLog::open(options, clock);
  for (std::uint32_t i = 0;; ++i) {
    (*log)->append(outcome("loose"));
    (*log)->append({outcome("k" + std::to_string(i) + "k")}, [i, tell] {
      if (::write(tell, &i, sizeof i) != sizeof i) _exit(1);
    });
  }
}

TEST_F(EventLogTest, EveryOutcomeSaidWrittenIsInTheFileAfterKill) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const pid_t child = ::fork();
  if (child == 0) write_until_killed(directory.path, pipe_ends[1]);
  ::close(pipe_ends[1]);
  std::vector<std::uint32_t> told;
  std::uint32_t number = 0;
  while (::read(pipe_ends[0], &number, sizeof number) == sizeof number) {
    told.push_back(number);
    if (told.size() == 5000) ::kill(child, SIGKILL);
  }
  ::close(pipe_ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_GE(told.size(), 5000u);

  SystemClock real;  // opening again ends the cut line and compresses what was closed
  auto log = EventLog::open(options(), real);
  ASSERT_TRUE(log);
  (*log)->append(outcome("after"));
  (*log)->flush();
  ASSERT_TRUE(eventually([&] { return directory.names(".log").size() == 1; }));
  std::string text;
  for (const std::string& name : directory.names(".log.zst")) {
    std::FILE* pipe = ::popen(("zstd -dc " + (directory.path / name).string()).c_str(), "r");
    char buffer[4096];
    for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, got);
    ASSERT_EQ(::pclose(pipe), 0);
  }
  text += read_file(directory.live());
  std::set<std::string> found;
  std::uint64_t last = 0;
  for (const std::string& line : lines_of(text)) {
    if (!line.ends_with('}')) continue;  // the one that the kill may have cut
    ASSERT_GT(event_id_of(line), last);
    last = event_id_of(line);
    const std::size_t id = line.find("\"id\":\"") + 6;
    found.insert(line.substr(id, line.find('"', id) - id));
  }
  for (const std::uint32_t i : told) {
    ASSERT_TRUE(found.contains("k" + std::to_string(i) + "k")) << i << " was said written";
  }
}

TEST_F(EventLogTest, KeepsUpWithDelivery) {
  auto log = open(options());
  constexpr int kBatches = 2000, kPerBatch = 50;
  const std::vector<Event> batch = batch_of(kPerBatch);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kBatches; ++i) log->append(batch, [] {});
  log->flush();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("event log: %.0f events/s, copies and final sync included\n", kBatches * kPerBatch / took.count());
  EXPECT_EQ(log->stats().written, static_cast<std::uint64_t>(kBatches * kPerBatch));
}

}  // namespace
}  // namespace danki::events
