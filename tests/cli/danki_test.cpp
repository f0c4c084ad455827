#include "cli/terminal.hpp"
#include "tests/admin/admin_world.hpp"

#include <cstdio>
#include <set>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <sysexits.h>

namespace danki::cli {
namespace {

namespace json = boost::json;
using admin::AdminWorld;

struct Ran {
  int code = -1;
  std::string out, err;
};

/// Runs the program as a shell would.
class DankiTest : public testing::Test {
 protected:
  Ran danki(const std::string& arguments, const std::string& environment = {}) {
    const std::string errors = (world.directory / "stderr").string();
    const std::string command = fmt::format(
        "{} {}/danki {} 2>{}", environment.empty() ? socket_variable() : environment, DANKI_BIN_DIR, arguments, errors);
    Ran ran;
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) ran.out.append(buffer, got);
    const int status = ::pclose(pipe);
    if (WIFEXITED(status)) ran.code = WEXITSTATUS(status);
    std::ifstream err(errors);
    ran.err.assign(std::istreambuf_iterator<char>(err), {});
    return ran;
  }
  std::string socket_variable() const { return "env -u COLUMNS DANKI_SOCKET=" + world.options.socket.string(); }
  std::string columns(int columns) const {
    return fmt::format("COLUMNS={} DANKI_SOCKET={}", columns, world.options.socket.string());
  }

  AdminWorld world;
};

TEST_F(DankiTest, ShowsStatus) {
  const Ran ran = danki("status");
  EXPECT_EQ(ran.code, 0) << ran.err;
  for (const char* part : {"relay.example.com  danki 9.9.9\n", "started     2026-11-23 05:49:39 UTC (",
                           "new mail    taken\n", "listening   127.0.0.1:2525, [::1]:2525\n",
                           "accepted    12,345 messages for 13,000 recipients\n", "out01", "bind failed"}) {
    EXPECT_NE(ran.out.find(part), std::string::npos) << part << "\n" << ran.out;
  }
  EXPECT_EQ(ran.out.find('\x1b'), std::string::npos) << "no colour into a pipe";
  world.ports.status_view.refusing = "disk reserve";
  EXPECT_NE(danki("status").out.find("refused: disk reserve"), std::string::npos);
}

TEST_F(DankiTest, PrintsTheApisJson) {
  for (const std::string verb : {"status", "queue", "queue list", "queue retry --all", "reload"}) {
    for (const std::string& line : {"--json " + verb, verb + " --json"}) {
      const Ran ran = danki(line);
      EXPECT_EQ(ran.code, 0) << line << ran.err;
      EXPECT_TRUE(json::parse(ran.out).is_object()) << line;
    }
  }
}

TEST_F(DankiTest, SummarisesTheQueueBySite) {
  const Ran ran = danki("queue");
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.out.find("mx.example.net"), std::string::npos);
  EXPECT_NE(ran.out.find("451 4.7.1 caf\xEF\xBF\xBD ?[2J"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("3 transactional and 40 bulk at 1 site\n"), std::string::npos);
  world.ports.site_views.clear();
  EXPECT_EQ(danki("queue").out, "The queue is empty.\n");
}

TEST_F(DankiTest, ListsFitTheirTerminal) {
  auto envelope =
      AdminWorld::envelope({"first.recipient@a-rather-long-domain-name.example", "b@a-rather-long-domain-name.example"},
                           "newsletter-department", mail::MailClass::Bulk);
  const auto id = world.accept(envelope);
  for (const int width : {80, 100, 200}) {
    const Ran ran = danki("queue list", columns(width));
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::istringstream lines(ran.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(display_width(line), static_cast<std::size_t>(width)) << line;
    }
    for (const char* title : {"ID ", "AGE", "SIZE", "CLASS", "TENANT", "FROM", "TO", "TRY", "NEXT", "LAST REPLY"}) {
      EXPECT_NE(ran.out.find(title), std::string::npos) << title << " at " << width << "\n" << ran.out;
    }
    EXPECT_NE(ran.out.find(id.to_string()), std::string::npos);
  }
  EXPECT_NE(danki("queue list").out.find("first.recipient@a-rather-long-domain-name.example +1"), std::string::npos)
      << "a pipe gets everything";
}

TEST_F(DankiTest, ListsBySelectorAndLimit) {
  for (int i = 0; i < 5; ++i) world.accept(AdminWorld::envelope({fmt::format("x@d{}.example", i)}));
  EXPECT_EQ(json::parse(danki("queue list --json").out).at("messages").as_array().size(), 5u);
  EXPECT_EQ(json::parse(danki("queue list --json --domain d3.example").out).at("messages").as_array().size(), 1u);
  EXPECT_EQ(json::parse(danki("queue list --json --class bulk").out).at("messages").as_array().size(), 0u);
  EXPECT_EQ(json::parse(danki("queue list --json --older-than 1h").out).at("messages").as_array().size(), 0u);
  EXPECT_EQ(danki("queue list --tenant nobody").out, "Nothing in the queue matches.\n");
  const Ran two = danki("queue list --limit 2");
  EXPECT_NE(two.out.find("These are the first 2; --limit shows more.\n"), std::string::npos) << two.out;
  const json::value cut = json::parse(danki("queue list --limit 2 --json").out);
  EXPECT_EQ(cut.at("messages").as_array().size(), 2u);
  EXPECT_TRUE(cut.as_object().contains("next_cursor"));
}

TEST_F(DankiTest, ListsMoreThanAPage) {
  std::vector<std::string> recipients;
  for (int i = 0; i < 1100; ++i) recipients.push_back(fmt::format("x@d{:04}.example", i));
  world.accept(AdminWorld::envelope(recipients));
  const json::value listed = json::parse(danki("queue list --limit 2000 --json").out);
  std::set<std::string> domains;
  for (const json::value& entry : listed.at("messages").as_array()) domains.emplace(entry.at("domain").as_string());
  EXPECT_EQ(domains.size(), 1100u);
  EXPECT_FALSE(listed.as_object().contains("next_cursor"));
}

TEST_F(DankiTest, ShowsOneMessageAndItsOctets) {
  const std::string content = std::string("Subject: caf\xE9\r\n\r\n\0.\r\n", 21);
  world.ports.prepared = "DKIM-Signature: v=1\r\n";
  const auto id = world.accept(AdminWorld::envelope({"a@one.example", "b@two.example"}), content);
  const Ran shown = danki("queue show " + id.to_string());
  EXPECT_EQ(shown.code, 0) << shown.err;
  for (const char* part : {"tenant      signup\n", "from        bounce@example.com\n",
                           "\na@one.example  pending, 0 attempts\n", "  site      mx.two.example\n", " UTC ("}) {
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << "\n" << shown.out;
  }
  EXPECT_EQ(danki("queue show --raw " + id.to_string()).out, world.ports.prepared + content);
  EXPECT_EQ(json::parse(danki("queue show --json " + id.to_string()).out).at("id").as_string(), id.to_string());
}

TEST_F(DankiTest, Retries) {
  const Ran ran = danki("queue retry --domain one.example --older-than 2h");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "7 entries are due now.\n");
  ASSERT_EQ(world.ports.retried.size(), 1u);
  EXPECT_EQ(world.ports.retried[0].domain, "one.example");
  EXPECT_EQ(world.ports.retried[0].older_than, std::chrono::hours(2));
  EXPECT_EQ(danki("queue retry --all").code, 0);
  EXPECT_TRUE(world.ports.retried.at(1).all());
}

TEST_F(DankiTest, ReloadsAndSaysWhyNot) {
  EXPECT_EQ(danki("reload").out, "The configuration is reloaded.\n");
  world.ports.reload_result = std::unexpected(Error{std::error_code(), "danki.toml:3:1: node.hostnam: unknown key"});
  const Ran bad = danki("reload");
  EXPECT_EQ(bad.code, EX_CONFIG);
  EXPECT_EQ(bad.err, "danki: danki.toml:3:1: node.hostnam: unknown key\n");
}

TEST_F(DankiTest, TellsMistakesFromFailures) {
  struct Case {
    std::string arguments;
    int code;
    std::string says;
  };
  const std::string nowhere = (world.directory / "nothing.sock").string();
  for (const Case& c :
       {Case{"", EX_USAGE, "--help"}, Case{"nonsense", EX_USAGE, "nonsense"},
        Case{"queue nonsense", EX_USAGE, "nonsense"}, Case{"queue list --class junk", EX_USAGE, "class"},
        Case{"queue list --older-than 5", EX_USAGE, "duration"}, Case{"queue list --limit 0", EX_USAGE, "limit"},
        Case{"queue retry", EX_USAGE, "--all"}, Case{"queue retry --all --tenant x", EX_USAGE, "--all"},
        Case{"queue show", EX_USAGE, "ID"}, Case{"queue show 0000000000001", EX_DATAERR, "no message 0000000000001"},
        Case{"queue show short", EX_DATAERR, "13 characters"},
        Case{"queue show ../../status", EX_DATAERR, "13 characters"},
        Case{"status --socket " + nowhere, EX_UNAVAILABLE, "no daemon at " + nowhere + ": is dankid running?"},
        Case{"status --socket " + nowhere + std::string(200, 'x'), EX_UNAVAILABLE, "no answer"},
        Case{"status --config " + nowhere, EX_CONFIG, "--socket"},
        Case{"config check " + nowhere, EX_CONFIG, "problem"}, Case{"config", EX_USAGE, "subcommand"}}) {
    SCOPED_TRACE(c.arguments);
    const Ran ran = danki(c.arguments);
    EXPECT_EQ(ran.code, c.code) << ran.err;
    EXPECT_NE(ran.err.find(c.says), std::string::npos) << ran.err;
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(danki("--help").code, 0);
  EXPECT_EQ(danki("queue list --help").code, 0);
  EXPECT_EQ(danki("--version").out.find("danki "), 0u);
}

TEST_F(DankiTest, FindsTheSocketInTheConfiguration) {
  world.write_file("danki.toml", R"(
[node]
hostname = "relay.example.com"
data_dir = "data"
[[listener]]
address = "127.0.0.1:2525"
tls = "none"
require_auth = false
trusted_networks = ["127.0.0.1/32"]
tenant_for_trusted = "app"
[[tenant]]
name = "app"
class = "transactional"
pool = "main"
domains = ["example.com"]
[[source]]
name = "out01"
address = "127.0.0.1"
[[pool]]
name = "main"
sources = ["out01"]
[admin]
socket = "admin.sock"
)");
  const std::string file = (world.directory / "danki.toml").string();
  const Ran status = danki("status --config " + file, "DANKI_SOCKET=/nonexistent");
  EXPECT_EQ(status.code, 0) << status.err;
  const Ran checked = danki("config check " + file);
  EXPECT_EQ(checked.code, 0) << checked.err;
  EXPECT_NE(checked.out.find(file + " is valid.\n"), std::string::npos) << checked.out;
  // Who may ask the daemon need not be allowed to read what it signs with.
  world.write_file("keys.toml",
                   "[admin]\nsocket = \"admin.sock\"\n[[dkim]]\ndomain = \"example.com\"\nselector = \"s\"\n"
                   "key_file = \"/nonexistent/key.pem\"\n");
  const Ran keyless = danki("status --config " + (world.directory / "keys.toml").string(), "DANKI_SOCKET=/nonexistent");
  EXPECT_EQ(keyless.code, 0) << keyless.err;
  world.write_file("danki.toml", "[node]\nhostnam = 1\n");
  const Ran bad = danki("config check " + file);
  EXPECT_EQ(bad.code, EX_CONFIG);
  EXPECT_NE(bad.err.find("danki.toml:2:1"), std::string::npos) << bad.err;
  const Ran as_json = danki("config check --json " + file);
  EXPECT_EQ(as_json.code, EX_CONFIG);
  EXPECT_FALSE(json::parse(as_json.out).at("valid").as_bool());
  EXPECT_FALSE(json::parse(as_json.out).at("problems").as_array().empty());
}

TEST_F(DankiTest, ReportsOutputThatCannotBeWritten) {
  EXPECT_EQ(danki("status >/dev/full").code, EX_IOERR);
}

}  // namespace
}  // namespace danki::cli
