#pragma once

#include "base/worker_pool.hpp"
#include "mta/submission/answer.hpp"
#include "mta/submission/memory_budget.hpp"

#include <expected>
#include <functional>
#include <memory>
#include <string>

namespace danki::submission {

/// A content whose lines all fit, or what the client hears.
using Encoded = std::expected<std::string, Answer>;

/// `content` with bodies encoded and header lines folded so that no line is over 998 octets (mail/long_lines.hpp). The
/// result has its part of `budget` while both are there. Takes time in proportion to the content.
Encoded encode_long_lines(std::string content, MemoryBudget& budget);

/// Does that on a thread of its own: a large content takes longer than other sessions should wait. Thread-safe.
class LineEncoder {
 public:
  static constexpr std::size_t kMaxQueued = 64;

  explicit LineEncoder(MemoryBudget& budget);

  using Done = std::function<void(Encoded)>;
  /// `done` is called once, on this thread or on the encoder's; not at all after stop().
  void encode(std::string content, Done done);
  void stop() { pool_.stop(); }

 private:
  MemoryBudget& budget_;
  WorkerPool pool_;
};

}  // namespace danki::submission
