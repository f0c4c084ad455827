#include "base/utf8.hpp"
#include "events/event.hpp"

#include <chrono>
#include <cstdio>

#include <gtest/gtest.h>

// An independent reader judges our lines. Compiled in here, since the room itself has no use for the library.
#include <boost/json/src.hpp>

namespace danki::events {
namespace {

std::string line_of(const Event& event, std::uint64_t id = 7) {
  std::string line;
  append_json(line, event, id);
  return line;
}

Event full_event() {
  return Event{.type = Type::Deferred,
               .at = from_millis(1'795'412'979'007),
               .id = "0123456789abc",
               .tenant = "signup",
               .klass = mail::MailClass::Bulk,
               .campaign = "launch",
               .from = "<>",
               .to = "user@example.jp",
               .size = 4096,
               .site = "mx.example.jp",
               .provider = "docomo",
               .source = "out01",
               .source_ip = "192.0.2.1",
               .pool = "main",
               .mx = "mx1.example.jp",
               .mx_ip = "2001:db8::1",
               .attempt = 3,
               .reply = mail::Reply{451, mail::EnhancedStatus{4, 7, 1}, "try again\nlater"},
               .reply_class = "greylist",
               .tls = Event::Tls{"TLSv1.3", "TLS_AES_256_GCM_SHA384", "opportunistic"},
               .queued_ms = 1200,
               .delivery_ms = 80,
               .session = "s1",
               .reason = "greylisted",
               .evidence = {{"attempts", "12"}, {"rate", "0.5"}}};
}

TEST(EventJson, WritesEveryFieldUnderItsDocumentedName) {
  EXPECT_EQ(line_of(full_event(), 1'795'412'979'007'000),
            R"({"event_id":1795412979007000,"ts":"2026-11-23T05:49:39.007Z","event":"deferred","id":"0123456789abc",)"
            R"("tenant":"signup","class":"bulk","campaign":"launch","from":"<>","to":"user@example.jp","size":4096,)"
            R"("site":"mx.example.jp","provider":"docomo","source":"out01","source_ip":"192.0.2.1","pool":"main",)"
            R"("mx":"mx1.example.jp","mx_ip":"2001:db8::1","attempt":3,)"
            R"("reply":{"code":451,"enhanced":"4.7.1","text":"try again\nlater"},"reply_class":"greylist",)"
            R"("tls":{"version":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384","policy":"opportunistic"},)"
            R"("queued_ms":1200,"delivery_ms":80,"session":"s1","reason":"greylisted",)"
            R"("evidence":{"attempts":"12","rate":"0.5"}})");
  EXPECT_TRUE(boost::json::parse(line_of(full_event())).is_object());
}

TEST(EventJson, LeavesOutWhatIsAbsent) {
  const Event bare{.type = Type::SourceState, .at = from_millis(999)};
  EXPECT_EQ(line_of(bare), R"({"event_id":7,"ts":"1970-01-01T00:00:00.999Z","event":"source_state"})");
  Event partly = bare;
  partly.reply = mail::Reply{421, std::nullopt, ""};
  partly.tls = Event::Tls{"", "", "none"};
  EXPECT_EQ(line_of(partly), R"({"event_id":7,"ts":"1970-01-01T00:00:00.999Z","event":"source_state",)"
                             R"("reply":{"code":421},"tls":{"policy":"none"}})");
  partly.reply.reset();
  partly.tls = Event::Tls{};
  EXPECT_EQ(line_of(partly), R"({"event_id":7,"ts":"1970-01-01T00:00:00.999Z","event":"source_state","tls":{}})");
}

TEST(EventJson, StampsTimesThatJumpAboutCorrectly) {
  for (const std::int64_t at : std::vector<std::int64_t>{1795412979999, 1795412980000, 1795412979998, 1000, 0}) {
    const TimePoint when = from_millis(at);
    EXPECT_EQ(boost::json::parse(line_of(Event{.at = when})).at("ts").as_string(), to_rfc3339(when));
  }
}

TEST(EventJson, KeepsHostileTextInsideItsString) {
  struct Case {
    std::string_view name, text, want;
  };
  for (const Case& c : {
           Case{"closes the string", R"(","event":"delivered)", R"(","event":"delivered)"},
           Case{"ends the line", "a\r\n{\"event_id\":1}", "a\r\n{\"event_id\":1}"},
           Case{"NUL and controls", std::string_view("\0\x01\x1b[2J\x7f", 7), std::string_view("\0\x01\x1b[2J\x7f", 7)},
           Case{"C1 control",
                "\xC2\x9B"
                "2J",
                "\xC2\x9B"
                "2J"},
           Case{"Japanese", "\xE6\x9A\x96\xE6\xB0\x97", "\xE6\x9A\x96\xE6\xB0\x97"},
           Case{"outside the basic plane", "\xF0\x9F\x92\x8C", "\xF0\x9F\x92\x8C"},
           Case{"Latin-1", "caf\xE9.", "caf\xEF\xBF\xBD."},
           Case{"cut sequence at the end", "x\xE6\x9A", "x\xEF\xBF\xBD\xEF\xBF\xBD"},
           Case{"overlong slash", "\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
           Case{"surrogate", "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
           Case{"beyond Unicode", "\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
           Case{"backslashes", R"(\u0022\)", R"(\u0022\)"},
       }) {
    SCOPED_TRACE(c.name);
    const std::string text(c.text);
    Event event{.to = text, .reply = mail::Reply{550, std::nullopt, text}, .evidence = {{text, text}}};
    const std::string line = line_of(event);
    for (const char octet : line) {
      EXPECT_TRUE(static_cast<unsigned char>(octet) >= 0x20 && octet != 0x7F) << "a control octet is in the line";
    }
    EXPECT_TRUE(is_utf8(line));
    const boost::json::value parsed = boost::json::parse(line);
    EXPECT_EQ(parsed.at("event").as_string(), "error");
    EXPECT_EQ(parsed.at("to").as_string(), c.want);
    EXPECT_EQ(parsed.at("reply").at("text").as_string(), c.want);
    EXPECT_EQ(parsed.at("evidence").at(std::string(c.want)).as_string(), c.want);
  }
}

TEST(EventJson, EveryOctetInEveryPlaceGivesAValidLine) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text{static_cast<char>(a), static_cast<char>(b), static_cast<char>(a)};
      boost::json::error_code failure;
      boost::json::parse(line_of(Event{.reason = text}), failure);
      ASSERT_FALSE(failure) << a << ' ' << b;
    }
  }
}

TEST(EventJson, NamesEveryType) {
  for (int type = 0; type <= static_cast<int>(Type::Error); ++type) {
    EXPECT_FALSE(to_string(static_cast<Type>(type)).empty());
  }
  EXPECT_EQ(to_string(Type::Accepted), "accepted");
  EXPECT_EQ(to_string(Type::PathState), "path_state");
  EXPECT_EQ(to_string(Type::Error), "error");
}

TEST(EventJson, CostsAboutAMicrosecondALine) {
  const Event event = full_event();
  constexpr int kLines = 50'000;
  std::string out;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kLines; ++i) {
    out.clear();
    append_json(out, event, static_cast<std::uint64_t>(i));
  }
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  std::printf("append_json: %.2f us for a line of %zu octets\n", took.count() / kLines, out.size());
  EXPECT_LT(took.count() / kLines, 200) << "far too slow, even for a sanitizer build on a busy machine";
}

}  // namespace
}  // namespace danki::events
