#pragma once

#include "cli/context.hpp"

namespace danki::cli {

/// `danki status`: how the daemon does, and a table of its egress sources.
ExitCode show_status(Context& context);

}  // namespace danki::cli
