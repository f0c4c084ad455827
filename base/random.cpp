#include "base/random.hpp"

#include <cassert>

namespace danki {

std::uint64_t Random::between(std::uint64_t low, std::uint64_t high) {
  assert(low <= high);
  const std::uint64_t span = high - low + 1;
  if (span == 0) return next();  // the whole range
  // Values below the remainder of 2^64 / span would be drawn once more often than the others: draw again.
  const std::uint64_t uneven = (0 - span) % span;
  std::uint64_t drawn = next();
  while (drawn < uneven) drawn = next();
  return low + drawn % span;
}

double Random::fraction() {
  return static_cast<double>(next() >> 11) * 0x1.0p-53;  // 53 bits: the precision of a double
}

std::uint64_t random_seed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

}  // namespace danki
