#include "base/utf8.hpp"

#include <gtest/gtest.h>

namespace danki {
namespace {

TEST(Utf8, KnowsWellFormedSequences) {  // RFC 3629 section 4
  struct Case {
    std::string_view name, text;
    std::size_t want;
  };
  for (const Case& c :
       {Case{"empty", "", 0}, Case{"ASCII", "ab", 1}, Case{"NUL", std::string_view("\0", 1), 1},
        Case{"two", "\xC3\xA9", 2}, Case{"three", "\xE6\x97\xA5!", 3}, Case{"four", "\xF0\x9F\x93\xA8", 4},
        Case{"highest", "\xF4\x8F\xBF\xBF", 4}, Case{"above the highest", "\xF4\x90\x80\x80", 0},
        Case{"overlong slash", "\xC0\xAF", 0}, Case{"overlong of three", "\xE0\x9F\xBF", 0},
        Case{"overlong of four", "\xF0\x8F\xBF\xBF", 0}, Case{"surrogate", "\xED\xA0\x80", 0},
        Case{"below the surrogates", "\xED\x9F\xBF", 3}, Case{"cut short", "\xE6\x97", 0},
        Case{"continuation alone", "\x97", 0}, Case{"no continuation", "\xC3(", 0}, Case{"never a lead", "\xFF", 0}}) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(utf8_sequence_length(c.text), c.want);
  }
}

TEST(Utf8, JudgesWholeTexts) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("a日b"));
  EXPECT_FALSE(is_utf8("a\xE6\x97"));
  EXPECT_TRUE(is_ascii("plain"));
  EXPECT_FALSE(is_ascii("日"));
}

TEST(Utf8, PrefixCutsBetweenCharacters) {
  EXPECT_EQ(utf8_prefix("abc", 5), "abc");
  EXPECT_EQ(utf8_prefix("abc", 2), "ab");
  EXPECT_EQ(utf8_prefix("日本", 6), "日本");
  EXPECT_EQ(utf8_prefix("日本", 5), "日");
  EXPECT_EQ(utf8_prefix("日本", 2), "");
  EXPECT_EQ(utf8_prefix("\x80\x80\x80\x80\x80\x80", 5).size(), 5u) << "garbage is cut where asked";
}

}  // namespace
}  // namespace danki
