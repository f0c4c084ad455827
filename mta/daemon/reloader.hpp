#pragma once

#include "mta/daemon/daemon_ports.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace danki::daemon {

/// Reads the configuration again and hands it to the rooms: all of it or nothing. A bad file leaves the old one active
/// and says so. Called on the main thread only.
class Reloader {
 public:
  Reloader(std::filesystem::path file, CurrentConfig& current, submission::Server& server, delivery::Delivery& delivery,
           events::EventLog& events, const Clock& clock)
      : file_(std::move(file)),
        current_(current),
        server_(server),
        delivery_(delivery),
        events_(events),
        clock_(clock) {}

  Result<void> reload();

 private:
  std::filesystem::path file_;
  CurrentConfig& current_;
  submission::Server& server_;
  delivery::Delivery& delivery_;
  events::EventLog& events_;
  const Clock& clock_;
};

/// The tables that differ and that no running room takes up.
std::vector<std::string> needs_restart(const config::Config& old, const config::Config& now);

/// Warnings of a configuration, one log line each.
void log_warnings(const config::Config& config);

/// The rooms' parts of one configuration, kept alive by it.
std::shared_ptr<const submission::Options> submission_options(const std::shared_ptr<const config::Config>& config);
std::shared_ptr<const delivery::Options> delivery_options(const std::shared_ptr<const config::Config>& config);

}  // namespace danki::daemon
