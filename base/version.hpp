#pragma once

namespace danki {

inline constexpr const char* kVersion = "0.1.0";  // also in CMakeLists.txt; moves with CHANGELOG.md

}  // namespace danki
