#pragma once

#include "base/time.hpp"
#include "mta/submission/answer.hpp"
#include "mta/submission/options.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace danki::submission {

/// What the header section of a submitted message is judged by.
struct HeaderContext {
  const TenantOptions& tenant;
  TimePoint now{};
  std::chrono::seconds expiry{};  ///< of the tenant's class
  std::size_t max_received_lines = 50;
  std::string_view message_id;  ///< "<...>", for a message that has none
};

/// What it asks for, and what becomes of it.
struct HeaderVerdict {
  std::optional<Answer> refusal;
  std::string from_domain;  ///< of the first mailbox of From
  std::string campaign;
  std::string pool;
  TimePoint not_before{};  ///< zero: at once
  TimePoint expires_at{};
  /// The section in its place: Date and Message-ID added where they are missing (RFC 6409 section 8), X-Danki-* fields
  /// removed. Empty if it stays as it was.
  std::optional<std::string> replacement;
};

/// `header` is the section with its empty line, if it has one.
HeaderVerdict judge_header(std::string_view header, const HeaderContext& context);

}  // namespace danki::submission
