#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace danki::bench {

/// Finds the end of data, CRLF.CRLF (RFC 5321 section 4.1.1.4), in content that arrives in pieces.
class DataScanner {
 public:
  /// The line end of the DATA command counts: content may be empty.
  void start() { tail_ = "\r\n"; }

  /// The number of bytes of `piece` up to and with the end of data, or nothing if it is not complete yet.
  std::optional<std::size_t> feed(std::string_view piece) {
    std::string joint = tail_;
    joint += piece.substr(0, kEnd.size() - 1);
    if (auto at = joint.find(kEnd); at != std::string::npos) return at + kEnd.size() - tail_.size();
    if (auto at = piece.find(kEnd); at != std::string_view::npos) return at + kEnd.size();
    if (piece.size() >= kEnd.size() - 1) {
      tail_ = piece.substr(piece.size() - (kEnd.size() - 1));
    } else {
      tail_ += piece;
      if (tail_.size() > kEnd.size() - 1) tail_.erase(0, tail_.size() - (kEnd.size() - 1));
    }
    return std::nullopt;
  }

  static constexpr std::string_view kEnd = "\r\n.\r\n";

 private:
  std::string tail_;  ///< the last bytes seen, at most one less than kEnd; short enough to need no allocation
};

}  // namespace danki::bench
