// Input: octets after DATA, or chunks of BDAT. The first octet says which, and how they are cut into reads.

#include "mta/submission/content_reader.hpp"
#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <cstdint>
#include <string>

using namespace danki::submission;
using danki::fuzz::require;

namespace {

constexpr ContentReader::Limits kLimits{.content_bytes = 3000, .header_bytes = 200};

struct Outcome {
  std::string content;
  std::uint8_t faults = 0;
  std::size_t consumed = 0;
  std::uint64_t octets = 0;
  bool ended = false, eight_bit = false, header_ended = false;
  bool operator==(const Outcome&) const = default;
};

Outcome read(std::string_view input, std::size_t piece, bool in_chunks) {
  MemoryBudget budget(1 << 20);
  Outcome outcome;
  {
    ContentReader reader(kLimits, budget, "", 0);
    while (outcome.consumed < input.size() && !outcome.ended) {
      const std::string part(input.substr(outcome.consumed, piece));
      if (in_chunks) {
        reader.feed_chunk(part);
        outcome.consumed += part.size();
      } else {
        const auto step = reader.feed_data(part);
        outcome.consumed += step.consumed;
        outcome.ended = step.ended;
      }
    }
    if (in_chunks) reader.end_chunks();
    // Cut off in the middle, octets that wait for their successor are in no count yet.
    if (in_chunks || outcome.ended) {
      outcome.faults = reader.faults();
      outcome.octets = reader.octets();
      outcome.eight_bit = reader.has_eight_bit();
      outcome.header_ended = reader.header_ended();
      outcome.content = reader.take_content();
    }
  }
  require(budget.used() == 0);
  return outcome;
}

/// The content as the grammar has it: lines that end in CRLF, one dot less at their beginnings.
std::string by_grammar(std::string_view data) {
  std::string content;
  while (!data.empty()) {
    const std::size_t end = data.find("\r\n");
    std::string_view line = data.substr(0, end);
    data.remove_prefix(std::min(data.size(), line.size() + 2));
    if (line.starts_with('.')) line.remove_prefix(1);
    content += line;
    content += "\r\n";
  }
  return content;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const bool in_chunks = (data[0] & 1) != 0;
  const Outcome whole = read(input, std::max<std::size_t>(1, input.size()), in_chunks);
  require(read(input, 1 + data[0] / 2 % 50, in_chunks) == whole);
  require(read(input, 1, in_chunks) == whole);

  if (in_chunks) {
    require(whole.octets == input.size());
    require(whole.faults != 0 || whole.content == input);
  } else {
    const std::size_t at = input.starts_with(".\r\n") ? 0 : input.find("\r\n.\r\n");
    require(whole.ended == (at != std::string_view::npos));
    if (whole.ended) {
      const std::size_t end = input.starts_with(".\r\n") ? 0 : at + 2;
      require(whole.consumed == end + 3);
      const std::string content = by_grammar(input.substr(0, end));
      require(whole.octets == content.size());
      require(whole.faults != 0 || whole.content == content);
    }
  }
  if (whole.faults == 0) {  // what is kept is clean
    for (std::size_t i = 0; i < whole.content.size(); ++i) {
      const char c = whole.content[i];
      require(c != '\0');
      require(c != '\n' || (i > 0 && whole.content[i - 1] == '\r'));
      require(c != '\r' || (i + 1 < whole.content.size() && whole.content[i + 1] == '\n'));
    }
  }
  return 0;
}
