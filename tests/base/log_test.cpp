#include "base/log.hpp"

#include <cstdio>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace danki::log {
namespace {

using testing::MatchesRegex;

TEST(LogLine, QuotesAndEscapesWhatCouldForgeALine) {
  struct Case {
    std::string_view name, value, want;
  };
  for (const Case& c :
       {Case{"plain", "out07", "k=out07"}, Case{"empty", "", "k=\"\""}, Case{"space", "no route", "k=\"no route\""},
        Case{"equals sign", "a=b", "k=\"a=b\""}, Case{"quote and backslash", "a\"b\\", "k=\"a\\\"b\\\\\""},
        Case{"line end", "250 ok\r\nerror forged", "k=\"250 ok\\r\\nerror forged\""},
        Case{"tab", "a\tb", "k=\"a\\tb\""}, Case{"escape sequence", "\x1b[2J", "k=\"\\x1b[2J\""},
        Case{"NUL", std::string_view("a\0b", 3), "k=\"a\\x00b\""}, Case{"UTF-8 stays", "日本", "k=\"日本\""},
        Case{"C1 control", "\xC2\x9B", "k=\"\\xc2\\x9b\""}, Case{"no UTF-8", "\xFF!", "k=\"\\xff!\""}}) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(format_line("m", {{"k", c.value}}), "m " + std::string(c.want));
  }
}

TEST(LogLine, JoinsFieldsInOrder) {
  EXPECT_EQ(format_line("source bind failed", {{"source", "out07"}, {"attempt", 3}, {"error", "in use"}}),
            "source bind failed source=out07 attempt=3 error=\"in use\"");
}

TEST(LogLine, CutsLongValuesBetweenCharacters) {
  EXPECT_EQ(format_line("m", {{"k", std::string(256, 'x')}}), "m k=" + std::string(256, 'x'));
  EXPECT_EQ(format_line("m", {{"k", std::string(257, 'x')}}), "m k=\"" + std::string(256, 'x') + "...\"");
  EXPECT_EQ(format_line("m", {{"k", std::string(255, 'x') + "日本"}}), "m k=\"" + std::string(255, 'x') + "...\"");
}

TEST(Log, WritesLinesWithTimeAndLevel) {
  const std::string path = testing::TempDir() + "/danki_log_test_" + std::to_string(getpid());
  configure(Level::Info, path);
  debug("not written");
  info("started", {{"pid", 7}});
  warn("slow", {{"disk", "sda 1"}});
  shutdown();
  std::ostringstream written;
  written << std::ifstream(path).rdbuf();
  std::remove(path.c_str());
  EXPECT_THAT(written.str(),
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z info started pid=7\n"
                           "[^\n]*Z warn slow disk=\"sda 1\"\n"));
  EXPECT_FALSE(enabled(Level::Debug));
}

}  // namespace
}  // namespace danki::log
