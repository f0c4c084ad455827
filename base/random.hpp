#pragma once

#include <cstdint>
#include <random>

namespace danki {

/// Chance is given, not taken, so that a failure repeats from its seed. Not for secrets. One thread at a time.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;
  /// Uniform in [low, high]; low <= high.
  std::uint64_t between(std::uint64_t low, std::uint64_t high);
  /// Uniform in [0, 1).
  double fraction();
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

/// A seed from the operating system.
std::uint64_t random_seed();

}  // namespace danki
