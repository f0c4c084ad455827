#include "base/result.hpp"

namespace danki {

std::string Error::message() const {
  if (!code) return detail;
  if (detail.empty()) return code.message();
  return detail + ": " + code.message();
}

}  // namespace danki
