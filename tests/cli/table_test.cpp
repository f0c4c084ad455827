#include "cli/table.hpp"

#include <gtest/gtest.h>

namespace danki::cli {
namespace {

constexpr auto kRight = Table::Column::Align::Right;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t start = 0;
  for (std::size_t end; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
    lines.push_back(text.substr(start, end - start));
  }
  return lines;
}

TEST(Table, AlignsColumnsAndEndsLinesWithoutBlanks) {
  Table table({{"NAME"}, {"COUNT", kRight}, {"NOTE"}});
  table.add({"a", "1", "x"});
  table.add({"longer", "12,345", ""});
  EXPECT_EQ(table.to_string({}),
            "NAME     COUNT  NOTE\n"
            "a            1  x\n"
            "longer  12,345\n");
}

TEST(Table, WithoutABoundEveryCellIsWhole) {
  Table table({{"A", {}, 3, 1}});
  const std::string cell(500, 'x');
  table.add({cell});
  EXPECT_EQ(lines_of(table.to_string({}))[1], cell);
}

TEST(Table, NarrowTerminalsTakeFromTheWidestFirst) {
  Table table({{"ID"}, {"LEFT", {}, 5}, {"RIGHT", {}, 5}});
  table.add({"0123456789", std::string(30, 'l'), std::string(10, 'r')});
  const auto lines = lines_of(table.to_string({.width = 40}));
  EXPECT_EQ(lines[1], "0123456789 " + std::string(16, 'l') + ".. " + std::string(10, 'r'));
}

TEST(Table, ThenTheMostDispensableColumnGoes) {
  Table table({{"ID"}, {"MAYBE", {}, 0, 2}, {"RATHER", {}, 0, 1}, {"TEXT", {}, 6}});
  table.add({"0123456789", "mmmmm", "rrrrrr", std::string(50, 't')});
  EXPECT_EQ(lines_of(table.to_string({.width = 33}))[0], "ID         MAYBE RATHER TEXT");
  EXPECT_EQ(lines_of(table.to_string({.width = 26}))[0], "ID         RATHER TEXT");
  EXPECT_EQ(lines_of(table.to_string({.width = 19}))[0], "ID         TEXT");
}

TEST(Table, FitsAnyWidthThatItsLeastTakes) {
  Table table({{"ID"}, {"AGE", kRight}, {"FROM", {}, 6, 1}, {"TO", {}, 10}, {"LAST REPLY", {}, 10}});
  table.add(
      {"0123456789abc", "3h", "bounce@example.com", "\xE6\x9A\x96\xE6\xB0\x97@example.jp", std::string(300, 'r')});
  table.add({"0123456789abd", "12d", "", "someone@example.net +12", "451 4.7.1 try later"});
  for (std::size_t width = 45; width < 400; ++width) {
    for (const std::string& line : lines_of(table.to_string({.width = width}))) {
      ASSERT_LE(display_width(line), width) << line;
    }
  }
}

TEST(Table, CutAddressesKeepTheirDomain) {
  Table table({{"TO", {}, 5, 0, true}});
  table.add({"someone@example.net"});
  EXPECT_EQ(lines_of(table.to_string({.width = 16}))[1], "so..@example.net");
  EXPECT_EQ(lines_of(table.to_string({.width = 14}))[1], "..@example.net");
  EXPECT_EQ(lines_of(table.to_string({.width = 10}))[1], "..@examp..");
}

TEST(Table, ColoursDoNotCountAsWidth) {
  Table table({{"STATE"}, {"X"}});
  table.add({Table::Cell("ok", Colour::Green), "x"});
  EXPECT_EQ(lines_of(table.to_string({.has_colour = true}))[1], "\x1b[32mok\x1b[0m     x");
}

TEST(Table, WhatStrangersWroteCannotSteerTheTerminal) {
  Table table({{"REPLY"}});
  table.add({"\x1b]0;owned\x07\n451"});
  EXPECT_EQ(lines_of(table.to_string({})), (std::vector<std::string>{"REPLY", "?]0;owned? 451"}));
}

}  // namespace
}  // namespace danki::cli
