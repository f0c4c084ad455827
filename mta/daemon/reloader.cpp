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
  for (const std::string& warning : config.warnings) log::warn("configuration", {{"note", warning}});
}

Result<void> Reloader::reload() {
  auto refuse = [this](const std::string& why) -> Result<void> {
    log::error("reload refused; the old configuration stays active", {{"file", file_.string()}, {"error", why}});
    events::Event event;
    event.type = events::Type::Config;
    event.at = clock_.now();
    event.reason = "reload refused: " + why;
    events_.append(std::move(event));
    return std::unexpected(Error{std::errc::invalid_argument, why});
  };
  auto loaded = config::load(file_);
  if (!loaded) {
    std::string all;
    for (const std::string& line : loaded.error().lines) all += (all.empty() ? "" : "; ") + line;
    return refuse(all);
  }
  auto old = current_.get();
  if (loaded->data_dir != old->data_dir) return refuse("node.data_dir cannot change while running; restart instead");
  auto config = std::make_shared<const config::Config>(std::move(*loaded));
  // Listeners are what may still fail; the rest cannot.
  current_.set(config);
  auto swapped = server_.reload(submission_options(config));
  if (!swapped) {
    current_.set(old);
    return refuse(swapped.error().message());
  }
  delivery_.reload(delivery_options(config), config->keys);
  log_warnings(*config);
  log::info("configuration reloaded", {{"file", file_.string()}});
  events::Event event;
  event.type = events::Type::Config;
  event.at = clock_.now();
  event.reason = "reloaded";
  events_.append(std::move(event));
  return {};
}

}  // namespace danki::daemon
