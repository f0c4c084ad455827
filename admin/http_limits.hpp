#pragma once

#include <chrono>
#include <cstddef>

/// What one client may take. Hostile ones are met here and nowhere else.
namespace danki::admin {

inline constexpr std::size_t kMaxConnections = 64;  ///< on each of the two listeners
inline constexpr std::size_t kMaxHeaderBytes = 16 * 1024;
inline constexpr std::size_t kMaxBodyBytes = 1024 * 1024;

struct HttpLimits {
  std::chrono::milliseconds request{30'000};  ///< for each of: reading a request, answering it, sending the answer
  std::chrono::milliseconds linger{1'000};    ///< after a refusal, for the client to stop sending and read it
};

}  // namespace danki::admin
