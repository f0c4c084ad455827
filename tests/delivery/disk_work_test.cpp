#include "mta/delivery/disk_work.hpp"

#include <atomic>
#include <future>
#include <optional>

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

struct DiskWorkTest : ::testing::Test {
  /// One thread, which is busy until release().
  DiskWorkTest() {
    disk.emplace("disk", 1, 2);
    std::promise<void> begun;
    disk->must([&] {
      begun.set_value();
      released.get_future().wait();
    });
    begun.get_future().wait();
  }
  void release() { released.set_value(); }

  std::promise<void> released;
  std::atomic<int> ran = 0;
  std::optional<DiskWork> disk;
};

TEST_F(DiskWorkTest, RefusesOnlyWhatCanBeAskedForAgain) {
  EXPECT_TRUE(disk->may([&] { ++ran; }));
  EXPECT_TRUE(disk->may([&] { ++ran; }));
  EXPECT_FALSE(disk->may([&] { ++ran; }));
  for (int i = 0; i < 1000; ++i) disk->must([&] { ++ran; });
  EXPECT_FALSE(disk->may([&] { ++ran; }));
  release();
  disk->stop();
  EXPECT_EQ(ran, 1002);
}

TEST_F(DiskWorkTest, TheEndComesAfterWhatTheWorkBringsWithIt) {
  disk->must([&] {
    disk->must([&] {
      ++ran;
      disk->must([&] { ++ran; });
    });
    throw std::runtime_error("logged, and no reason to wait for ever");
  });
  release();
  disk->stop();
  EXPECT_EQ(ran, 2);
  EXPECT_FALSE(disk->may([&] { ++ran; }));
}

}  // namespace
}  // namespace danki::delivery
