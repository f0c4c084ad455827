#include "mta/daemon/reloader.hpp"

#include "base/log.hpp"

namespace danki::daemon {

std::shared_ptr<const submission::Options> submission_options(const std::shared_ptr<const config::Config>& config) {
  return {config, &config->submission};
}

std::shared_ptr<const delivery::Options> delivery_options(const std::shared_ptr<const config::Config>& config) {
  return {config, &config->delivery};
}

void log_warnings(const config::Config& config) {
  for (const std::string& warning : config.warnings) {
    log::warn("configuration", {log::Field::whole("note", warning)});
  }
}

std::vector<std::string> needs_restart(const config::Config& old, const config::Config& now) {
  std::vector<std::string> tables;
  auto changed = [&](bool same, const char* name) {
    if (!same) tables.emplace_back(name);
  };
  changed(old.dns.servers == now.dns.servers && old.dns.timeout == now.dns.timeout && old.dns.tries == now.dns.tries,
          "dns");
  changed(old.admin.socket == now.admin.socket && old.admin.socket_mode == now.admin.socket_mode &&
              old.admin.listen == now.admin.listen && old.admin.token_file == now.admin.token_file,
          "admin");
  changed(old.events.directory == now.events.directory && old.events.rotate_bytes == now.events.rotate_bytes &&
              old.events.rotate_after == now.events.rotate_after && old.events.retain_for == now.events.retain_for &&
              old.events.retain_bytes == now.events.retain_bytes,
          "events");
  changed(old.log_level == now.log_level && old.log_file == now.log_file, "log");
  changed(old.spool.body_memory_bytes == now.spool.body_memory_bytes &&
              old.spool.cache_bytes == now.spool.cache_bytes &&
              old.spool.disk_reserve_bytes == now.spool.disk_reserve_bytes &&
              old.spool.reserve_file_bytes == now.spool.reserve_file_bytes &&
              old.spool.max_unrecorded_outcomes == now.spool.max_unrecorded_outcomes,
          "limits (spool)");
  return tables;
}

Result<void> Reloader::reload() {
  // Whoever rotates the log has moved the file away and asks for a reload.
  if (auto reopened = log::reopen(); !reopened) {
    log::error("cannot open the log file anew; the old one stays in use", {{"error", reopened.error().message()}});
  }
  auto refuse = [this](const std::vector<std::string>& problems) -> Result<void> {
    std::string all;
    for (const std::string& problem : problems) {
      log::error("configuration", {log::Field::whole("problem", problem)});
      all += (all.empty() ? "" : "; ") + problem;
    }
    log::error("reload refused; the old configuration stays active",
               {{"file", file_.string()}, {"problems", problems.size()}});
    events::Event event;
    event.type = events::Type::Config;
    event.at = clock_.now();
    event.reason = "reload refused: " + all;
    events_.append(std::move(event));
    return std::unexpected(Error{std::errc::invalid_argument, all});
  };
  auto loaded = config::load(file_);
  if (!loaded) return refuse(loaded.error().lines);
  auto old = current_.get();
  if (loaded->data_dir != old->data_dir) {
    return refuse({"node.data_dir cannot change while running; restart instead"});
  }
  auto config = std::make_shared<const config::Config>(std::move(*loaded));
  // Listeners are what may still fail; the rest cannot.
  current_.set(config);
  auto swapped = server_.reload(submission_options(config));
  if (!swapped) {
    current_.set(old);
    return refuse({swapped.error().message()});
  }
  delivery_.reload(delivery_options(config), config->keys);
  log_warnings(*config);
  for (const std::string& table : needs_restart(*old, *config)) {
    log::warn("changed, but only a restart takes it up", {{"table", table}});
  }
  log::info("configuration reloaded", {{"file", file_.string()}});
  events::Event event;
  event.type = events::Type::Config;
  event.at = clock_.now();
  event.reason = "reloaded";
  events_.append(std::move(event));
  return {};
}

}  // namespace danki::daemon
