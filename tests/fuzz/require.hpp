#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace danki::fuzz {

/// What must hold for every input. A crash is what a fuzzer understands.
inline void require(bool holds, std::source_location where = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%u: a property does not hold\n", where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

}  // namespace danki::fuzz
