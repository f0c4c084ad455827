#pragma once

#include <expected>
#include <string>
#include <system_error>

namespace danki {

/// An expected failure: a code to branch on and the detail a person needs (a name, a path, what was said).
struct Error {
  std::error_code code;
  std::string detail;

  Error(std::error_code c, std::string d = {}) : code(c), detail(std::move(d)) {}
  template <class Enum>
  requires std::is_error_code_enum_v<Enum> Error(Enum e, std::string d = {})
      : code(make_error_code(e)), detail(std::move(d)) {}
  Error(std::errc e, std::string d = {}) : code(std::make_error_code(e)), detail(std::move(d)) {}

  /// "detail: message of the code", or the one of them that is there.
  std::string message() const;
};

template <class T>
using Result = std::expected<T, Error>;

}  // namespace danki
