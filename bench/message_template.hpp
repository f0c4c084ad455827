#pragma once

#include "bench/load_options.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace danki::bench {

/// A message built once; only the digits of its sequence number change from one to the next. Header section and body
/// look like real mail, so that header parsing and DKIM canonicalisation cost what they cost in earnest.
class MessageTemplate {
 public:
  explicit MessageTemplate(const LoadOptions& options);

  /// The content as it goes over the wire, end of data included. Each session owns a copy.
  const std::string& wire() const { return wire_; }
  /// Writes `number` into a copy of wire().
  void stamp(std::string& copy, uint64_t number) const;
  /// What X-Bench-Seq says in message `number`: "<run>-<ten digits>".
  std::string sequence(uint64_t number) const;

 private:
  std::string run_;
  std::string wire_;
  std::vector<std::size_t> digits_at_;
};

}  // namespace danki::bench
