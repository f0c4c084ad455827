#include "base/random.hpp"

#include <array>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace danki {
namespace {

/// Gives what it is told to.
class ScriptedRandom final : public Random {
 public:
  explicit ScriptedRandom(std::vector<std::uint64_t> values) : values_(std::move(values)) {}
  std::uint64_t next() override { return values_.at(position_++); }
  std::size_t drawn() const { return position_; }

 private:
  std::vector<std::uint64_t> values_;
  std::size_t position_ = 0;
};

TEST(Random, RepeatsFromItsSeed) {
  SeededRandom a(7), b(7), c(8);
  bool differs = false;
  for (int i = 0; i < 10; ++i) {
    const std::uint64_t value = a.next();
    EXPECT_EQ(value, b.next());
    differs = differs || value != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, BetweenReachesBothEndsEvenly) {
  SeededRandom random(1);
  std::array<int, 3> seen{};
  for (int i = 0; i < 3'000; ++i) ++seen.at(random.between(5, 7) - 5);
  for (const int count : seen) EXPECT_NEAR(count, 1'000, 150);
  EXPECT_EQ(random.between(9, 9), 9u);
}

TEST(Random, BetweenDrawsAgainInTheUnevenRemainder) {
  // 2^64 is one more than a multiple of 3: of the raw values one, 0, must not count.
  ScriptedRandom random({0, 4});
  EXPECT_EQ(random.between(10, 12), 11u);
  EXPECT_EQ(random.drawn(), 2u);
}

TEST(Random, BetweenCoversTheWholeRange) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  ScriptedRandom random({kMax});
  EXPECT_EQ(random.between(0, kMax), kMax);
}

TEST(Random, FractionStaysBelowOne) {
  ScriptedRandom random({0, std::numeric_limits<std::uint64_t>::max()});
  EXPECT_EQ(random.fraction(), 0.0);
  EXPECT_LT(random.fraction(), 1.0);
}

TEST(Random, SeedsDiffer) {
  EXPECT_NE(random_seed(), random_seed());
}

}  // namespace
}  // namespace danki
