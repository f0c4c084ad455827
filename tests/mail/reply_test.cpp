#include "mail/reply.hpp"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::mail {
namespace {

using testing::HasSubstr;
using Status = ReplyParser::Status;

TEST(EnhancedStatus, ParsesOnlyWellFormedCodes) {  // RFC 3463 section 2
  struct Case {
    std::string_view name, text;
    std::optional<EnhancedStatus> want;
  };
  for (const Case& c :
       {Case{"policy deferral", "4.7.1", EnhancedStatus{4, 7, 1}}, Case{"success", "2.0.0", EnhancedStatus{2, 0, 0}},
        Case{"three digits", "5.999.100", EnhancedStatus{5, 999, 100}}, Case{"unknown class", "3.7.1", std::nullopt},
        Case{"leading zero", "4.07.1", std::nullopt}, Case{"four digits", "5.1.1000", std::nullopt},
        Case{"two numbers", "5.1", std::nullopt}, Case{"four numbers", "5.1.1.1", std::nullopt},
        Case{"dot at the end", "5.1.1.", std::nullopt}, Case{"no detail", "5.1.", std::nullopt},
        Case{"sign", "5.-1.1", std::nullopt}, Case{"text behind", "5.1.1 no", std::nullopt},
        Case{"empty", "", std::nullopt}}) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(EnhancedStatus::parse(c.text), c.want);
    if (c.want) {
      EXPECT_EQ(c.want->to_string(), c.text);
    }
  }
}

/// Feeds `bytes` in pieces of `piece` octets until a reply or an error.
ReplyParser::Step feed_in_pieces(ReplyParser& parser, std::string_view bytes, std::size_t piece) {
  std::size_t consumed = 0;
  for (;;) {
    const ReplyParser::Step step = parser.feed(bytes.substr(consumed, piece));
    consumed += step.consumed;
    if (step.status != Status::NeedMore || consumed == bytes.size()) return {step.status, consumed};
  }
}

TEST(ReplyParser, ReadsReplies) {
  struct Case {
    std::string_view name, bytes;
    int code;
    std::optional<EnhancedStatus> enhanced;
    std::string_view text;
  };
  for (const Case& c :
       {Case{"one line", "250 OK\r\n", 250, std::nullopt, "OK"}, Case{"code alone", "250\r\n", 250, std::nullopt, ""},
        Case{"code and space", "250 \r\n", 250, std::nullopt, ""},
        Case{"bare LF", "220 old host\n", 220, std::nullopt, "old host"},
        Case{"enhanced status", "451 4.7.1 try later\r\n", 451, EnhancedStatus{4, 7, 1}, "try later"},
        Case{"enhanced status alone", "250 2.1.0\r\n", 250, EnhancedStatus{2, 1, 0}, ""},
        Case{"class does not fit", "550 4.7.1 no\r\n", 550, std::nullopt, "4.7.1 no"},
        Case{"none with 3xx", "354 2.0.0 go\r\n", 354, std::nullopt, "2.0.0 go"},
        Case{"looks alike", "550 5.1.1x no\r\n", 550, std::nullopt, "5.1.1x no"},
        Case{"several lines", "250-First line\r\n250-Second line\r\n250-234 Text\r\n250 The last line\r\n", 250,
             std::nullopt, "First line\nSecond line\n234 Text\nThe last line"},  // RFC 5321 section 4.2.1
        Case{"status on each line", "550-5.1.1 no such user\r\n550-5.1.1\r\n550 5.1.1 see x\r\n", 550,
             EnhancedStatus{5, 1, 1}, "no such user\n\nsee x"},
        Case{"other status later", "550-5.1.1 no\r\n550 5.7.1 so\r\n", 550, EnhancedStatus{5, 1, 1}, "no\n5.7.1 so"},
        Case{"last line decides", "250-a\r\n251 b\r\n", 251, std::nullopt, "a\nb"},
        Case{"empty lines", "250-\r\n250-\r\n250 \r\n", 250, std::nullopt, "\n\n"},
        Case{"control characters", "550 a\rb\x1b[2Jc\r\n", 550, std::nullopt, "a?b?[2Jc"},
        Case{"Japanese", "550 宛先\r\n", 550, std::nullopt, "宛先"},
        Case{"no UTF-8", "550 \xE9t\xE9\r\n", 550, std::nullopt, "\xE9t\xE9"}}) {
    for (const std::size_t piece : {c.bytes.size(), std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
      SCOPED_TRACE(std::string(c.name) + " in pieces of " + std::to_string(piece));
      ReplyParser parser;
      const auto step = feed_in_pieces(parser, c.bytes, piece);
      ASSERT_EQ(step.status, Status::Complete) << parser.problem();
      EXPECT_EQ(step.consumed, c.bytes.size());
      EXPECT_EQ(parser.reply().code, c.code);
      EXPECT_EQ(parser.reply().enhanced, c.enhanced);
      EXPECT_EQ(parser.reply().text, c.text);
    }
  }
}

TEST(ReplyParser, RefusesWhatIsNoReply) {
  struct Case {
    std::string_view name, bytes, why;
  };
  for (const Case& c :
       {Case{"empty line", "\r\n", "reply code"}, Case{"two digits", "25 OK\r\n", "reply code"},
        Case{"four digits", "2500 OK\r\n", "space nor hyphen"},
        Case{"letters", "HTTP/1.1 400 Bad Request\r\n", "reply code"}, Case{"1xx", "150 OK\r\n", "reply code"},
        Case{"6xx", "650 OK\r\n", "reply code"}, Case{"space first", " 250 OK\r\n", "reply code"},
        Case{"tab", "250\tOK\r\n", "space nor hyphen"}, Case{"yes and no", "250-fine\r\n550 not fine\r\n", "disagree"},
        Case{"text between", "250-fine\r\nmore\r\n", "reply code"}}) {
    for (const std::size_t piece : {c.bytes.size(), std::size_t{1}}) {
      SCOPED_TRACE(c.name);
      ReplyParser parser;
      EXPECT_EQ(feed_in_pieces(parser, c.bytes, piece).status, Status::Malformed);
      EXPECT_THAT(parser.problem(), HasSubstr(c.why));
      EXPECT_EQ(parser.feed("250 OK\r\n").status, Status::Malformed) << "it stays broken";
    }
  }
}

TEST(ReplyParser, LeavesTheNextReplyAlone) {
  const std::string_view pipelined = "250 2.1.0 sender ok\r\n550 5.1.1 no\r\n354 go\r\n22";
  ReplyParser parser;
  std::string_view rest = pipelined;
  std::vector<std::string> replies;
  for (;;) {
    const auto step = parser.feed(rest);
    rest.remove_prefix(step.consumed);
    if (step.status != Status::Complete) break;
    replies.push_back(parser.reply().to_string());
  }
  EXPECT_THAT(replies, testing::ElementsAre("250 2.1.0 sender ok", "550 5.1.1 no", "354 go"));
  EXPECT_EQ(parser.feed("1 bye\r\n").status, Status::Complete);
  EXPECT_EQ(parser.reply().to_string(), "221 bye");
}

TEST(ReplyParser, KeepsItsLimits) {
  {
    ReplyParser parser;
    EXPECT_EQ(parser.feed("250 " + std::string(kMaxReplyLineBytes - 5, 'x') + "\r\n").status, Status::Complete);
    EXPECT_EQ(parser.feed("250 " + std::string(kMaxReplyLineBytes, 'x') + "\r\n").status, Status::Malformed);
  }
  {
    ReplyParser parser;
    Status status = Status::NeedMore;
    std::size_t fed = 0;
    for (; status == Status::NeedMore && fed < 10 * kMaxReplyLineBytes; fed += 8)
      status = parser.feed("25000000").status;
    EXPECT_EQ(status, Status::Malformed);
    EXPECT_LE(fed, kMaxReplyLineBytes + 8) << "a line without end is not stored";
  }
  {
    ReplyParser parser;
    std::string lines;
    for (std::size_t i = 0; i < kMaxReplyLines; ++i) lines += "250-x\r\n";
    EXPECT_EQ(parser.feed(lines).status, Status::NeedMore);
    EXPECT_EQ(parser.feed("250 x\r\n").status, Status::Malformed);
  }
  {
    ReplyParser parser;
    std::string lines;
    for (int i = 0; i < 5; ++i) lines += "550-" + std::string(1'000, 'x') + "\r\n";
    EXPECT_EQ(parser.feed(lines + "550 end\r\n").status, Status::Complete);
    EXPECT_EQ(parser.reply().text.size(), kMaxReplyTextBytes);
  }
}

TEST(Reply, KnowsItsClassAndPrintsOnOneLine) {
  EXPECT_TRUE((Reply{.code = 250}.positive()));
  EXPECT_TRUE((Reply{.code = 354}.intermediate()));
  EXPECT_TRUE((Reply{.code = 421}.transient()));
  EXPECT_TRUE((Reply{.code = 599}.permanent()));
  EXPECT_EQ((Reply{.code = 451, .enhanced = EnhancedStatus{4, 7, 1}, .text = "a\nb"}.to_string()), "451 4.7.1 a b");
  EXPECT_EQ((Reply{.code = 250}.to_string()), "250");
}

}  // namespace
}  // namespace danki::mail
