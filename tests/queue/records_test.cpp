#include "queue/records.hpp"

#include "base/random.hpp"
#include "queue/bytes.hpp"
#include "queue/errc.hpp"
#include "tests/queue/spool_fixture.hpp"

#include <limits>

namespace danki::queue {
namespace {

using queue::testing::make_message;
using queue::testing::progress_of;
using queue::testing::test_time;
using State = RecipientProgress::State;

TEST(Bytes, NumbersComeBack) {
  for (const std::uint64_t v : {0ull, 1ull, 127ull, 128ull, 16384ull, 0xffffffffull, ~0ull, 1ull << 63}) {
    std::string bytes;
    ByteWriter out(bytes);
    out.varint(v);
    out.signed_varint(static_cast<std::int64_t>(v));
    out.fixed64(v);
    ByteReader in(bytes);
    EXPECT_EQ(in.varint(), v);
    EXPECT_EQ(in.signed_varint(), static_cast<std::int64_t>(v));
    EXPECT_EQ(in.fixed64(), v);
    EXPECT_TRUE(in.ok());
    EXPECT_EQ(in.left(), 0u);
    in.u8();
    EXPECT_FALSE(in.ok());
  }
}

TEST(Bytes, RefusesVarintsThatDoNotFit) {
  EXPECT_EQ(ByteReader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").varint(), ~0ull);
  ByteReader tenth_too_large("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
  tenth_too_large.varint();
  EXPECT_FALSE(tenth_too_large.ok());
  ByteReader endless(std::string_view("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"));
  endless.varint();
  EXPECT_FALSE(endless.ok());
  ByteReader text_too_long(
      "\x05"
      "abc");
  EXPECT_EQ(text_too_long.text(), "");
  EXPECT_FALSE(text_too_long.ok());
}

TEST(DueKey, SortsByDomainClassTenantDueAndId) {
  const auto key = [](std::string domain, mail::MailClass klass, std::string tenant, std::int64_t due,
                      std::uint64_t id) {
    return due_key({.domain = std::move(domain), .klass = klass, .tenant = std::move(tenant)}, from_millis(due),
                   MessageId{id}, 0);
  };
  constexpr auto kT = mail::MailClass::Transactional;
  constexpr auto kB = mail::MailClass::Bulk;
  const std::vector<std::string> sorted = {
      key("a.test", kT, "x", -5, 9),   key("a.test", kT, "x", 0, 9),         key("a.test", kT, "x", 1000, 1),
      key("a.test", kT, "x", 1000, 2), key("a.test", kT, "x", 1ll << 40, 0), key("a.test", kT, "x2", 0, 0),
      key("a.test", kB, "a", 0, 0),    key("a.test2", kT, "a", 0, 0),        key("b.test", kT, "a", 0, 0)};
  EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end()));
  const LaneKey lane{.domain = "a.test", .klass = kT, .tenant = "x"};
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const bool in_lane = lane_begin(lane) <= sorted[i] && sorted[i] < lane_end(lane);
    EXPECT_EQ(in_lane, i < 5) << i;
  }
}

TEST(DueRecord, ComesBack) {
  for (const std::vector<std::uint32_t>& recipients :
       {std::vector<std::uint32_t>{0}, {7}, {0, 1, 2, 3}, {5, 1000, 1001, 4'000'000'000}}) {
    const DueEntry entry{.lane = {.domain = "example.net", .klass = mail::MailClass::Bulk, .tenant = "news"},
                         .due = test_time(),
                         .id = MessageId{0x1122334455667788},
                         .recipients = recipients};
    const auto read = decode_due(due_key(entry), encode_due_value(entry.recipients));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(*read, entry);
    EXPECT_EQ(summarise_due(due_key(entry), encode_due_value(entry.recipients))->recipients, recipients.size());
  }
}

/// What is counted and never read would stay in its lane's count for ever.
TEST(DueRecord, IsCountedOnlyIfItReads) {
  const DueEntry entry{.lane = {.domain = "example.net", .klass = mail::MailClass::Bulk, .tenant = "news"},
                       .due = test_time(),
                       .id = MessageId{1},
                       .recipients = {7}};
  const auto value = [](std::vector<std::uint64_t> numbers) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(1);
    for (const std::uint64_t number : numbers) out.varint(number);
    return bytes;
  };
  EXPECT_EQ(summarise_due(due_key(entry), value({3, 1, 1}))->recipients, 3u);
  for (const std::string& wrong : {value({2, 0}), value({3, 1, 0}), value({2, kPreparedIndex}), value({2, 1ull << 40}),
                                   value({2, kPreparedIndex - 7}), value({3, 300}), value({2}), value({0})}) {
    EXPECT_FALSE(decode_due(due_key(entry), wrong));
    EXPECT_FALSE(summarise_due(due_key(entry), wrong));
  }
}

TEST(Envelope, ComesBack) {
  mail::Envelope envelope = make_message({"a.test", "b.test", "a.test"}).envelope;
  envelope.not_before = test_time() + std::chrono::hours(1);
  auto read = decode_envelope(encode_envelope(envelope));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, envelope);
  read = decode_envelope(encode_envelope(mail::Envelope{}));
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, mail::Envelope{});
}

TEST(StateRecord, ComesBack) {
  for (const State state : {State::Pending, State::Delivered, State::Bounced, State::Expired}) {
    for (const bool has_place : {false, true}) {
      StateRecord record{.progress = progress_of(state, 7), .place = std::nullopt};
      if (has_place) record.place = DuePlace{.due = test_time(), .first = 3};
      const auto read = decode_state(encode_state(record.progress, record.place));
      ASSERT_TRUE(read) << read.error().message();
      EXPECT_EQ(*read, record);
    }
  }
  const auto read = decode_state(encode_state({}, std::nullopt));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->progress, RecipientProgress{});
}

TEST(OtherRecords, ComeBack) {
  const Message::Prepared prepared{
      .header_lines = "DKIM-Signature: v=1\r\n", .signed_at = test_time(), .selectors = "example.com/s1", .error = ""};
  const auto read = decode_prepared(encode_prepared(prepared));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->header_lines, prepared.header_lines);
  EXPECT_EQ(read->signed_at, prepared.signed_at);
  EXPECT_EQ(read->selectors, prepared.selectors);
  const DuePlace place{.due = test_time(), .first = 9};
  EXPECT_EQ(decode_moved(encode_moved(place)), place);
  const Head head{.batch = 5, .synced = 4, .next_id = ~0ull >> 8, .messages = 3};
  EXPECT_EQ(decode_head(encode_head(head)), head);
}

TEST(Records, IgnoreFieldsOfLaterVersionsBehindTheirOwn) {
  const mail::Envelope envelope = make_message({"a.test"}).envelope;
  EXPECT_EQ(decode_envelope(encode_envelope(envelope) + "what a later version knows"), envelope);
  const StateRecord record{.progress = progress_of(State::Pending), .place = DuePlace{.due = test_time(), .first = 0}};
  EXPECT_EQ(decode_state(encode_state(record.progress, record.place) + "more"), record);
}

TEST(Records, OfAnUnknownVersionAreDamaged) {
  std::string value = encode_envelope(make_message({"a.test"}).envelope);
  value[0] = 2;
  EXPECT_EQ(decode_envelope(value).error().code, Errc::Damaged);
}

/// Whatever the bytes, reading ends with a value or an error, and asks for no more memory than the input could fill.
TEST(Records, SurviveDamage) {
  const DueEntry entry{.lane = {.domain = "example.net", .klass = mail::MailClass::Bulk, .tenant = "news"},
                       .due = test_time(),
                       .id = MessageId{77},
                       .recipients = {1, 2, 500}};
  const std::vector<std::string> samples = {
      encode_envelope(make_message({"a.test", "b.test"}).envelope),
      encode_state(progress_of(State::Bounced), DuePlace{.due = test_time(), .first = 1}),
      encode_prepared({.header_lines = "x", .signed_at = test_time(), .selectors = "y"}),
      encode_moved({.due = test_time(), .first = 1}),
      encode_head({.batch = 1, .synced = 1, .next_id = 1, .messages = 1}),
      due_key(entry),
      encode_due_value(entry.recipients)};
  SeededRandom random(20261123);
  const auto read_all = [&](const std::string& bytes) {
    static_cast<void>(decode_envelope(bytes));
    static_cast<void>(decode_state(bytes));
    static_cast<void>(decode_prepared(bytes));
    static_cast<void>(decode_moved(bytes));
    static_cast<void>(decode_head(bytes));
    static_cast<void>(decode_due(bytes, samples.back()));
    if (const auto read = decode_due(due_key(entry), bytes)) {
      EXPECT_TRUE(std::is_sorted(read->recipients.begin(), read->recipients.end()));
      EXPECT_LE(read->recipients.size(), bytes.size());
    }
  };
  for (const std::string& sample : samples) {
    for (std::size_t size = 0; size <= sample.size(); ++size) read_all(sample.substr(0, size));
    for (int round = 0; round < 3000; ++round) {
      std::string damaged = sample;
      for (std::uint64_t n = random.between(1, 4); n > 0; --n)
        damaged[random.between(0, damaged.size() - 1)] = static_cast<char>(random.next());
      read_all(damaged);
    }
  }
}

}  // namespace
}  // namespace danki::queue
