// What the danki command reads of danki.toml: where the daemon is, and no more.
#include "tests/config/config_folder.hpp"

#include <gmock/gmock.h>

namespace danki::config {
namespace {

using namespace test;
using ::testing::ElementsAre;

TEST(AdminSocket, IsFoundWithoutTheFilesOnlyTheDaemonMayRead) {
  Folder folder;
  const std::string secrets = with_line(6, "certificate = \"no.pem\"\nprivate_key = \"no.pem\"") +
                              "[[dkim]]\ndomain = \"example.com\"\nselector = \"s\"\nkey_file = \"no.pem\"\n";
  struct Case {
    std::string name, text, want;
  };
  for (const Case& c :
       {Case{"default", secrets, "/run/danki/admin.sock"},
        Case{"relative", secrets + "[admin]\nsocket = \"a.sock\"\ntoken_file = \"no\"\n", folder.file("a.sock")},
        Case{"absolute", "[admin]\nsocket = \"/a/b.sock\"\n[later]\n", "/a/b.sock"},
        Case{"none", "[admin]\nsocket = \"\"\n", ""},
        Case{"no need to include", "include = \"nowhere\"\n[admin]\nsocket = \"/a/b.sock\"\n", "/a/b.sock"}}) {
    SCOPED_TRACE(c.name);
    folder.write("danki.toml", c.text);
    const auto socket = admin_socket(folder.file("danki.toml"));
    ASSERT_TRUE(socket) << socket.error().to_string();
    EXPECT_EQ(*socket, c.want);
  }
  folder.write("conf.d/admin.toml", "[admin]\nsocket = \"/c.sock\"\n");
  folder.write("danki.toml", "include = \"conf.d\"\n");
  EXPECT_EQ(admin_socket(folder.file("danki.toml")), "/c.sock");
}

TEST(AdminSocket, IsRefusedWhereTheFileIsWrong) {
  struct Case {
    std::string name, text, want;
  };
  Folder folder;
  for (const Case& c :
       {Case{"no text", "[admin]\nsocket = 1\n", "danki.toml:2:10: admin.socket: must be a string"},
        Case{"no table", "admin = 1\n", "danki.toml:1:9: admin: must be written [admin]"},
        Case{"nothing to include", "include = \"no\"\n", "danki.toml:1:11: include: no: No such file or directory"}}) {
    SCOPED_TRACE(c.name);
    folder.write("danki.toml", c.text);
    const auto socket = admin_socket(folder.file("danki.toml"));
    ASSERT_FALSE(socket);
    EXPECT_THAT(folder.shorten(socket.error().lines), ElementsAre(c.want));
  }
  EXPECT_FALSE(admin_socket(folder.file("nowhere.toml")));
}

}  // namespace
}  // namespace danki::config
