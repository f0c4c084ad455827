#include "mail/header_block.hpp"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::mail {
namespace {

using testing::ElementsAre;

std::vector<std::string> names_of(const HeaderBlock& block) {
  std::vector<std::string> names;
  for (const HeaderField& field : block.fields()) names.emplace_back(field.name);
  return names;
}

TEST(HeaderBlock, SplitsFieldsFromTheBody) {
  const std::string_view message =
      "Received: from a\r\n\tby b; now\r\nFROM : x@y.z\r\nSubject:\r\nX-Empty: \r\n \r\nTo:a@b\r\n\r\nBody: no "
      "field\r\n";
  const HeaderBlock block = HeaderBlock::parse(message);
  EXPECT_THAT(names_of(block), ElementsAre("Received", "FROM", "Subject", "X-Empty", "To"));
  EXPECT_EQ(block.fields()[0].value, " from a\r\n\tby b; now");
  EXPECT_EQ(block.fields()[0].raw, "Received: from a\r\n\tby b; now\r\n");
  EXPECT_EQ(block.fields()[1].value, " x@y.z");
  EXPECT_EQ(block.fields()[2].value, "");
  EXPECT_EQ(block.fields()[3].raw, "X-Empty: \r\n \r\n");
  EXPECT_EQ(block.fields()[4].value, "a@b");
  EXPECT_EQ(message.substr(block.body_offset()), "Body: no field\r\n");
  EXPECT_EQ(message.substr(block.size()), "\r\nBody: no field\r\n");
  EXPECT_FALSE(block.truncated());
}

TEST(HeaderBlock, EndsWhereReceiversEndIt) {
  struct Case {
    std::string_view name, message;
    std::size_t fields;
    std::string_view header, body;
  };
  for (const Case& c :
       {Case{"empty message", "", 0, "", ""}, Case{"body only", "\r\nhello\r\n", 0, "", "hello\r\n"},
        Case{"no header", "hello world\r\n", 0, "", "hello world\r\n"}, Case{"no body", "A: b\r\n", 1, "A: b\r\n", ""},
        Case{"no line end", "A: b", 1, "A: b", ""}, Case{"empty line, no body", "A: b\r\n\r\n", 1, "A: b\r\n", ""},
        Case{"line that is no field", "A: b\r\nhello\r\nC: d\r\n", 1, "A: b\r\n", "hello\r\nC: d\r\n"},
        Case{"space in a name", "A: b\r\nC d: e\r\n", 1, "A: b\r\n", "C d: e\r\n"},
        Case{"no name", "A: b\r\n: e\r\n", 1, "A: b\r\n", ": e\r\n"},
        Case{"8-bit name", "A: b\r\n\xC3\xA9: e\r\n", 1, "A: b\r\n", "\xC3\xA9: e\r\n"},
        Case{"mbox line", "From a@b Mon Nov 23\r\nA: b\r\n", 0, "", "From a@b Mon Nov 23\r\nA: b\r\n"},
        Case{"continuation first", " A: b\r\n", 0, "", " A: b\r\n"},
        Case{"bare LF", "A: b\nC: d\n e\n\nhi\n", 2, "A: b\nC: d\n e\n", "hi\n"},
        Case{"CR at the end", "A: b\r\n\r", 1, "A: b\r\n", "\r"}}) {
    SCOPED_TRACE(c.name);
    const HeaderBlock block = HeaderBlock::parse(c.message);
    EXPECT_EQ(block.fields().size(), c.fields);
    EXPECT_EQ(c.message.substr(0, block.size()), c.header);
    EXPECT_EQ(c.message.substr(block.body_offset()), c.body);
  }
}

TEST(HeaderBlock, FindsFieldsInAnyCase) {
  const std::string_view message = "From: a\r\nfrom: b\r\nFro: c\r\n\r\n";
  const HeaderBlock block = HeaderBlock::parse(message);
  EXPECT_EQ(block.count("FROM"), 2u);
  EXPECT_EQ(block.count("To"), 0u);
  ASSERT_NE(block.first("fROM"), nullptr);
  EXPECT_EQ(block.first("fROM")->value, " a");
  EXPECT_EQ(block.first("To"), nullptr);
}

TEST(HeaderBlock, KeepsABoundedNumberOfFields) {
  std::string message;
  for (std::size_t i = 0; i < kMaxHeaderFields; ++i) message += "A: b\r\n";
  EXPECT_FALSE(HeaderBlock::parse(message).truncated());
  message += "From: hidden\r\n\r\nbody";
  const HeaderBlock block = HeaderBlock::parse(message);
  EXPECT_TRUE(block.truncated());
  EXPECT_EQ(block.fields().size(), kMaxHeaderFields);
  EXPECT_EQ(message.substr(block.body_offset()), "body");
}

TEST(RemoveFields, TakesOutNamesAndPrefixes) {
  const std::string_view message =
      "X-Danki-Pool: a\r\nBcc: x@y\r\n\tz@y\r\nFrom: b\r\nx-danki-key: k\r\nX-Dank: stays\r\nTo: c\r\nBcc: d\r\n\r\n"
      "Bcc: body\r\n";
  const std::array<std::string_view, 2> names{"bcc", "X-Danki-*"};
  EXPECT_EQ(remove_fields(message, names), "From: b\r\nX-Dank: stays\r\nTo: c\r\n\r\nBcc: body\r\n");
  EXPECT_EQ(remove_fields(message, {}), message);
  EXPECT_EQ(remove_fields("no header", names), "no header");
}

TEST(RemoveFields, SeesMoreFieldsThanTheListKeeps) {
  std::string message;
  for (std::size_t i = 0; i <= kMaxHeaderFields; ++i) message += "A: b\r\n";
  const std::array<std::string_view, 1> names{"Bcc"};
  EXPECT_EQ(remove_fields(message + "Bcc: c\r\n\r\n", names), message + "\r\n");
}

TEST(Unfold, JoinsLines) {
  EXPECT_EQ(unfold(" This\r\n is a test"), "This is a test");  // RFC 5322 section 2.2.3
  EXPECT_EQ(unfold("\ta\r\n\tb \r\n "), "a\tb");
  EXPECT_EQ(unfold(""), "");
}

}  // namespace
}  // namespace danki::mail
