#include "mta/delivery/content_budget.hpp"

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

struct ContentBudgetTest : ::testing::Test {
  void ask(int who, std::uint64_t octets) {
    budget.ask(octets, [this, who](ContentBudget::Room room) { held[who] = std::move(room); });
  }
  ContentBudget budget{100};
  std::map<int, ContentBudget::Room> held;
};

TEST_F(ContentBudgetTest, WhoFindsNoRoomWaitsForOthersToEnd) {
  ask(1, 60);
  ask(2, 40);
  ask(3, 10);
  ask(4, 10);
  EXPECT_EQ(held.size(), 2u);
  EXPECT_EQ(budget.used(), 100u);
  EXPECT_EQ(budget.waiting(), 2u);
  held[2].reset();
  EXPECT_EQ(held.size(), 4u);
  EXPECT_EQ(budget.used(), 80u);
  held.clear();
  EXPECT_EQ(budget.used(), 0u);
}

TEST_F(ContentBudgetTest, OneThatIsTooLargeGoesAlone) {
  ask(1, 10);
  ask(2, 1000);
  ask(3, 10);
  EXPECT_EQ(held.size(), 1u) << "the small one does not overtake for ever";
  held[1].reset();
  EXPECT_EQ(held.size(), 2u);
  EXPECT_EQ(budget.used(), 1000u);
  held[2].reset();
  EXPECT_EQ(held.size(), 3u);
  held.clear();
  EXPECT_EQ(budget.used(), 0u);
}

TEST(ContentBudget, IsKeptToByManyThreads) {
  ContentBudget budget(1000);
  std::atomic<std::uint64_t> used = 0, most = 0, granted = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        budget.ask(300, [&](ContentBudget::Room room) {
          const std::uint64_t now = used += 300;
          std::uint64_t seen = most;
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
          ++granted;
          used -= 300;
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted, 800u);
  EXPECT_LE(most, 1000u);
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(budget.waiting(), 0u);
}

}  // namespace
}  // namespace danki::delivery
