// examples/danki.toml and docs/configuration.md show what the parser knows, no more and no less.
#include "config/sections.hpp"
#include "tests/config/config_folder.hpp"

#include <map>
#include <regex>
#include <set>

#include <gmock/gmock.h>

namespace danki::config {
namespace {

using namespace test;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Keys = std::map<std::string, std::set<std::string, std::less<>>, std::less<>>;

std::string read_source_file(const std::string& name) {
  std::ifstream in(std::string(DANKI_SOURCE_DIR) + "/" + name);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

/// The example, its files looked for in the test's folder.
std::string example() {
  std::string text = read_source_file("examples/danki.toml");
  text = std::regex_replace(text, std::regex("/etc/danki/dkim/[a-z.]*example\\.com"), "example.com");
  return std::regex_replace(text, std::regex("/etc/danki/(tls/)?"), "");
}

/// A key behind "# ", as an operator would bring it to life.
std::string with_all_keys_alive(const std::string& text) {
  return std::regex_replace(text, std::regex("\n# ([a-z_]+ = )"), "\n$1");
}

/// What `line_pattern` finds in the lines under "[table]" or "[[table]]", with `heading` before it.
Keys keys_by_table(const std::string& text, const std::string& heading, const std::string& line_pattern) {
  const std::regex table_line("^" + heading + R"(\[\[?([a-z]+)\]?\].*)");
  const std::regex key_line(line_pattern);
  Keys keys;
  std::string table, line;
  std::smatch found;
  for (std::istringstream in(text); std::getline(in, line);) {
    if (std::regex_match(line, found, table_line)) {
      table = found[1];
    } else if (std::regex_match(line, found, key_line)) {
      keys[table].insert(found[1]);
    }
  }
  return keys;
}

/// "| `key`, `key` | default | ..." as one line for each key.
std::string with_one_key_a_row(const std::string& text) {
  std::string all, line;
  std::smatch found;
  for (std::istringstream in(text); std::getline(in, line);) {
    while (std::regex_match(line, found, std::regex("\\| (`[a-z_]+`), (`.*)"))) {
      all += "| " + found[1].str() + " |\n";
      line = "| " + found[2].str();
    }
    all += line + "\n";
  }
  return all;
}

TEST(Example, ShowsEveryKeyThatIsKnown) {
  EXPECT_EQ(keys_by_table(with_all_keys_alive(example()), "", "([a-z_]+) = .*"), known_keys());
}

TEST(Example, SaysWhatEachKeyIsFor) {
  EXPECT_EQ(keys_by_table(with_all_keys_alive(example()), "", "([a-z_]+) = .* # [^ ].*"), known_keys());
}

TEST(Documentation, ExplainsEveryKeyThatIsKnown) {
  Keys keys =
      keys_by_table(with_one_key_a_row(read_source_file("docs/configuration.md")), "## ", R"(\| `([a-z_]+)` \|.*)");
  keys[""].insert("include");  // has a section of its own
  EXPECT_EQ(keys, known_keys());
}

TEST(Example, IsValid) {
  Folder folder;
  EXPECT_THAT(folder.warnings(example()), IsEmpty());
}

TEST(Example, IsValidWithEveryKeyAlive) {
  Folder folder;
  folder.write("conf.d/empty.toml", "");
  folder.write("admin.token", "a-token-of-some-length\n");
  std::filesystem::permissions(folder.file("admin.token"), std::filesystem::perms::owner_read);
  EXPECT_THAT(folder.warnings(with_all_keys_alive(example())), Each(HasSubstr(": has no effect yet")));
}

TEST(Example, OfTheLeastIsValid) {
  auto loaded = config::load(std::string(DANKI_SOURCE_DIR) + "/examples/minimal.toml");
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_THAT(loaded->warnings, IsEmpty());
}

TEST(UnknownKey, IsToldTheOnesThatAreAllowed) {
  Folder folder;
  EXPECT_THAT(folder.problems(with_line(15, "address = \"any\"\nadress = \"any\"")),
              ::testing::ElementsAre("danki.toml:16:1: source.adress: unknown key; allowed are address, ehlo, name, "
                                     "public_address, weight"));
}

}  // namespace
}  // namespace danki::config
