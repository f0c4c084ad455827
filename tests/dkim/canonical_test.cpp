#include "dkim/canonical.hpp"

#include "tests/dkim/messages.hpp"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace danki::dkim {
namespace {

std::string relaxed_header(std::string_view name, std::string_view value) {
  std::string out;
  append_relaxed_header(name, value, out);
  return out;
}

/// `body` cut behind each of `cuts` (ascending offsets).
std::string relaxed_body(std::string_view body, const std::vector<std::size_t>& cuts = {}) {
  std::string out;
  RelaxedBody canonical([&](std::string_view piece) {
    EXPECT_LE(piece.size(), RelaxedBody::kBufferBytes);
    out += piece;
  });
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    canonical.append(body.substr(at, cut - at));
    at = cut;
  }
  canonical.append(body.substr(at));
  canonical.finish();
  return out;
}

/// RFC 6376 section 3.4.4 word by word, slowly: the lines, each without its white space, joined again.
std::string relaxed_body_by_the_book(std::string_view body) {
  std::vector<std::string> lines;
  while (!body.empty()) {
    const std::size_t end = body.find("\r\n");
    std::string line;
    for (const char c : body.substr(0, end)) {
      const bool is_space = c == ' ' || c == '\t';
      if (!is_space) {
        line += c;
      } else if (!line.ends_with(' ')) {
        line += ' ';
      }
    }
    if (line.ends_with(' ')) line.pop_back();
    lines.push_back(line);
    body = end == std::string_view::npos ? std::string_view() : body.substr(end + 2);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  std::string out;
  for (const std::string& line : lines) out += line + "\r\n";
  return out;
}

std::string_view body_of(std::string_view message) {
  const std::size_t end = message.find("\r\n\r\n");
  return end == std::string_view::npos ? std::string_view() : message.substr(end + 4);
}

TEST(RelaxedHeader, FollowsTheExampleOfRfc6376) {  // section 3.4.5, example 1
  EXPECT_EQ(relaxed_header("A", " X"), "a:X\r\n");
  EXPECT_EQ(relaxed_header("B ", " Y\t\r\n\tZ  "), "b:Y Z\r\n");
}

TEST(RelaxedHeader, KeepsWhatIsNoWhiteSpace) {
  struct Case {
    std::string_view name, value, want;
  };
  for (const Case& c :
       {Case{"Subject", "", "subject:\r\n"}, Case{"Subject", " \t ", "subject:\r\n"},
        Case{"SUBJECT\t", "a: b:", "subject:a: b:\r\n"}, Case{"Subject", "\r\n  x\r\n \r\n y\r\n ", "subject:x y\r\n"},
        Case{"Subject", " \xE6\x9A\x96\xA0 ", "subject:\xE6\x9A\x96\xA0\r\n"},
        Case{"Subject", "a\rb\nc", "subject:a\rb\nc\r\n"}}) {
    SCOPED_TRACE(c.value);
    EXPECT_EQ(relaxed_header(c.name, c.value), c.want);
  }
}

TEST(RelaxedBody, FollowsTheExampleOfRfc6376) {  // section 3.4.5, example 1
  EXPECT_EQ(relaxed_body(" C \r\nD \t E\r\n\r\n\r\n"), " C\r\nD E\r\n");
}

TEST(RelaxedBody, TreatsTheEndsOfBodiesAsRfc6376Says) {  // section 3.4.4
  struct Case {
    std::string_view body, want;
  };
  for (const Case& c :
       {Case{"", ""}, Case{"\r\n", ""}, Case{"\r\n\r\n\r\n", ""}, Case{" \t\r\n \r\n", ""}, Case{"  ", ""},
        Case{"a", "a\r\n"}, Case{"a ", "a\r\n"}, Case{"a\r\n ", "a\r\n"}, Case{"\r\na", "\r\na\r\n"},
        Case{"a\r", "a\r\r\n"}, Case{"\r", "\r\r\n"}, Case{"a\r\r\nb", "a\r\r\nb\r\n"}, Case{"a \rb", "a \rb\r\n"},
        Case{"a\nb", "a\nb\r\n"}, Case{" a", " a\r\n"}, Case{"\t a\t\tb\t", " a b\r\n"}}) {
    SCOPED_TRACE(c.body);
    EXPECT_EQ(relaxed_body(c.body), c.want);
    EXPECT_EQ(relaxed_body_by_the_book(c.body), c.want);
  }
}

TEST(RelaxedBody, AgreesWithTheSlowReading) {
  for (const auto& message : test::nasty_messages()) {
    SCOPED_TRACE(message.name);
    EXPECT_EQ(relaxed_body(body_of(message.content)), relaxed_body_by_the_book(body_of(message.content)));
  }
}

TEST(RelaxedBody, IsUsableAgainAfterFinish) {
  std::string out;
  RelaxedBody canonical([&](std::string_view piece) { out += piece; });
  for (const std::string_view body : {"a \r", "\r\n \r\n", "b"}) {
    canonical.append(body);
    canonical.finish();
    out += '|';
  }
  EXPECT_EQ(out, "a \r\r\n||b\r\n|");
}

TEST(RelaxedBody, DoesNotDependOnHowTheBodyIsCut) {
  std::mt19937 random(20261123);
  const std::string_view alphabet = "  \t\t\r\n\r\nab.\n\r";
  for (int round = 0; round < 3000; ++round) {
    std::string body;
    for (std::size_t i = random() % 60; i > 0; --i) {
      if (random() % 3 == 0) body += "\r\n";
      body += alphabet[random() % alphabet.size()];
    }
    const std::string whole = relaxed_body(body);
    ASSERT_EQ(whole, relaxed_body_by_the_book(body)) << ::testing::PrintToString(body);
    std::vector<std::size_t> every_octet, some;
    for (std::size_t i = 0; i < body.size(); ++i) {
      every_octet.push_back(i);
      if (random() % 5 == 0) some.push_back(i);
    }
    ASSERT_EQ(relaxed_body(body, every_octet), whole) << ::testing::PrintToString(body);
    ASSERT_EQ(relaxed_body(body, some), whole) << ::testing::PrintToString(body);
  }
}

TEST(RelaxedBody, DoesNotDependOnWhereItsBufferIsFull) {
  for (std::size_t before = RelaxedBody::kBufferBytes - 4; before <= RelaxedBody::kBufferBytes + 4; ++before) {
    const std::string body = std::string(before, 'x') + " y  z\t\r\n\r\n w\r\n" + std::string(before, '\r') + "q ";
    EXPECT_EQ(relaxed_body(body), relaxed_body_by_the_book(body)) << before;
  }
}

}  // namespace
}  // namespace danki::dkim
