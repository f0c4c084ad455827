#pragma once

#include "mta/delivery/options.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

/// The units of the configuration file. Each returns nullopt for anything else than what it names.
namespace danki::config {

/// "250ms", "30s", "5m" or "5min", "4h", "3d"; a whole number and one unit.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
/// "600/min", "50000/h", "10/s", "1000/d"; units s, m, min, h, d.
std::optional<delivery::Rate> parse_rate(std::string_view text);
/// "25MiB", "64KiB", "1GiB", "1000B"; powers of 1024.
std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace danki::config
