#pragma once

#include "admin/options.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "dkim/signer.hpp"
#include "events/event_log.hpp"
#include "mta/delivery/options.hpp"
#include "mta/submission/options.hpp"
#include "net/dns.hpp"
#include "queue/options.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

/// danki.toml: what an operator may set, and whether it is valid (DESIGN section 12).
namespace danki::config {

/// A checked configuration, turned into each room's options.
struct Config {
  std::filesystem::path file;
  std::string hostname;
  std::filesystem::path data_dir;
  submission::Options submission;
  delivery::Options delivery;
  std::vector<dkim::KeyOptions> dkim;
  std::shared_ptr<const dkim::KeyRing> keys;  ///< loaded and checked; shared with the rooms that sign
  net::DnsOptions dns;
  admin::AdminOptions admin;
  events::EventOptions events;
  queue::SpoolOptions spool;
  log::Level log_level = log::Level::Info;
  std::string log_file;  ///< empty: stderr
  /// Keys that are valid but have no effect in this version, and what else an operator should know: "danki.toml:12:1:
  /// dkim.selector: ...".
  std::vector<std::string> warnings;
};

/// Every problem found, each as "file:line:column: key: what is wrong and what is allowed".
struct Problems {
  std::vector<std::string> lines;
  std::string to_string() const;  ///< one line each
};

/// Reads the file and its included directory. Relative paths in it are relative to its folder.
std::expected<Config, Problems> load(const std::filesystem::path& file);

/// Where the daemon of that file is asked; empty if it has no admin socket. Reads [admin].socket and nothing else: who
/// may ask the daemon need not be allowed to read its keys. Included files are opened only if the main one has no
/// [admin].
std::expected<std::filesystem::path, Problems> admin_socket(const std::filesystem::path& file);

}  // namespace danki::config
