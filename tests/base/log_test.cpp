#include "base/log.hpp"

#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
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

TEST(LogLine, KeepsOurOwnWordsWhole) {
  EXPECT_EQ(format_line("m", {Field::whole("k", std::string(4096, 'x'))}), "m k=" + std::string(4096, 'x'));
  EXPECT_EQ(format_line("m", {Field::whole("k", std::string(4097, 'x')), {"l", std::string(257, 'y')}}),
            "m k=\"" + std::string(4096, 'x') + "...\" l=\"" + std::string(256, 'y') + "...\"");
}

TEST(Log, OpensItsFileAnewOnceItWasMovedAway) {
  const std::string path = testing::TempDir() + "/danki_log_rotated_" + std::to_string(getpid());
  const std::string moved = path + ".1";
  configure(Level::Info, path);
  warn("before");  // warnings are written at once, but by another thread
  const auto text_of = [](const std::string& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
  };
  while (text_of(path).empty()) std::this_thread::yield();
  ASSERT_EQ(std::rename(path.c_str(), moved.c_str()), 0);
  ASSERT_TRUE(reopen());
  warn("after");
  while (text_of(path).empty()) std::this_thread::yield();
  std::remove(path.c_str());
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_FALSE(reopen()) << "a folder is in its place";
  warn("nowhere, but without harm");
  shutdown();
  EXPECT_TRUE(reopen()) << "there is nothing to reopen";
  rmdir(path.c_str());
  EXPECT_THAT(text_of(moved), MatchesRegex("[^\n]*Z warn before\n"));
  std::remove(moved.c_str());
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
