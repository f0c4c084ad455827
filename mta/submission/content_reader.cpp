#include "mta/submission/content_reader.hpp"

#include <algorithm>
#include <cstring>

namespace danki::submission {
namespace {

constexpr std::size_t kFirstRoomBytes = 6 * 1024;    // most submitted mail fits without growing
constexpr std::size_t kMaxFirstRoomBytes = 1 << 20;  // of what SIZE promises: a promise must not hold the budget
constexpr std::size_t kEditRoomBytes = 512;          // Date and Message-ID may be added

const char* find(const char* from, const char* to, char c) {
  return static_cast<const char*>(std::memchr(from, c, static_cast<std::size_t>(to - from)));
}

bool any_eight_bit(const char* from, const char* to) {
  std::uint64_t seen = 0;
  while (to - from >= 8) {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    seen |= word;
    from += sizeof word;
  }
  for (; from != to; ++from) seen |= static_cast<std::uint64_t>(static_cast<unsigned char>(*from) & 0x80u);
  return (seen & 0x8080808080808080ull) != 0;
}

}  // namespace

ContentReader::ContentReader(Limits limits, MemoryBudget& budget, std::string_view head, std::uint64_t expected_bytes)
    : limits_(limits), share_(budget), expected_bytes_(expected_bytes), head_bytes_(head.size()) {
  const std::size_t first =
      expected_bytes == 0 ? kFirstRoomBytes : std::min<std::uint64_t>(expected_bytes, kMaxFirstRoomBytes);
  if (make_room(head.size() + kEditRoomBytes + first)) content_ = head;
}

ContentReader::Step ContentReader::feed_data(std::string_view input) {
  return scan(input, true);
}

void ContentReader::feed_chunk(std::string_view octets) {
  scan(octets, false);
}

void ContentReader::end_chunks() {
  if (state_ != State::Cr) return;
  constexpr char kCr = '\r';
  fault(kBareCr);
  keep(&kCr, &kCr + 1);
  state_ = State::InLine;
}

/// Octets between `run` and `p` belong to the content and are kept in one piece: at a stuffed dot, at a CR whose
/// successor has not come, and at the end of the input.
ContentReader::Step ContentReader::scan(std::string_view input, bool dots) {
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  const char* p = begin;
  const char* run = begin;
  while (p != end) {
    switch (state_) {
      case State::LineStart:
        if (dots && *p == '.') {
          keep(run, p);
          run = ++p;
          state_ = State::Dot;
          break;
        }
        state_ = State::InLine;
        [[fallthrough]];
      case State::InLine: {
        const char* const lf = find(p, end, '\n');
        const char* const stop = lf != nullptr ? lf : end;
        const char* cr = find(p, stop, '\r');
        while (cr != nullptr && cr + 1 != lf && cr + 1 != end) {
          fault(kBareCr);
          cr = find(cr + 1, stop, '\r');
        }
        if (cr == nullptr) {  // no CR before the LF, or neither
          if (lf != nullptr) fault(kBareLf);
          const char* const next = lf != nullptr ? lf + 1 : end;
          line_bytes_ += static_cast<std::uint64_t>(next - p);
          line_grew();
          p = next;
        } else if (cr + 1 == lf) {
          line_bytes_ += static_cast<std::uint64_t>(cr - p);
          line_grew();
          p = lf + 1;
          line_ended(static_cast<std::size_t>(p - run));
        } else {
          line_bytes_ += static_cast<std::uint64_t>(cr - p);
          line_grew();
          keep(run, cr);
          run = p = end;
          state_ = State::Cr;
        }
        break;
      }
      case State::Cr: {
        constexpr std::string_view kCrLf = "\r\n";
        if (*p == '\n') {
          keep(kCrLf.data(), kCrLf.data() + 2);
          run = ++p;
          line_ended(0);
        } else {
          fault(kBareCr);
          keep(kCrLf.data(), kCrLf.data() + 1);
          line_bytes_ += 1;
          line_grew();
          state_ = State::InLine;
        }
        break;
      }
      case State::Dot:
        if (*p == '\r') {
          run = ++p;
          state_ = State::DotCr;
        } else {
          state_ = State::InLine;  // the stuffed dot is gone
        }
        break;
      case State::DotCr:
        if (*p == '\n') return {static_cast<std::size_t>(p + 1 - begin), true};
        state_ = State::Cr;  // a CR in the line that the dot began; whatever follows is judged there
        break;
    }
  }
  keep(run, end);
  return {input.size(), false};
}

void ContentReader::keep(const char* from, const char* to) {
  if (from == to) return;
  const auto bytes = static_cast<std::size_t>(to - from);
  if (find(from, to, '\0') != nullptr) fault(kNul);
  if (!eight_bit_) eight_bit_ = any_eight_bit(from, to);
  octets_ += bytes;
  if (octets_ > limits_.content_bytes) fault(kTooLarge);
  if (discarding_ || !make_room(content_.size() + bytes)) return;
  content_.append(from, bytes);
}

bool ContentReader::make_room(std::size_t bytes) {
  if (bytes <= content_.capacity()) return true;
  // Growing by half over a megabyte: a content is held in the spool's memory with the room it has.
  std::uint64_t room = bytes + (bytes > (1u << 20) ? bytes / 2 : bytes);
  const std::uint64_t promised = expected_bytes_ + head_bytes_ + kEditRoomBytes;
  if (expected_bytes_ != 0 && bytes <= promised) room = std::min(room, promised);
  if (content_.empty()) room = bytes;
  if (!share_.grow_to(room)) {
    fault(kNoMemory);
    return false;
  }
  std::string larger;  // reserve() of the old one would double it whatever it is asked for
  larger.reserve(room);
  larger.append(content_);
  content_.swap(larger);
  return true;
}

void ContentReader::fault(ContentFault what) {
  faults_ |= what;
  discard();
}

void ContentReader::discard() {
  if (discarding_) return;
  discarding_ = true;
  std::string().swap(content_);
  share_.release();
}

void ContentReader::line_grew() {
  if (line_bytes_ <= kMaxLineBytes) return;
  if (limits_.long_lines) {
    long_line_ = true;
  } else {
    fault(kLongLine);
  }
}

void ContentReader::line_ended(std::size_t not_yet_kept) {
  if (header_end_ == 0) {
    const std::size_t position = content_.size() + not_yet_kept;
    if (line_bytes_ == 0) {
      header_end_ = position == 0 ? 1 : position;  // position means nothing once octets are dropped
    } else if (octets_ + not_yet_kept > limits_.header_bytes) {
      fault(kHeaderTooLarge);
    }
  }
  line_bytes_ = 0;
  state_ = State::LineStart;
}

void ContentReader::replace_header(std::size_t from, std::string_view header) {
  if (discarding_) return;
  const std::size_t old = header_end() - from;
  if (!make_room(content_.size() - old + header.size())) return;
  content_.replace(from, old, header);
  if (header_end_ != 0) header_end_ = from + header.size();
}

std::string ContentReader::take_content() {
  // A short message in a large buffer would take that much of the spool's memory.
  if (content_.capacity() > content_.size() + content_.size() / 4 + 1024 && content_.size() < (1u << 20)) {
    content_.shrink_to_fit();
  }
  return std::move(content_);
}

bool ContentReader::replace_content(std::string content) {
  share_.release();
  if (!share_.grow_to(content.capacity())) return false;
  content_ = std::move(content);
  eight_bit_ = any_eight_bit(content_.data(), content_.data() + content_.size());
  long_line_ = false;
  return true;
}

}  // namespace danki::submission
