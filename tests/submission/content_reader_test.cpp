#include "mta/submission/content_reader.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace danki::submission {
namespace {

constexpr ContentReader::Limits kWide{.content_bytes = 1 << 20, .header_bytes = 1 << 16};

struct Read {
  std::string content;
  std::uint8_t faults = 0;
  std::uint64_t octets = 0;
  std::size_t consumed = 0;
  bool ended = false;
  bool eight_bit = false;
  bool header_ended = false;
  bool operator==(const Read&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Read& r) {
  return out << testing::PrintToString(r.content) << " faults " << int{r.faults} << " octets " << r.octets
             << " consumed " << r.consumed << " ended " << r.ended << " 8 bit " << r.eight_bit << " header "
             << r.header_ended;
}

Read result(ContentReader& reader, std::size_t consumed, bool ended) {
  Read r{.faults = reader.faults(),
         .octets = reader.octets(),
         .consumed = consumed,
         .ended = ended,
         .eight_bit = reader.has_eight_bit(),
         .header_ended = reader.header_ended()};
  r.content = reader.take_content();
  return r;
}

Read read_pieces(const std::vector<std::string_view>& pieces, ContentReader::Limits limits = kWide,
                 std::uint64_t expected = 0) {
  MemoryBudget budget(1 << 24);
  ContentReader reader(limits, budget, "", expected);
  std::size_t consumed = 0;
  for (const std::string_view piece : pieces) {
    // An exact copy, so that a sanitizer sees a look beyond the end.
    const std::vector<char> copy(piece.begin(), piece.end());
    const auto step = reader.feed_data({copy.data(), copy.size()});
    consumed += step.consumed;
    if (step.ended) return result(reader, consumed, true);
  }
  return result(reader, consumed, false);
}

std::vector<std::string_view> octet_by_octet(std::string_view text) {
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < text.size(); ++i) pieces.push_back(text.substr(i, 1));
  return pieces;
}

/// The same by other means: search, split, test. Slow and short.
Read reference(std::string_view input) {
  Read r;
  std::size_t end = std::string_view::npos;
  if (input.starts_with(".\r\n")) {
    end = 0;
  } else if (const auto at = input.find("\r\n.\r\n"); at != std::string_view::npos) {
    end = at + 2;
  }
  r.ended = end != std::string_view::npos;
  if (!r.ended) return r;
  r.consumed = end + 3;
  std::string_view rest = input.substr(0, end);
  while (!rest.empty()) {
    const std::size_t line_end = rest.find("\r\n");
    std::string_view line = rest.substr(0, line_end);
    rest.remove_prefix(std::min(rest.size(), line.size() + 2));
    if (line.starts_with('.')) line.remove_prefix(1);
    if (line.empty()) r.header_ended = true;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\r') r.faults |= kBareCr;
      if (line[i] == '\n') r.faults |= kBareLf;
      if (line[i] == '\0') r.faults |= kNul;
      if (static_cast<unsigned char>(line[i]) > 127) r.eight_bit = true;
    }
    if (line.size() > 998) r.faults |= kLongLine;
    r.content += line;
    r.content += "\r\n";
  }
  r.octets = r.content.size();
  if (r.faults != 0) r.content.clear();
  return r;
}

TEST(ContentReader, AgreesWithTheReferenceOnEveryShortInput) {
  constexpr std::string_view kAlphabet = "a.\r\n";
  constexpr std::size_t kLength = 8;
  std::string text(kLength, 'a');
  for (std::size_t number = 0; number < 1u << (2 * kLength); ++number) {
    for (std::size_t i = 0; i < kLength; ++i) text[i] = kAlphabet[number >> (2 * i) & 3];
    const std::string input = text + "\r\n.\r\nQUIT";
    const Read want = reference(input);
    const Read got = read_pieces({input});
    ASSERT_EQ(got, want) << testing::PrintToString(input);
    ASSERT_EQ(read_pieces(octet_by_octet(input)), want) << testing::PrintToString(input);
  }
}

TEST(ContentReader, DoesNotDependOnTheSplit) {
  const std::string long_line(998, 'x');
  for (const std::string& text : {
           std::string("From: a@b\r\n\r\nhello\r\n..dot\r\n...\r\n.a\r\n"),
           std::string("\r\n"),
           std::string(".\r\n").substr(3),
           std::string("smuggle\n.\nMAIL FROM:<x@y>\r\n"),
           std::string("smuggle\r.\rMAIL FROM:<x@y>\r\n"),
           std::string("smuggle\r\n.\nMAIL FROM:<x@y>\r\n"),
           std::string("smuggle\n.\r\nMAIL FROM:<x@y>\r\n"),
           std::string("smuggle\r\n.\rMAIL FROM:<x@y>\r\n"),
           std::string("smuggle\r.\r\nMAIL FROM:<x@y>\r\n"),
           std::string("smuggle\r\r\n.\r\r\nMAIL\r\n"),
           std::string("a\0b\r\n", 5),
           std::string("a\r\0\n\r\n", 6),
           std::string("\xE6\x9C\x88\r\n"),
           long_line + "\r\n",
           long_line + "x\r\n",
           "." + long_line + "\r\n",
           ".." + long_line.substr(1) + "\r\n",
           long_line + "\r\r\n",
           std::string("\r\n\n\r\n"),
       }) {
    const std::string input = text + ".\r\nNOOP\r\n";
    const Read want = reference(input);
    SCOPED_TRACE(testing::PrintToString(input.substr(0, 60)));
    ASSERT_TRUE(want.ended);
    EXPECT_EQ(read_pieces({input}), want);
    EXPECT_EQ(read_pieces(octet_by_octet(input)), want);
    for (std::size_t at = 1; at < input.size(); ++at) {
      const std::string_view whole = input;
      ASSERT_EQ(read_pieces({whole.substr(0, at), whole.substr(at)}), want) << "split at " << at;
    }
  }
}

TEST(ContentReader, SmugglingVariantsNeverEndTheData) {
  for (const std::string_view fake : {"\n.\n", "\r.\r", "\r\n.\n", "\n.\r\n", "\r.\r\n", "\r\n.\r", "\n.\r"}) {
    const std::string input = "Subject: x\r\n\r\nbody" + std::string(fake) + "MAIL FROM:<evil@example.com>\r\n.\r\n";
    const Read got = read_pieces({input});
    EXPECT_TRUE(got.ended);
    EXPECT_EQ(got.consumed, input.size()) << testing::PrintToString(fake);
    EXPECT_NE(got.faults, 0) << testing::PrintToString(fake);
    EXPECT_TRUE(got.content.empty());
  }
}

TEST(ContentReader, CountsLinesWithoutCrlfAndStuffedDot) {  // RFC 5321 section 4.5.3.1.6
  const std::string line(998, 'x');
  EXPECT_EQ(read_pieces({line + "\r\n.\r\n"}).faults, 0);
  EXPECT_EQ(read_pieces({"." + line + "\r\n.\r\n"}).faults, 0);
  EXPECT_EQ(read_pieces({line + "x\r\n.\r\n"}).faults, kLongLine);
  EXPECT_EQ(read_pieces({"." + line + "x\r\n.\r\n"}).faults, kLongLine);
}

TEST(ContentReader, LimitsTheContentAndTheHeader) {
  const ContentReader::Limits limits{.content_bytes = 100, .header_bytes = 30};
  const std::string header = "From: someone@example.com\r\n";  // 27 octets
  const std::string body(100 - header.size() - 4, 'b');
  EXPECT_EQ(read_pieces({header + "\r\n" + body + "\r\n.\r\n"}, limits).faults, 0);
  EXPECT_EQ(read_pieces({header + "\r\n" + body + "b\r\n.\r\n"}, limits).faults, kTooLarge);
  EXPECT_EQ(read_pieces({header + "A:\r\n\r\nbody\r\n.\r\n"}, limits).faults, kHeaderTooLarge);
  const std::string split = header + "A:\r\n\r\nbody\r\n.\r\n";
  EXPECT_EQ(read_pieces(octet_by_octet(split), limits).faults, kHeaderTooLarge);
}

TEST(ContentReader, DropsAndStaysSmallAfterAFault) {
  MemoryBudget budget(1 << 20);
  ContentReader reader({.content_bytes = 1 << 16, .header_bytes = 1 << 10}, budget, "Received: x\r\n", 0);
  const std::string block = std::string(70, 'x') + "\r\n";
  for (int i = 0; i < 100'000; ++i) reader.feed_data(block);
  EXPECT_EQ(reader.faults(), kTooLarge | kHeaderTooLarge);
  EXPECT_EQ(reader.content(), "");
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_TRUE(reader.feed_data(".\r\n").ended);
}

TEST(ContentReader, StaysWithinTheBudget) {
  MemoryBudget budget(64 * 1024);
  std::string block;
  for (int i = 0; i < 100; ++i) block += std::string(70, 'x') + "\r\n";
  {
    ContentReader reader({.content_bytes = 1 << 20, .header_bytes = 1 << 20}, budget, "", 0);
    for (int i = 0; i < 20; ++i) {
      reader.feed_data(block);
      ASSERT_LE(budget.used(), 64u * 1024);
    }
    EXPECT_EQ(reader.faults(), kNoMemory);
  }
  EXPECT_EQ(budget.used(), 0u);
  ContentReader promised({.content_bytes = 1 << 20, .header_bytes = 1 << 20}, budget, "", 1 << 19);
  EXPECT_EQ(promised.faults(), kNoMemory);
}

TEST(ContentReader, PutsAnotherHeaderInPlace) {
  MemoryBudget budget(1 << 20);
  ContentReader reader(kWide, budget, "Received: x\r\n", 0);
  reader.feed_data("A: 1\r\nB: 2\r\n\r\nbo");
  ASSERT_TRUE(reader.header_ended());
  EXPECT_EQ(reader.content().substr(0, reader.header_end()), "Received: x\r\nA: 1\r\nB: 2\r\n\r\n");
  reader.replace_header(13, "C: 3\r\n\r\n");
  EXPECT_TRUE(reader.feed_data("dy\r\n.\r\n").ended);
  EXPECT_EQ(reader.take_content(), "Received: x\r\nC: 3\r\n\r\nbody\r\n");
}

Read read_chunks(const std::vector<std::string_view>& chunks) {
  MemoryBudget budget(1 << 20);
  ContentReader reader(kWide, budget, "", 0);
  for (const std::string_view chunk : chunks) reader.feed_chunk(chunk);
  reader.end_chunks();
  return result(reader, 0, true);
}

TEST(ContentReader, ChecksChunksAcrossTheirBorders) {  // RFC 3030
  struct Case {
    std::string_view text;
    std::uint8_t faults;
  };
  for (const Case& c : {Case{"A: b\r\n\r\n.\r\n..\r\nx\r\n.\r\n", 0}, Case{"no line end", 0},
                        Case{"ends in CR\r", kBareCr}, Case{"a\rb\r\n", kBareCr}, Case{"a\nb\r\n", kBareLf},
                        Case{"\n", kBareLf}, Case{"", 0}, Case{"a\r\r\n", kBareCr}, Case{"a\n\r\n", kBareLf}}) {
    SCOPED_TRACE(testing::PrintToString(c.text));
    const std::string want = c.faults == 0 ? std::string(c.text) : "";
    for (std::size_t at = 0; at <= c.text.size(); ++at) {
      const Read got = read_chunks({c.text.substr(0, at), "", c.text.substr(at)});
      ASSERT_EQ(got.faults, c.faults) << at;
      ASSERT_EQ(got.content, want) << at;
    }
    EXPECT_EQ(read_chunks(octet_by_octet(c.text)).faults, c.faults);
  }
}

TEST(ContentReader, SeesEightBitOnlyInTheContent) {
  EXPECT_FALSE(read_pieces({"abc\r\n.\r\nNOOP \xFF\r\n"}).eight_bit);
  for (std::size_t at = 0; at < 20; ++at) {
    std::string line(20, 'a');
    line[at] = '\x80';
    EXPECT_TRUE(read_pieces({line + "\r\n.\r\n"}).eight_bit) << at;
  }
}

}  // namespace
}  // namespace danki::submission
