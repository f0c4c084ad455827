#include "queue/repair.hpp"

#include "tests/queue/damage_fixture.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace danki::queue::testing {
namespace {

using State = RecipientProgress::State;
using namespace std::chrono_literals;

class RepairTest : public SpoolDamageTest {
 protected:
  void remove_manifest() {
    for (const auto& entry : std::filesystem::directory_iterator(options.directory / "db")) {
      if (entry.path().filename().string().starts_with("MANIFEST")) std::filesystem::remove(entry.path());
    }
  }
  void expect_in_use(const Error& error) {
    EXPECT_EQ(error.code, std::errc::device_or_resource_busy) << error.message();
    EXPECT_NE(error.message().find(options.directory.string()), std::string::npos) << error.message();
  }
};

TEST_F(RepairTest, AndADaemonStayOutOfALockedDirectory) {
  const auto stored = fill(5);
  const int other = ::open((options.directory / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(other, 0);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  const auto repaired = repair(options);
  const auto opened = Spool::open(options, clock);
  ::close(other);
  ASSERT_FALSE(repaired);
  expect_in_use(repaired.error());
  ASSERT_FALSE(opened);
  expect_in_use(opened.error());
  expect_ids(stored, 5);
}

TEST_F(RepairTest, LeavesARunningSpoolAlone) {
  open();
  for (int i = 0; i < 20; ++i) accept(make_message({"a.test"}));
  const auto refused = repair(options);
  ASSERT_FALSE(refused);
  expect_in_use(refused.error());
  accept(make_message({"a.test"}));
  close();
  EXPECT_EQ(check_nothing_half_there(options).size(), 21u);
}

TEST_F(RepairTest, ASecondSpoolStaysOutUntilTheFirstIsClosed) {
  open();
  const auto second = Spool::open(options, clock);
  ASSERT_FALSE(second);
  expect_in_use(second.error());
  restart();
}

TEST_F(RepairTest, SavesWhatCanBeRead) {
  const auto stored = fill(20, 20'000);
  overwrite(newest_log(), stored[10].second + 700, "garbage");
  const auto report = repair(options);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_GE(report->messages, 17u);
  EXPECT_LT(report->messages, 20u);
  const auto left = check_nothing_half_there(options);
  EXPECT_EQ(left.size(), report->messages);
  open();
  const MessageId id = accept(make_message({"a.test"})).message->id;
  EXPECT_GT(id, stored.back().first);
  EXPECT_EQ(spool->stats().messages, report->messages + 1);
}

TEST_F(RepairTest, MakesALostManifestAnew) {
  const auto stored = fill(20, 20'000);
  open();
  const Accepted last = accept(make_message({"b.test", "c.test"}, "short"));
  record(outcome_of(last.message, last.entries[0], State::Pending, test_time() + 5min));
  close();
  remove_manifest();
  const auto report = repair(options);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->messages, 21u);
  EXPECT_EQ(report->lost_bodies, 0u);
  EXPECT_EQ(check_nothing_half_there(options).size(), 21u);
  open();
  EXPECT_EQ(spool->read_content(stored[4].first), std::string(20'000, 'x'));
  EXPECT_EQ(spool->show(last.message->id)->progress[0], progress_of(State::Pending));
}

TEST_F(RepairTest, LeavesAHealthySpoolAsItIs) {
  const auto stored = fill(5);
  const auto report = repair(options);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->messages, 5u);
  EXPECT_EQ(report->removed_records, 0u);
  expect_ids(stored, 5);
}

}  // namespace
}  // namespace danki::queue::testing
