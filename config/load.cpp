#include "admin/bearer_tokens.hpp"
#include "config/config.hpp"
#include "config/sections.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace danki::config {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::string Problems::to_string() const {
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

fs::path Draft::path(const std::string& written) const {
  fs::path given(written);
  return given.is_absolute() || written.empty() ? given : folder / given;
}

void Draft::define(TableReader& table, const std::string& kind, const std::string& name) {
  if (name.empty()) return;  // told already
  std::string_view key = kind == "listener" ? "address" : "name";
  // Names stand in keys of the spool and in log lines.
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    table.problem(key, "must not hold control characters");
  }
  auto [first, is_new] = places[kind].emplace(name, table.where(key));
  if (!is_new)
    table.problem(key, fmt::format("{} is already the {} of another {}, at {}", name, key, kind, first->second));
}

void Draft::refer(TableReader& table, std::string_view key, const std::string& kind, const std::string& name) {
  references.push_back({.where = table.where(key), .key = table.name(key), .kind = kind, .name = name});
}

void Draft::refer_all(TableReader& table, std::string_view key, const std::string& kind,
                      const std::vector<PlacedText>& names) {
  for (const PlacedText& name : names) {
    references.push_back({.where = name.where, .key = table.name(key), .kind = kind, .name = name.value});
  }
}

namespace {

void read_admin_socket(Draft& draft, TableReader& table) {
  draft.config.admin.socket = draft.path(table.text("socket", draft.config.admin.socket.string()));
}

}  // namespace

void read_admin(Draft& draft, TableReader& table) {
  read_admin_socket(draft, table);
  std::string mode = table.text("socket_mode", "0660");
  if (mode.empty() || mode.size() > 4 || mode.find_first_not_of("01234567") != std::string::npos) {
    table.problem("socket_mode", fmt::format("\"{}\" is no file mode; write octal digits like \"0660\"", mode));
  } else {
    draft.config.admin.socket_mode = static_cast<unsigned>(std::stoul(mode, nullptr, 8));
  }
  std::string listen = table.text("listen", "");
  std::string token_file = table.text("token_file", "");
  if (!listen.empty() && !parse_endpoint(listen)) {
    table.problem("listen", fmt::format("\"{}\" is no address with port; write \"127.0.0.1:8025\"", listen));
  }
  if (!listen.empty() && token_file.empty()) {
    table.problem("listen", "needs token_file: TCP is open to every program on the network");
  }
  if (!token_file.empty()) {
    draft.config.admin.token_file = draft.path(token_file);
    auto tokens = admin::BearerTokens::load(draft.config.admin.token_file);
    if (!tokens) table.problem("token_file", tokens.error().message());
    if (listen.empty()) table.warn("token_file", "is not used: listen is not set");
  }
  draft.config.admin.listen = std::move(listen);
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

namespace {

void check_references(Draft& draft) {
  for (const Reference& reference : draft.references) {
    if (draft.places[reference.kind].contains(reference.name)) continue;
    draft.problems.lines.push_back(fmt::format("{}: {}: there is no [[{}]] named \"{}\"", reference.where,
                                               reference.key, reference.kind, reference.name));
  }
}

/// A tenant that nobody can be.
void warn_of_closed_doors(Draft& draft) {
  for (const auto& [name, tenant] : draft.config.submission.tenants) {
    const auto& listeners = draft.config.submission.listeners;
    bool trusted = std::any_of(listeners.begin(), listeners.end(),
                               [&](const auto& listener) { return listener.tenant_for_trusted == name; });
    if (!tenant.password_hashes.empty() || trusted) continue;
    draft.config.warnings.push_back(
        fmt::format("{}: tenant.password_hash: is missing, and no listener trusts a network as \"{}\": it cannot send",
                    draft.places["tenant"][name], name));
  }
}

void warn_of_idle_sources(Draft& draft) {
  std::set<std::string> used;
  for (const auto& [name, pool] : draft.config.delivery.pools) {
    used.insert(pool.sources.begin(), pool.sources.end());
    used.insert(pool.standby.begin(), pool.standby.end());
  }
  for (const auto& [name, source] : draft.config.delivery.sources) {
    if (used.contains(name)) continue;
    draft.config.warnings.push_back(fmt::format("{}: source.name: \"{}\" is in no [[pool]]; nothing leaves from it",
                                                draft.places["source"][name], name));
  }
}

/// Our own addresses, as far as the file tells them: an MX host that is one of them leads back to us. Only a listener
/// on port 25 is met by following MX records.
void note_own_addresses(Config& config) {
  constexpr std::uint16_t kSmtpPort = 25;
  std::vector<boost::asio::ip::address>& own = config.delivery.own_addresses;
  bool everywhere = false;
  for (const submission::ListenerOptions& listener : config.submission.listeners) {
    if (listener.address.port() != kSmtpPort) continue;
    everywhere = everywhere || listener.address.address().is_unspecified();
    if (!listener.address.address().is_unspecified()) own.push_back(listener.address.address());
  }
  if (!everywhere) return;
  for (const auto& [name, source] : config.delivery.sources) {
    if (source.address) own.push_back(*source.address);
    if (source.public_address) own.push_back(*source.public_address);
  }
}

}  // namespace

void check_whole(Draft& draft) {
  Config& config = draft.config;
  std::vector<std::string>& problems = draft.problems.lines;
  auto missing = [&](bool empty, const std::string& table) {
    if (!empty || draft.present.contains(table)) return;
    problems.push_back(fmt::format("{}:1:1: {}: is missing; a configuration needs at least one [[{}]]",
                                   config.file.string(), table, table));
  };
  missing(config.submission.listeners.empty(), "listener");
  missing(config.submission.tenants.empty(), "tenant");
  missing(config.delivery.sources.empty(), "source");
  missing(config.delivery.pools.empty(), "pool");
  check_references(draft);
  auto keys = dkim::KeyRing::load(config.dkim);
  if (keys) {
    config.keys = *keys;
  } else if (problems.empty()) {
    // Each key was read before: somebody changes the files at this moment.
    problems.push_back(fmt::format("{}:1:1: dkim: {}", config.file.string(), keys.error().message()));
  }
  if (problems.empty()) {
    warn_of_closed_doors(draft);
    warn_of_idle_sources(draft);
  }
  config.submission.hostname = config.hostname;
  config.delivery.hostname = config.hostname;
  note_own_addresses(config);
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
struct LaterSection {
  std::string_view name;
  bool repeated;
};
constexpr LaterSection kLater[] = {{"reputation", false},  {"dnsbl", false},  {"warmup", false}, {"bounce", false},
                                   {"suppression", false}, {"webhook", true}, {"alerts", false}, {"alert", true}};

void parse_file(const fs::path& file, const std::string& shown, std::vector<toml::table>& roots, Problems& problems) {
  std::error_code failed;
  if (!fs::is_regular_file(file, failed)) {
    problems.lines.push_back(fmt::format("{}: cannot be read: {}", shown, failed ? failed.message() : "it is no file"));
    return;
  }
  try {
    toml::table root = toml::parse_file(file.string());
    roots.push_back(std::move(root));
  } catch (const toml::parse_error& error) {
    const toml::source_position& at = error.source().begin;
    std::string position = at.line > 0 ? fmt::format(":{}:{}", at.line, at.column) : "";
    problems.lines.push_back(fmt::format("{}{}: {}", shown, position, error.description()));
  }
}

std::vector<fs::path> included_files(const fs::path& directory, Problems& problems, const std::string& where) {
  std::vector<fs::path> files;
  std::error_code failed;
  for (fs::directory_iterator entry(directory, failed), end; !failed && entry != end; entry.increment(failed)) {
    // Editors leave hidden files beside the one they change.
    const fs::path& path = entry->path();
    if (path.extension() == ".toml" && !path.filename().string().starts_with('.')) files.push_back(path);
  }
  if (failed) problems.lines.push_back(fmt::format("{}: include: {}: {}", where, directory.string(), failed.message()));
  std::sort(files.begin(), files.end());
  return files;
}

Draft begin(const fs::path& file) {
  Draft draft;
  draft.config.file = file;
  draft.folder = fs::absolute(file).parent_path();
  draft.config.admin.socket = "/run/danki/admin.sock";
  return draft;
}

/// The files of the folder that the main one includes, behind it.
void parse_included(Draft& draft, std::vector<toml::table>& roots) {
  const toml::node* include = roots.front().get("include");
  if (!include) return;
  if (auto directory = include->value_exact<std::string>()) {
    for (const fs::path& extra : included_files(draft.path(*directory), draft.problems, place(include->source()))) {
      parse_file(extra, extra.string(), roots, draft.problems);
    }
  } else {
    draft.problems.lines.push_back(place(include->source()) + ": include: must be the name of a directory");
  }
}

/// All tables of one section over the main file and the included ones.
void read_section(Draft& draft, const Section& section, const std::vector<toml::table>& roots) {
  bool seen = false;
  for (const toml::table& root : roots) {
    const toml::node* node = root.get(section.name);
    if (!node) continue;
    if (!node->as_array() || !node->as_array()->empty()) draft.present.emplace(section.name);
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
        TableReader reader(*table, std::string(section.name), draft.problems, draft.config.warnings);
        section.read(draft, reader);
      }
    } else if (const toml::table* table = node->as_table()) {
      if (seen) {
        wrong("stands in two files; it may stand in one");
        continue;
      }
      seen = true;
      TableReader reader(*table, std::string(section.name), draft.problems, draft.config.warnings);
      section.read(draft, reader);
    } else {
      wrong(fmt::format("must be written [{}]", section.name));
    }
  }
  if (section.name == "node" && !draft.present.contains("node")) {
    draft.problems.lines.push_back(
        fmt::format("{}:1:1: node: is missing; [node] must name the hostname", draft.config.file.string()));
  }
}

/// Names each key of a table that nothing obeys yet, or the table itself if it is empty.
void warn_later(Draft& draft, const toml::node& node, const std::string& where, const std::string& name) {
  std::size_t before = draft.config.warnings.size();
  if (const toml::table* table = node.as_table()) {
    for (const auto& [key, value] : *table)
      warn_later(draft, value, place(key.source()), fmt::format("{}.{}", name, key.str()));
  } else if (const toml::array* array = node.as_array(); array && array->is_array_of_tables()) {
    for (const toml::node& element : *array) warn_later(draft, element, place(element.source()), name);
  }
  if (draft.config.warnings.size() == before)
    draft.config.warnings.push_back(fmt::format("{}: {}: has no effect yet", where, name));
}

std::string all_names() {
  std::vector<std::string_view> names{"include"};
  for (const Section& section : kSections) names.push_back(section.name);
  for (const LaterSection& section : kLater) names.push_back(section.name);
  std::sort(names.begin(), names.end());
  return fmt::format("{}", fmt::join(names, ", "));
}

void check_names(Draft& draft, const toml::table& root, bool main_file) {
  for (const auto& [key, node] : root) {
    auto is_it = [&](const auto& section) { return section.name == key.str(); };
    std::string where = place(key.source());
    auto wrong = [&](const std::string& what) {
      draft.problems.lines.push_back(fmt::format("{}: {}: {}", where, key.str(), what));
    };
    if (std::any_of(std::begin(kSections), std::end(kSections), is_it)) continue;
    auto later = std::find_if(std::begin(kLater), std::end(kLater), is_it);
    if (later != std::end(kLater)) {
      const toml::array* array = node.as_array();
      if (later->repeated ? array && array->is_array_of_tables() : node.is_table()) {
        warn_later(draft, node, where, std::string(key.str()));
      } else {
        wrong(later->repeated ? fmt::format("must be written [[{}]]: there may be several", key.str())
                              : fmt::format("must be written [{}]", key.str()));
      }
    } else if (key.str() == "include") {
      if (!main_file) wrong("may stand in the main file only");
    } else {
      wrong("unknown key; allowed are " + all_names());
    }
  }
}

}  // namespace

std::map<std::string, std::set<std::string, std::less<>>, std::less<>> known_keys() {
  std::map<std::string, std::set<std::string, std::less<>>, std::less<>> keys{{"", {"include"}}};
  const toml::table empty;
  for (const Section& section : kSections) {
    Draft draft;
    TableReader reader(empty, std::string(section.name), draft.problems, draft.config.warnings);
    section.read(draft, reader);
    keys.emplace(section.name, reader.asked());
  }
  return keys;
}

std::expected<Config, Problems> load(const fs::path& file) {
  Draft draft = begin(file);
  std::vector<toml::table> roots;
  parse_file(file, file.string(), roots, draft.problems);
  if (!draft.problems.lines.empty()) return std::unexpected(std::move(draft.problems));
  parse_included(draft, roots);
  for (std::size_t i = 0; i < roots.size(); ++i) check_names(draft, roots[i], i == 0);
  for (const Section& section : kSections) read_section(draft, section, roots);
  check_whole(draft);
  if (!draft.problems.lines.empty()) return std::unexpected(std::move(draft.problems));
  return std::move(draft.config);
}

std::expected<fs::path, Problems> admin_socket(const fs::path& file) {
  Draft draft = begin(file);
  std::vector<toml::table> roots;
  parse_file(file, file.string(), roots, draft.problems);
  if (!roots.empty() && !roots.front().contains("admin")) parse_included(draft, roots);
  read_section(draft, {.name = "admin", .repeated = false, .read = read_admin_socket}, roots);
  if (!draft.problems.lines.empty()) return std::unexpected(std::move(draft.problems));
  return std::move(draft.config.admin.socket);
}

}  // namespace danki::config
