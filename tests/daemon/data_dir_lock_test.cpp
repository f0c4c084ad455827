#include "mta/daemon/data_dir_lock.hpp"

#include "tests/dkim/test_keys.hpp"

#include <fstream>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace danki::daemon {
namespace {

using ::testing::HasSubstr;

TEST(DataDirLock, LetsOneInAndNamesIt) {
  const dkim::test::KeyFolder folder;
  const auto data_dir = folder.path() / "new" / "data";
  std::optional<DataDirLock> held;
  {
    auto first = DataDirLock::take(data_dir);
    ASSERT_TRUE(first) << first.error().message();
    held.emplace(std::move(*first));
  }
  const auto second = DataDirLock::take(data_dir);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message(),
            "another dankid (pid " + std::to_string(::getpid()) + ") works in " + data_dir.string());
  held.reset();
  EXPECT_TRUE(DataDirLock::take(data_dir)) << "given back";
}

TEST(DataDirLock, IsNotKeptOutByWhatADeadDaemonLeft) {
  const dkim::test::KeyFolder folder;
  std::ofstream(folder.path() / "dankid.lock") << "a long line that is no pid\n";
  {
    const auto lock = DataDirLock::take(folder.path());
    ASSERT_TRUE(lock) << lock.error().message();
    std::ifstream file(folder.path() / "dankid.lock");
    std::string text;
    std::getline(file, text);
    EXPECT_EQ(text, std::to_string(::getpid()));
  }
  std::ofstream(folder.path() / "file");
  const auto failed = DataDirLock::take(folder.path() / "file");
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message(), HasSubstr("file"));
}

}  // namespace
}  // namespace danki::daemon
