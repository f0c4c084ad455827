#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace danki::mail {

/// RFC 3463 section 2: class "." subject "." detail, class 2, 4 or 5, the others 0..999 without leading zeros.
struct EnhancedStatus {
  int klass = 0;
  int subject = 0;
  int detail = 0;

  /// The whole of `text` must be the code.
  static std::optional<EnhancedStatus> parse(std::string_view text);
  std::string to_string() const;
  bool operator==(const EnhancedStatus&) const = default;
};

}  // namespace danki::mail
