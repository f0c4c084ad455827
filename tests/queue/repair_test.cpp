#include "queue/repair.hpp"

#include "tests/queue/damage_fixture.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
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
  /// Repairs the damaged spool with the power going before each `step`th operation, and before each one from where the
  /// database is replaced; then once more, sometimes after an attempt to start. Every time there must be as many
  /// messages as after a repair without a power cut: `want`.
  void cut_power_everywhere(std::uint64_t step, std::size_t& want);
  /// One of them: `arm` says when the power goes. Whether it came to that.
  bool cut_power(const std::filesystem::path& damaged, Random& random, std::size_t want,
                 const std::function<void(FaultFileSystem&)>& arm);
  std::set<std::filesystem::path> names_in_spool() {
    std::set<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(options.directory)) found.insert(entry);
    return found;
  }
  /// What a repair leaves that was ended early.
  void leave_work(const std::filesystem::path& name) {
    const auto directory = options.directory / name / "opened" / "db";
    std::filesystem::create_directories(directory);
    std::ofstream(directory / "000007.sst") << "left";
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

bool RepairTest::cut_power(const std::filesystem::path& damaged, Random& random, std::size_t want,
                           const std::function<void(FaultFileSystem&)>& arm) {
  std::filesystem::remove_all(options.directory);
  std::filesystem::copy(damaged, options.directory, std::filesystem::copy_options::recursive);
  FaultEnv fault(scratch.path() / "attic");
  arm(*fault.files);
  const bool is_whole = repair(options, fault.env.get()).has_value();
  const bool was_cut = !is_whole || fault.files->is_dead();
  fault.files->clear_fault();
  fault.files->lose_unsynced(random);
  if (random.between(0, 1)) (void)Spool::open(options, clock, fault.env.get());
  const auto again = repair(options, fault.env.get());
  EXPECT_TRUE(again) << again.error().message();
  if (!again) return was_cut;
  EXPECT_EQ(again->messages, want);
  EXPECT_EQ(check_nothing_half_there(options).size(), want);
  EXPECT_FALSE(std::filesystem::exists(options.directory / "repair"));
  EXPECT_FALSE(std::filesystem::exists(options.directory / "db.repaired"));
  return was_cut;
}

void RepairTest::cut_power_everywhere(std::uint64_t step, std::size_t& want) {
  const auto damaged = scratch.path() / "damaged";
  std::filesystem::copy(options.directory, damaged, std::filesystem::copy_options::recursive);
  const auto report = repair(options);
  ASSERT_TRUE(report) << report.error().message();
  want = report->messages;
  SeededRandom random(step);
  for (std::uint64_t after = 1; !HasFailure(); after += step) {
    SCOPED_TRACE(fmt::format("power cut before operation {}", after));
    if (!cut_power(damaged, random, want, [&](FaultFileSystem& files) { files.cut_power_after(after); })) break;
  }
  // Counted from the first rename itself: how many operations come before it differs from run to run.
  constexpr std::uint64_t kRenamesAndSyncs = 6;
  for (std::uint64_t after = 0; after <= 10 && !HasFailure(); ++after) {
    SCOPED_TRACE(fmt::format("power cut before operation {}, the first rename being number 0", after));
    const bool was_cut = cut_power(damaged, random, want, [&](FaultFileSystem& files) {
      files.set_fault([&files, after, is_armed = std::make_shared<std::atomic<bool>>(false)](FaultFileSystem::Operation,
                                                                                             const std::string& path) {
        if (!path.ends_with("/db.repaired") || is_armed->exchange(true)) return rocksdb::IOStatus::OK();
        files.cut_power_after(after);
        return after == 0 ? rocksdb::IOStatus::IOError("the power is off") : rocksdb::IOStatus::OK();
      });
    });
    EXPECT_TRUE(was_cut || after >= kRenamesAndSyncs);
  }
}

TEST_F(RepairTest, APowerCutWhileItReadsAroundDamageLosesNothing) {
  const auto stored = fill(20, 20'000);
  overwrite(newest_log(), stored[10].second + 700, "garbage");
  std::size_t messages = 0;
  cut_power_everywhere(23, messages);
  EXPECT_GE(messages, 17u);
}

TEST_F(RepairTest, APowerCutWhileItMakesADatabaseAnewLosesNothing) {
  fill(20, 20'000);
  fill(5);
  remove_manifest();
  std::size_t messages = 0;
  cut_power_everywhere(47, messages);
  EXPECT_EQ(messages, 25u);
}

TEST_F(RepairTest, AFailedOneLeavesEverythingAsItWas) {
  fill(20, 20'000);
  remove_manifest();
  const auto before = names_in_spool();
  FaultEnv fault(scratch.path() / "attic");
  fault.files->set_fault([](FaultFileSystem::Operation operation, const std::string& path) {
    return operation == FaultFileSystem::Operation::Rename && path.ends_with("db.repaired")
               ? rocksdb::IOStatus::IOError("injected")
               : rocksdb::IOStatus::OK();
  });
  EXPECT_FALSE(repair(options, fault.env.get()));
  EXPECT_EQ(names_in_spool(), before);
}

TEST_F(RepairTest, KeepsOwnerAndPermissions) {
  fill(5);
  remove_manifest();
  const auto database = options.directory / "db";
  for (const auto& entry : std::filesystem::directory_iterator(database)) ::chmod(entry.path().c_str(), 0640);
  ASSERT_EQ(::chmod(database.c_str(), 0750), 0);
  const bool is_root = ::geteuid() == 0;
  constexpr uid_t kSomebody = 12345;
  if (is_root) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch.path()))
      ASSERT_EQ(::chown(entry.path().c_str(), kSomebody, kSomebody), 0);
  }
  std::filesystem::remove(options.directory / "lock");
  const mode_t mask = ::umask(0);
  const auto report = repair(options);
  ::umask(mask);
  ASSERT_TRUE(report) << report.error().message();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch.path() / "spool")) {
    struct stat info {};
    ASSERT_EQ(::stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07, 0u) << entry.path();
    EXPECT_EQ(info.st_uid, is_root ? kSomebody : ::geteuid()) << entry.path();
    EXPECT_EQ(info.st_gid, is_root ? kSomebody : ::getegid()) << entry.path();
  }
  struct stat info {};
  ASSERT_EQ(::stat(database.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0750u);
}

/// So that a daemon that is not root can remove what is left of one that was ended early.
TEST_F(RepairTest, WorksInDirectoriesOfTheSpoolsOwner) {
  fill(5);
  remove_manifest();
  const bool is_root = ::geteuid() == 0;
  constexpr uid_t kSomebody = 12345;
  if (is_root) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch.path()))
      ASSERT_EQ(::chown(entry.path().c_str(), kSomebody, kSomebody), 0);
  }
  FaultEnv fault(scratch.path() / "attic");
  fault.files->set_fault([&](FaultFileSystem::Operation operation, const std::string& path) {
    if (operation == FaultFileSystem::Operation::Append && path.find("/repair/rebuilt/") != std::string::npos)
      fault.files->cut_power_after(0);
    return rocksdb::IOStatus::OK();
  });
  ASSERT_FALSE(repair(options, fault.env.get()));
  int directories = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(options.directory / "repair")) {
    if (!entry.is_directory()) continue;
    ++directories;
    struct stat info {};
    ASSERT_EQ(::stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, is_root ? kSomebody : ::geteuid()) << entry.path();
    EXPECT_EQ(info.st_gid, is_root ? kSomebody : ::getegid()) << entry.path();
  }
  EXPECT_EQ(directories, 4) << "tables, rebuilt, and a database in each";
  struct stat info {};
  ASSERT_EQ(::stat((options.directory / "repair").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, is_root ? kSomebody : ::geteuid());
}

TEST_F(RepairTest, WhatOneLeftThatCannotBeRemovedKeepsNobodyFromStarting) {
  const auto stored = fill(5);
  for (const std::string name : {"repair", "db.repaired"}) leave_work(name);
  FaultEnv fault(scratch.path() / "attic");
  const auto is_left = [](const std::string& path) {
    return path.find("/repair") != std::string::npos || path.find("/db.repaired") != std::string::npos;
  };
  const auto refusal = [&](const std::string& path) {
    return is_left(path) ? rocksdb::IOStatus::IOError("Permission denied") : rocksdb::IOStatus::OK();
  };
  fault.files->set_fault([&](FaultFileSystem::Operation, const std::string& path) { return refusal(path); });
  open(fault.env.get());
  ASSERT_TRUE(spool);
  close();
  fault.files->set_read_fault(refusal);
  open(fault.env.get());
  ASSERT_TRUE(spool);
  close();
  fault.files->clear_read_fault();
  const auto before = names_in_spool();
  EXPECT_FALSE(repair(options, fault.env.get())) << "never among what another one left: its tables are the database's";
  EXPECT_EQ(names_in_spool(), before);
  fault.files->clear_fault();
  open(fault.env.get());
  close();
  EXPECT_FALSE(std::filesystem::exists(options.directory / "repair"));
  EXPECT_FALSE(std::filesystem::exists(options.directory / "db.repaired"));
  expect_ids(stored, 5);
}

TEST_F(RepairTest, NamesThatCannotBeLookedAtEndNoProcess) {
  const auto stored = fill(5);
  const auto loop = [this](const char* name) { std::filesystem::create_symlink(name, options.directory / name); };
  loop("repair");
  loop("db.repaired");
  expect_ids(stored, 5);
  loop("repair");
  loop("db.before-repair-1");
  const auto report = repair(options);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(std::filesystem::exists(options.directory / "db.before-repair-2"));
  expect_ids(stored, 5);
  std::filesystem::rename(options.directory / "db", scratch.path() / "db");
  loop("db");
  EXPECT_FALSE(Spool::open(options, clock));
  EXPECT_FALSE(repair(options));
}

TEST_F(RepairTest, ADirectoryThatCannotBeListedIsAnError) {
  const auto stored = fill(5);
  FaultEnv fault(scratch.path() / "attic");
  fault.files->set_read_fault([&](const std::string& path) {
    return path == (options.directory / "db").string() ? rocksdb::IOStatus::IOError("injected")
                                                       : rocksdb::IOStatus::OK();
  });
  const auto before = names_in_spool();
  EXPECT_FALSE(repair(options, fault.env.get()));
  EXPECT_EQ(names_in_spool(), before);
  expect_ids(stored, 5);
}

TEST_F(RepairTest, GoesOnWithoutALogThatCannotBeRead) {
  const auto stored = fill(5);
  open();
  close();  // what the log held is in tables
  fill(3);
  const std::string log = newest_log();
  FaultEnv fault(scratch.path() / "attic");
  fault.files->set_read_fault([&](const std::string& path) {
    return path == log ? rocksdb::IOStatus::IOError("Input/output error") : rocksdb::IOStatus::OK();
  });
  const auto report = repair(options, fault.env.get());
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_NE(report->steps.front().find(log), std::string::npos) << report->steps.front();
  EXPECT_EQ(report->messages, 5u);
  expect_ids(stored, 5);
}

TEST_F(RepairTest, GoesOnWithoutAManifestThatCannotBeRead) {
  fill(5);
  FaultEnv fault(scratch.path() / "attic");
  fault.files->set_read_fault([&](const std::string& path) {
    return path.starts_with((options.directory / "db" / "MANIFEST").string())
               ? rocksdb::IOStatus::IOError("Input/output error")
               : rocksdb::IOStatus::OK();
  });
  const auto report = repair(options, fault.env.get());
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->messages, 5u);
  EXPECT_EQ(check_nothing_half_there(options).size(), 5u);
}

TEST_F(RepairTest, MakesNothingAnewForWantOfSpace) {
  fill(5);
  FaultEnv fault(scratch.path() / "attic");
  fault.files->set_fault([](FaultFileSystem::Operation operation, const std::string& path) {
    const bool is_copy = path.find("/repair/opened/") != std::string::npos;
    return operation == FaultFileSystem::Operation::Append && is_copy ? rocksdb::IOStatus::NoSpace("injected")
                                                                      : rocksdb::IOStatus::OK();
  });
  const auto report = repair(options, fault.env.get());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::DiskReserve) << report.error().message();
}

TEST_F(RepairTest, MakesNoSpoolWhereThereIsNone) {
  EXPECT_FALSE(repair(options));
  EXPECT_FALSE(std::filesystem::exists(options.directory));
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
