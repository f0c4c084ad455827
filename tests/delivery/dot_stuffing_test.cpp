#include "mta/delivery/dot_stuffing.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

/// What a host makes of it, RFC 5321 section 4.5.2, octet by octet: independent of the code under test.
std::string unstuffed(const std::string& wire) {
  std::string content;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = wire.find("\r\n", begin);
    if (end == std::string::npos) return content + "<no final dot>";
    std::string line = wire.substr(begin, end - begin);
    begin = end + 2;
    if (line == ".") return begin == wire.size() ? content : content + "<more after the final dot>";
    if (line.starts_with('.')) line.erase(0, 1);
    content += line + "\r\n";
  }
}

std::string with_final_crlf(std::string content) {
  return content.empty() || content.ends_with("\r\n") ? content : content + "\r\n";
}

const std::vector<std::string> kContents = {
    "",
    ".",
    "..",
    "\r\n",
    "\r\n.\r\n",
    ".\r\n",
    "a\r\n",
    "a",
    "a\r\n.",
    "a\r\n..\r\n...\r\n",
    "a\r\n.b\r\n..c\r\n.\r\nd\r\n",
    ".\r\n.\r\n.\r\n",
    "a.\r\nb.\r\n",
    "a\r\n\r\n.\r\n\r\n.",
    "\r\r\n.x\r\n",
    "a\n.b\r\n",  // a bare LF ends no line: its dot stays single
    "a\r.b\r\n",  // neither does a bare CR
    "\n.\r\n",
};

TEST(DotStuffer, RoundTripsHoweverTheContentIsCut) {
  for (const std::string& content : kContents) {
    SCOPED_TRACE(testing::PrintToString(content));
    for (std::size_t first = 0; first <= content.size(); ++first) {
      for (std::size_t second = first; second <= content.size(); ++second) {
        DotStuffer stuffer;
        std::string wire;
        const std::string_view view = content;
        for (const std::string_view piece :
             {view.substr(0, first), view.substr(first, second - first), view.substr(second)}) {
          if (stuffer.passes(piece)) {
            wire += piece;
          } else {
            stuffer.append(piece, wire);
          }
        }
        wire += stuffer.terminator();
        ASSERT_EQ(unstuffed(wire), with_final_crlf(content)) << first << " " << second;
        DotStuffer whole;
        std::string once;
        whole.append(content, once);
        once += whole.terminator();
        ASSERT_EQ(wire, once);
      }
    }
  }
}

TEST(DotStuffer, DoublesOnlyTheDotsThatBeginALine) {
  DotStuffer stuffer;
  std::string out;
  stuffer.append(".a\r\n.b.c\r\nd.\r\n.", out);
  EXPECT_EQ(out, "..a\r\n..b.c\r\nd.\r\n..");
  EXPECT_EQ(stuffer.terminator(), "\r\n.\r\n");
}

TEST(DotStuffer, LeavesItsStateAloneWhenAPieceDoesNotPass) {
  DotStuffer stuffer;
  EXPECT_TRUE(stuffer.passes("a\r"));
  EXPECT_FALSE(stuffer.passes("\n.b"));
  std::string out;
  stuffer.append("\n.b", out);
  EXPECT_EQ(out, "\n..b");
}

TEST(HasEightBit, FindsOneOctetAnywhere) {
  for (std::size_t size : {0u, 1u, 31u, 32u, 33u, 100u}) {
    EXPECT_FALSE(has_eight_bit(std::string(size, '\x7F')));
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'a');
      text[at] = '\x80';
      EXPECT_TRUE(has_eight_bit(text)) << size << " " << at;
    }
  }
}

}  // namespace
}  // namespace danki::delivery
