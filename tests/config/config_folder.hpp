#pragma once

#include "config/config.hpp"
#include "tests/dkim/test_keys.hpp"
#include "tests/net/test_certificate.hpp"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace danki::config::test {

/// A folder with a certificate, a DKIM key and whatever configuration files a test writes.
class Folder {
 public:
  Folder() {
    net::test::TestCertificate made(folder_, "relay1.example.com");
    std::filesystem::rename(made.certificate_file, folder_ / "fullchain.pem");
    std::filesystem::rename(made.key_file, folder_ / "key.pem");
    dkim::test::KeyFolder keys;
    auto key = keys.write("key", dkim::test::ed25519_key());
    std::filesystem::copy_file(key, folder_ / "example.com.s2026a.pem");
    std::filesystem::permissions(folder_ / "example.com.s2026a.pem", std::filesystem::perms::owner_read);
  }
  std::string file(const std::string& name) const { return folder_ / name; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(file(name)).parent_path());
    std::ofstream(file(name), std::ios::binary) << text;
  }
  std::expected<Config, Problems> load(const std::string& text) const {
    write("danki.toml", text);
    return config::load(file("danki.toml"));
  }
  /// The problems, without the folder's name.
  std::vector<std::string> problems(const std::string& text) const {
    auto loaded = load(text);
    return loaded ? std::vector<std::string>{} : shorten(loaded.error().lines);
  }
  std::vector<std::string> warnings(const std::string& text) const {
    auto loaded = load(text);
    EXPECT_TRUE(loaded) << loaded.error().to_string();
    return loaded ? shorten(loaded->warnings) : std::vector<std::string>{};
  }
  std::vector<std::string> shorten(std::vector<std::string> lines) const {
    const std::string prefix = folder_.path().string() + "/";
    for (std::string& line : lines) {
      for (auto at = line.find(prefix); at != std::string::npos; at = line.find(prefix)) line.erase(at, prefix.size());
    }
    return lines;
  }

 private:
  net::test::TempFolder folder_;
};

inline constexpr std::string_view kMinimal = R"([node]
hostname = "relay1.example.com"
data_dir = "data"
[[listener]]
address = "127.0.0.1:2525"
tls = "none"
trusted_networks = ["127.0.0.1"]
tenant_for_trusted = "app"
[[tenant]]
name = "app"
pool = "main"
domains = ["example.com"]
[[source]]
name = "out01"
address = "any"
[[pool]]
name = "main"
sources = ["out01"]
)";

/// The minimal configuration with line `number` (from 1) replaced.
inline std::string with_line(int number, const std::string& line) {
  std::istringstream in{std::string(kMinimal)};
  std::string all, one;
  for (int i = 1; std::getline(in, one); ++i) all += (i == number ? line : one) + "\n";
  return all;
}
/// The minimal configuration and more tables; their first line is number 19.
inline std::string with_more(const std::string& tables) {
  return std::string(kMinimal) + tables + "\n";
}

}  // namespace danki::config::test
