#include "config/config.hpp"
#include "config/sections.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include <fmt/format.h>

namespace danki::config {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::string Problems::to_string() const {
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

void read_admin(Draft& draft, TableReader& table) {
  draft.config.admin.socket = table.text("socket", "/run/danki/admin.sock");
  if (!draft.config.admin.socket.empty()) draft.config.admin.socket = draft.path(draft.config.admin.socket.string());
  std::string mode = table.text("socket_mode", "0660");
  if (mode.empty() || mode.size() > 4 || mode.find_first_not_of("01234567") != std::string::npos) {
    table.problem("socket_mode", fmt::format("\"{}\" is no file mode; write octal digits like \"0660\"", mode));
  } else {
    draft.config.admin.socket_mode = static_cast<unsigned>(std::stoul(mode, nullptr, 8));
  }
  draft.config.admin.listen = table.text("listen", "");
  if (!draft.config.admin.listen.empty() && !parse_endpoint(draft.config.admin.listen)) {
    table.problem("listen",
                  fmt::format("\"{}\" is no address with port; write \"127.0.0.1:8025\"", draft.config.admin.listen));
  }
  std::string token_file = table.text("token_file", "");
  if (!token_file.empty()) draft.config.admin.token_file = draft.path(token_file);
  if (!draft.config.admin.listen.empty() && token_file.empty())
    table.problem("listen", "needs token_file: TCP is open to every program on the network");
  table.finish();
}

void read_events(Draft& draft, TableReader& table) {
  events::EventOptions& options = draft.config.events;
  std::string directory = table.text("directory", "");
  if (!directory.empty()) options.directory = draft.path(directory);
  options.rotate_bytes = table.size("rotate_size", options.rotate_bytes, 64 << 10, 1ull << 40);
  auto seconds = [](std::chrono::milliseconds ms) { return std::chrono::duration_cast<std::chrono::seconds>(ms); };
  options.rotate_after = seconds(table.duration("rotate_after", options.rotate_after, 1min, 366 * 24h));
  options.retain_for = seconds(table.duration("retain", options.retain_for, 1h, 3660 * 24h));
  options.retain_bytes = table.size("retain_size", options.retain_bytes, 1ull << 20, 1ull << 44);
  table.finish();
}

void read_log(Draft& draft, TableReader& table) {
  draft.config.log_level = static_cast<log::Level>(table.choice("level", {"debug", "info", "warn", "error"}, 1));
  std::string file = table.text("file", "");
  if (!file.empty()) draft.config.log_file = draft.path(file).string();
  table.finish();
}

void check_whole(Draft& draft) {
  Config& config = draft.config;
  std::vector<std::string>& problems = draft.problems.lines;
  std::string file = config.file.filename().string();
  auto missing = [&](bool empty, std::string_view table) {
    if (empty)
      problems.push_back(
          fmt::format("{}:1:1: {}: is missing; a configuration needs at least one [[{}]]", file, table, table));
  };
  missing(config.submission.listeners.empty(), "listener");
  missing(config.submission.tenants.empty(), "tenant");
  missing(config.delivery.sources.empty(), "source");
  missing(config.delivery.pools.empty(), "pool");
  for (const auto& [where, pool] : draft.pool_users) {
    if (!config.delivery.pools.contains(pool))
      problems.push_back(fmt::format("{}: there is no [[pool]] named \"{}\"", where, pool));
  }
  for (const submission::ListenerOptions& listener : config.submission.listeners) {
    if (!listener.tenant_for_trusted.empty() && !config.submission.tenants.contains(listener.tenant_for_trusted)) {
      problems.push_back(fmt::format("{}:1:1: listener.tenant_for_trusted: there is no [[tenant]] named \"{}\"", file,
                                     listener.tenant_for_trusted));
    }
  }
  auto keys = dkim::KeyRing::load(config.dkim);
  if (keys) {
    config.keys = *keys;
  } else if (problems.empty()) {
    problems.push_back(fmt::format("{}:1:1: dkim: {}", file, keys.error().message()));
  }
  config.submission.hostname = config.hostname;
  config.delivery.hostname = config.hostname;
  config.spool.directory = config.data_dir / "spool";
  if (config.events.directory.empty()) config.events.directory = config.data_dir / "events";
}

namespace {

struct Section {
  std::string_view name;
  bool repeated;  // [[name]]
  void (*read)(Draft&, TableReader&);
};

/// In the order in which tables refer to each other.
constexpr Section kSections[] = {
    {"node", false, read_node},         {"limits", false, read_limits}, {"listener", true, read_listener},
    {"tenant", true, read_tenant},      {"source", true, read_source},  {"pool", true, read_pool},
    {"dkim", true, read_dkim},          {"route", true, read_route},    {"shaping", true, read_shaping},
    {"delivery", false, read_delivery}, {"auth", false, read_auth},     {"dns", false, read_dns},
    {"admin", false, read_admin},       {"events", false, read_events}, {"log", false, read_log},
};

/// Tables of the design that later rooms obey: accepted, named as without effect.
constexpr std::string_view kLater[] = {"reputation",  "dnsbl",   "warmup", "bounce",
                                       "suppression", "webhook", "alerts", "alert"};

void parse_file(const fs::path& file, const std::string& shown, std::vector<toml::table>& roots, Problems& problems) {
  std::error_code failed;
  if (!fs::is_regular_file(file, failed)) {
    problems.lines.push_back(
        fmt::format("{}: cannot be read: {}", file.string(), failed ? failed.message() : "not a file"));
    return;
  }
  try {
    toml::table root = toml::parse_file(file.string());
    roots.push_back(std::move(root));
  } catch (const toml::parse_error& error) {
    problems.lines.push_back(fmt::format("{}:{}:{}: {}", shown, error.source().begin.line, error.source().begin.column,
                                         error.description()));
  }
}

std::vector<fs::path> included_files(const fs::path& directory, Problems& problems, const std::string& where) {
  std::vector<fs::path> files;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(directory, failed)) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  if (failed) problems.lines.push_back(fmt::format("{}: include: {}: {}", where, directory.string(), failed.message()));
  std::sort(files.begin(), files.end());
  return files;
}

/// All tables of one section over the main file and the included ones.
void read_section(Draft& draft, const Section& section, const std::vector<toml::table>& roots) {
  bool seen = false;
  for (const toml::table& root : roots) {
    const toml::node* node = root.get(section.name);
    if (!node) continue;
    auto wrong = [&](const std::string& what) {
      draft.problems.lines.push_back(fmt::format("{}: {}: {}", place(node->source()), section.name, what));
    };
    if (section.repeated) {
      const toml::array* array = node->as_array();
      if (!array) {
        wrong(fmt::format("must be written [[{}]]: there may be several", section.name));
        continue;
      }
      for (const toml::node& element : *array) {
        const toml::table* table = element.as_table();
        if (!table) {
          wrong("must be a table");
          continue;
        }
        TableReader reader(*table, std::string(section.name), draft.problems);
        section.read(draft, reader);
      }
    } else if (const toml::table* table = node->as_table()) {
      if (seen) {
        wrong("stands in two files; it may stand in one");
        continue;
      }
      seen = true;
      TableReader reader(*table, std::string(section.name), draft.problems);
      section.read(draft, reader);
    } else {
      wrong(fmt::format("must be written [{}]", section.name));
    }
  }
  if (!seen && section.name == "node") {
    draft.problems.lines.push_back(
        fmt::format("{}:1:1: node: is missing; [node] must name the hostname", draft.config.file.filename().string()));
  }
}

void check_names(Draft& draft, const toml::table& root, bool main_file) {
  for (const auto& [key, node] : root) {
    auto is_section = [&](const Section& section) { return section.name == key.str(); };
    if (std::any_of(std::begin(kSections), std::end(kSections), is_section)) continue;
    if (main_file && key.str() == "include") continue;
    if (std::find(std::begin(kLater), std::end(kLater), key.str()) != std::end(kLater)) {
      draft.config.warnings.push_back(fmt::format("{}: {}: has no effect yet", place(key.source()), key.str()));
      continue;
    }
    draft.problems.lines.push_back(fmt::format("{}: {}: unknown key", place(key.source()), key.str()));
  }
}

}  // namespace

std::expected<Config, Problems> load(const fs::path& file) {
  Draft draft;
  draft.config.file = file;
  draft.folder = fs::absolute(file).parent_path();
  draft.config.admin.socket = "/run/danki/admin.sock";
  std::vector<toml::table> roots;
  parse_file(file, file.string(), roots, draft.problems);
  if (!draft.problems.lines.empty()) return std::unexpected(std::move(draft.problems));
  if (const toml::node* include = roots.front().get("include")) {
    if (auto directory = include->value_exact<std::string>()) {
      for (const fs::path& extra : included_files(draft.path(*directory), draft.problems, place(include->source()))) {
        parse_file(extra, extra.string(), roots, draft.problems);
      }
    } else {
      draft.problems.lines.push_back(place(include->source()) + ": include: must be the name of a directory");
    }
  }
  for (std::size_t i = 0; i < roots.size(); ++i) check_names(draft, roots[i], i == 0);
  for (const Section& section : kSections) read_section(draft, section, roots);
  check_whole(draft);
  if (!draft.problems.lines.empty()) return std::unexpected(std::move(draft.problems));
  return std::move(draft.config);
}

}  // namespace danki::config
