#pragma once

#include "cli/context.hpp"

#include <filesystem>

namespace danki::cli {

/// `danki config check [FILE]`: says what is wrong in it, as `dankid --check` does. Needs no daemon.
ExitCode check_config(const std::filesystem::path& file, bool as_json);
/// `danki reload`: the daemon reads its configuration again; a bad one leaves the old one active.
ExitCode reload_config(Context& context);
/// The admin socket that the configuration names; EX_CONFIG when the file has problems.
std::expected<std::string, ExitCode> socket_of_config(const std::filesystem::path& file);

}  // namespace danki::cli
