#include "base/mailbox.hpp"

#include <memory>
#include <thread>

#include <gtest/gtest.h>

namespace danki {
namespace {

TEST(Mailbox, SaysWhenTheConsumerMustBeWoken) {
  Mailbox<int> box;
  EXPECT_TRUE(box.push(1));
  EXPECT_FALSE(box.push(2));
  std::vector<int> taken{9};
  box.take_all(taken);
  EXPECT_EQ(taken, (std::vector{1, 2}));
  EXPECT_EQ(box.size(), 0u);
  EXPECT_TRUE(box.push(3));
  box.take_all(taken);
  EXPECT_EQ(taken, std::vector{3});
  box.take_all(taken);
  EXPECT_TRUE(taken.empty());
}

TEST(Mailbox, CarriesWhatCannotBeCopied) {
  Mailbox<std::unique_ptr<int>> box;
  box.push(std::make_unique<int>(5));
  std::vector<std::unique_ptr<int>> taken;
  box.take_all(taken);
  EXPECT_EQ(*taken.at(0), 5);
}

TEST(Mailbox, LosesNothingBetweenThreads) {
  constexpr int kEach = 10'000;
  Mailbox<int> box;
  const auto produce = [&] {
    for (int i = 0; i < kEach; ++i) box.push(i);
  };
  std::thread first(produce), second(produce);
  std::vector<int> taken;
  std::size_t count = 0;
  while (count < 2 * kEach) {
    box.take_all(taken);
    count += taken.size();
    if (taken.empty()) std::this_thread::yield();
  }
  first.join();
  second.join();
  EXPECT_EQ(count, 2u * kEach);
  EXPECT_EQ(box.size(), 0u);
}

}  // namespace
}  // namespace danki
