#include "cli/terminal.hpp"

#include <gtest/gtest.h>

namespace danki::cli {
namespace {

TEST(Printable, LeavesNothingThatSteersATerminal) {
  struct Case {
    std::string_view name, text, want;
  };
  for (const Case& c :
       {Case{"plain", "451 4.7.1 try later", "451 4.7.1 try later"}, Case{"escape sequence", "\x1b[2Jgone", "?[2Jgone"},
        Case{"C1 control",
             "\xC2\x9B"
             "2J",
             "?2J"},
        Case{"several lines", "a\r\nb\tc", "a  b c"}, Case{"NUL and DEL", std::string_view("\0\x7f", 2), "??"},
        Case{"Latin-1", "caf\xE9", "caf?"}, Case{"Japanese", "\xE6\x9A\x96\xE6\xB0\x97", "\xE6\x9A\x96\xE6\xB0\x97"},
        Case{"direction override",
             "\xE2\x80\xAE"
             "evil",
             "?evil"},
        Case{"", "", ""}}) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(printable(c.text), c.want);
  }
}

TEST(DisplayWidth, CountsColumnsNotOctets) {
  EXPECT_EQ(display_width(""), 0u);
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("caf\xC3\xA9"), 4u);
  EXPECT_EQ(display_width("\xE6\x9A\x96\xE6\xB0\x97"), 4u);
  EXPECT_EQ(display_width("e\xCC\x81"), 1u) << "a combining accent";
  EXPECT_EQ(display_width("\xF0\x9F\x92\x8C"), 2u) << "an emoji";
}

TEST(CutToWidth, NeverExceedsAndNeverSplitsACharacter) {
  EXPECT_EQ(cut_to_width("abcdef", 6), "abcdef");
  EXPECT_EQ(cut_to_width("abcdef", 5), "abc..");
  EXPECT_EQ(cut_to_width("abcdef", 2), "..");
  EXPECT_EQ(cut_to_width("abcdef", 1), ".");
  EXPECT_EQ(cut_to_width("abcdef", 0), "");
  EXPECT_EQ(cut_to_width("\xE6\x9A\x96\xE6\xB0\x97\xE6\x9A\x96", 5), "\xE6\x9A\x96..");
}

TEST(Coloured, OnlyWhereTheTerminalHasColour) {
  EXPECT_EQ(coloured(Terminal{.has_colour = false}, Colour::Red, "x"), "x");
  EXPECT_EQ(coloured(Terminal{.has_colour = true}, Colour::Red, "x"), "\x1b[31mx\x1b[0m");
  EXPECT_EQ(coloured(Terminal{.has_colour = true}, Colour::None, "x"), "x");
}

}  // namespace
}  // namespace danki::cli
