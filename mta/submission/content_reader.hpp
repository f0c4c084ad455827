#pragma once

#include "mta/submission/memory_budget.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace danki::submission {

inline constexpr std::size_t kMaxLineBytes = 998;  ///< RFC 5321 section 4.5.3.1.6, without CRLF and the stuffed dot

/// What is wrong with a content; several may be true at once.
enum ContentFault : std::uint8_t {
  kTooLarge = 1,
  kHeaderTooLarge = 2,
  kNoMemory = 4,  ///< the budget of all sessions is used up
  kNul = 8,
  kBareLf = 16,
  kBareCr = 32,
  kLongLine = 64,
};

/// Reads one content out of the octets of DATA or BDAT: takes stuffed dots out, finds the end of data, checks every
/// line, keeps the octets. The end of data is CRLF "." CRLF and nothing else (RFC 5321 section 4.1.1.4): a bare CR or
/// LF begins no line, so that no content can be cut in two by hosts that disagree about line ends. After a fault the
/// octets are dropped and reading goes on in bounded memory. The result does not depend on how the input was split.
class ContentReader {
 public:
  struct Limits {
    std::uint64_t content_bytes;  ///< as submitted
    std::size_t header_bytes;
    bool long_lines = false;  ///< are kept instead of being a fault
  };
  /// `head` is what goes before the submitted octets and counts for no limit; `expected_bytes` is what SIZE announced,
  /// or 0.
  ContentReader(Limits limits, MemoryBudget& budget, std::string_view head, std::uint64_t expected_bytes);

  struct Step {
    std::size_t consumed;
    bool ended;  ///< the end of data was the last thing consumed
  };
  /// After DATA; the input begins behind the command's CRLF.
  Step feed_data(std::string_view input);
  /// After BDAT (RFC 3030): octets of chunks, no dots are stuffed and no end is marked.
  void feed_chunk(std::string_view octets);
  /// After the last chunk.
  void end_chunks();

  std::uint8_t faults() const { return faults_; }
  bool has_eight_bit() const { return eight_bit_; }
  /// One that is over the limit and no fault.
  bool has_long_line() const { return long_line_; }
  /// Of the submitted content, kept or not.
  std::uint64_t octets() const { return octets_; }
  /// The empty line behind the header section has come.
  bool header_ended() const { return header_end_ != 0; }
  /// The head and what has been kept of the submitted octets.
  std::string_view content() const { return content_; }
  /// Where the header section's empty line ends in content(); all of it if none has come yet.
  std::size_t header_end() const { return header_end_ != 0 ? header_end_ : content_.size(); }

  /// Puts `header` in the place of content()[from, header_end()).
  void replace_header(std::size_t from, std::string_view header);
  /// Nothing more is kept: the content is refused already.
  void discard();
  std::string take_content();
  /// Puts another content into the place of the one that was taken; false if the budget has no room for it.
  bool replace_content(std::string content);

 private:
  enum class State : std::uint8_t { LineStart, InLine, Cr, Dot, DotCr };

  Step scan(std::string_view input, bool dots);
  void keep(const char* from, const char* to);
  bool make_room(std::size_t bytes);
  void fault(ContentFault what);
  void line_grew();
  void line_ended(std::size_t not_yet_kept);

  Limits limits_;
  MemoryShare share_;
  std::string content_;
  std::uint64_t expected_bytes_;
  std::uint64_t octets_ = 0;
  std::uint64_t line_bytes_ = 0;
  std::size_t header_end_ = 0;
  std::size_t head_bytes_;
  State state_ = State::LineStart;
  std::uint8_t faults_ = 0;
  bool eight_bit_ = false;
  bool long_line_ = false;
  bool discarding_ = false;
};

}  // namespace danki::submission
