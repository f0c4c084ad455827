#include "net/dns_message.hpp"

#include "net/dns_answer.hpp"
#include "tests/net/dns_builder.hpp"

#include <gmock/gmock.h>

namespace danki::net {
namespace {

using test::as_octets;
using test::character_string;
using test::DnsReply;
using test::record;
using test::u16;
using test::u8;
using test::wire_name;
using testing::HasSubstr;

const std::string kHeader = "\x12\x34\x81\x80" + std::string("\0\1\0\1\0\0\0\0", 8);  // one question, one answer
constexpr std::size_t kQuestionAt = 12;

Result<DnsMessage> parse(const std::string& octets) {
  return parse_dns_message(as_octets(octets));
}

std::string address_rdata(unsigned a, unsigned b, unsigned c, unsigned d) {
  return u8(a) + u8(b) + u8(c) + u8(d);
}

TEST(DnsMessage, ReadsEveryTypeWeUse) {
  DnsReply reply{.question_name = "Example.TEST"};
  reply.id = 0xABCD;
  reply.flags |= 0x0420;  // AA, AD
  reply.answers = {
      record("Example.TEST", DnsType::A, 300, address_rdata(192, 0, 2, 1)),
      record("example.test", DnsType::Aaaa, 301, std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + u8(1)),
      record("example.test", DnsType::Mx, 302, u16(10) + wire_name("MX.example.test")),
      record("example.test", DnsType::Mx, 303, u16(0) + wire_name("")),
      record("example.test", DnsType::Txt, 304, character_string("v=spf1 ") + character_string("-all")),
      record("1.2.0.192.in-addr.arpa", DnsType::Ptr, 305, wire_name("host.test")),
      record("example.test", DnsType::Ns, 306, wire_name("ns.test")),
      record("www.test", DnsType::Cname, 307, wire_name("web.test")),
      record("_25._tcp.mx.test", DnsType::Tlsa, 308, u8(3) + u8(1) + u8(1) + std::string(32, 'h')),
  };
  reply.authorities = {record("test", DnsType::Soa, 309, test::soa_rdata("ns.test", 60))};
  const auto message = parse(reply.octets());
  ASSERT_TRUE(message) << message.error().message();
  EXPECT_EQ(message->id, 0xABCD);
  EXPECT_TRUE(message->is_response);
  EXPECT_TRUE(message->authoritative);
  EXPECT_TRUE(message->authenticated);
  EXPECT_FALSE(message->truncated);
  EXPECT_EQ(message->question_name, "example.test");
  ASSERT_EQ(message->answers.size(), 9u);
  const auto& a = message->answers;
  EXPECT_EQ(a[0].owner, "example.test");
  EXPECT_EQ(a[0].address.to_string(), "192.0.2.1");
  EXPECT_EQ(a[0].ttl, 300u);
  EXPECT_EQ(a[1].address.to_string(), "2001:db8::1");
  EXPECT_EQ(a[2].preference, 10);
  EXPECT_EQ(a[2].text, "mx.example.test");
  EXPECT_EQ(a[3].text, "");
  EXPECT_EQ(a[4].text, "v=spf1 -all");
  EXPECT_EQ(a[5].text, "host.test");
  EXPECT_EQ(a[6].text, "ns.test");
  EXPECT_EQ(a[7].text, "web.test");
  EXPECT_EQ(a[8].raw.size(), 35u);
  ASSERT_EQ(message->authorities.size(), 1u);
  EXPECT_EQ(message->authorities[0].text, "ns.test");
  EXPECT_EQ(negative_ttl(message->authorities[0]), 60u);
}

TEST(DnsMessage, FollowsCompressionBackwards) {
  const std::string question = wire_name("example.test") + u16(15) + u16(1);
  const std::string pointer_to_question = u16(0xC000 | kQuestionAt);
  const std::string rdata = u16(10) + u8(2) + "mx" + pointer_to_question;
  const auto message = parse(kHeader + question + pointer_to_question + u16(15) + u16(1) + std::string(4, '\0') +
                             u16(static_cast<unsigned>(rdata.size())) + rdata);
  ASSERT_TRUE(message) << message.error().message();
  EXPECT_EQ(message->answers[0].owner, "example.test");
  EXPECT_EQ(message->answers[0].text, "mx.example.test");
}

TEST(DnsMessage, EscapesWhatANameMayHideIn) {
  const std::string odd = u8(5) + std::string("a.b\\ ", 5) + u8(1) + "\x07" + u8(0);
  const auto message = parse(kHeader + wire_name("q") + u16(12) + u16(1) + odd + u16(12) + u16(1) +
                             std::string(4, '\0') + u16(3) + wire_name("t"));
  ASSERT_TRUE(message) << message.error().message();
  EXPECT_EQ(message->answers[0].owner, "a\\.b\\\\\\032.\\007");
}

TEST(DnsMessage, RefusesWhatIsNotWellFormed) {
  const std::string question = wire_name("example.test") + u16(1) + u16(1);
  const auto answer = [&](const std::string& owner, unsigned type, unsigned length, const std::string& rdata) {
    return kHeader + question + owner + u16(type) + u16(1) + std::string(4, '\0') + u16(length) + rdata;
  };
  const std::string self = u16(0xC000 | static_cast<unsigned>(kQuestionAt + question.size()));
  std::string long_name;
  for (int i = 0; i < 5; ++i) long_name += u8(60) + std::string(60, 'x');
  struct Case {
    std::string name, octets;
  };
  for (const Case& c : {
           Case{"empty", ""},
           Case{"half a header", kHeader.substr(0, 11)},
           Case{"no answer behind the count", kHeader + question},
           Case{"two questions", "\x12\x34\x81\x80" + std::string("\0\2\0\0\0\0\0\0", 8) + question + question},
           Case{"pointer to itself", answer(self, 1, 4, "abcd")},
           Case{"pointer forward", answer(u16(0xC0FF), 1, 4, "abcd")},
           Case{"pointer into the header", answer(u16(0xC002), 1, 4, "abcd")},
           Case{"half a pointer", kHeader + question + "\xC0"},
           Case{"label that leads back to itself", answer(u8(1) + "a" + self, 1, 4, "abcd")},
           Case{"label type 0x40", answer(u8(0x41) + "a" + u8(0), 1, 4, "abcd")},
           Case{"name over 255 octets", answer(long_name + u8(0), 1, 4, "abcd")},
           Case{"label beyond the end", kHeader + question + u8(63) + "abc"},
           Case{"RDATA beyond the end", answer(wire_name("a"), 1, 5, "abcd")},
           Case{"A of 3 octets", answer(wire_name("a"), 1, 3, "abc")},
           Case{"AAAA of 4 octets", answer(wire_name("a"), 28, 4, "abcd")},
           Case{"MX without a name", answer(wire_name("a"), 15, 2, u16(10))},
           Case{"MX with octets behind", answer(wire_name("a"), 15, 4, u16(10) + wire_name("") + "x")},
           Case{"TXT without a string", answer(wire_name("a"), 16, 0, "")},
           Case{"TXT string beyond RDATA", answer(wire_name("a"), 16, 3, u8(9) + "ab")},
           Case{"PTR beyond RDATA", answer(wire_name("a"), 12, 2, wire_name("abc"))},
           Case{"SOA without numbers", answer(wire_name("a"), 6, 6, wire_name("m") + wire_name("r"))},
           Case{"TLSA of 3 octets", answer(wire_name("a"), 52, 3, "abc")},
       }) {
    SCOPED_TRACE(c.name);
    EXPECT_FALSE(parse(c.octets));
  }
}

TEST(DnsMessage, ATtlWithTheTopBitIsZero) {  // RFC 2181 section 8
  DnsReply reply{.question_name = "a"};
  reply.answers = {record("a", DnsType::A, 0x80000001, address_rdata(1, 2, 3, 4))};
  EXPECT_EQ(parse(reply.octets())->answers[0].ttl, 0u);
}

TEST(DnsMessage, JoinsTheUpperBitsOfTheRcode) {  // RFC 6891 section 6.1.3
  DnsReply reply{.question_name = "a"};
  reply.rcode = 7;
  reply.additionals = {wire_name("") + u16(41) + u16(1232) + u8(1) + std::string(3, '\0') + u16(0)};
  EXPECT_EQ(parse(reply.octets())->rcode, 0x17);
}

TEST(DnsMessage, IgnoresOtherClasses) {
  DnsReply reply{.question_name = "a"};
  reply.answers = {wire_name("a") + u16(16) + u16(3) + std::string(4, '\0') + u16(2) + character_string("x")};
  EXPECT_TRUE(parse(reply.octets())->answers.empty());
}

TEST(DnsAnswer, TellsHowAQuestionEnded) {
  const std::string soa = record("test", DnsType::Soa, 300, test::soa_rdata("ns.test", 60));
  const std::string ns = record("test", DnsType::Ns, 300, wire_name("ns.test"));
  struct Case {
    std::string name;
    unsigned rcode;
    std::vector<std::string> answers, authorities;
    DnsStatus want;
    std::uint32_t want_ttl;
    std::size_t want_records;
  };
  const auto a = [](const char* owner, std::uint32_t ttl) {
    return record(owner, DnsType::A, ttl, address_rdata(192, 0, 2, 1));
  };
  const auto cname = [](const char* owner, const char* target) {
    return record(owner, DnsType::Cname, 50, wire_name(target));
  };
  for (const Case& c : {
           Case{"answer", 0, {a("www.test", 100), a("www.test", 90)}, {}, DnsStatus::Ok, 90, 2},
           Case{"alias", 0, {cname("www.test", "WEB.test"), a("web.test", 100)}, {}, DnsStatus::Ok, 50, 1},
           Case{"alias in another order",
                0,
                {a("end.test", 100), cname("web.test", "end.test"), cname("www.test", "web.test")},
                {},
                DnsStatus::Ok,
                50,
                1},
           Case{"records of another name", 0, {a("other.test", 100)}, {soa}, DnsStatus::NoData, 60, 0},
           Case{"alias to nowhere", 3, {cname("www.test", "gone.test")}, {soa}, DnsStatus::NxDomain, 50, 0},
           Case{"circle", 0, {cname("www.test", "b.test"), cname("b.test", "www.test")}, {}, DnsStatus::Failed, 0, 0},
           Case{"no name", 3, {}, {soa}, DnsStatus::NxDomain, 60, 0},
           Case{"no name, no SOA", 3, {}, {}, DnsStatus::NxDomain, 0, 0},
           Case{"no records", 0, {}, {ns, soa}, DnsStatus::NoData, 60, 0},
           Case{"nothing at all", 0, {}, {}, DnsStatus::NoData, 0, 0},
           Case{"referral", 0, {}, {ns}, DnsStatus::Failed, 0, 0},
           Case{"SERVFAIL", 2, {}, {}, DnsStatus::ServFail, 0, 0},
           Case{"REFUSED", 5, {}, {}, DnsStatus::Refused, 0, 0},
           Case{"FORMERR", 1, {}, {}, DnsStatus::Failed, 0, 0},
       }) {
    SCOPED_TRACE(c.name);
    DnsReply reply{.question_name = "www.test"};
    reply.rcode = c.rcode;
    reply.answers = c.answers;
    reply.authorities = c.authorities;
    const DnsAnswer answer = read_dns_answer(as_octets(reply.octets()), "www.test", DnsType::A);
    EXPECT_EQ(answer.status, c.want) << answer.error;
    EXPECT_EQ(answer.ttl, c.want_ttl);
    EXPECT_EQ(answer.records.size(), c.want_records);
  }
}

TEST(DnsAnswer, AnAskedAliasIsNotFollowed) {
  DnsReply reply{.question_name = "www.test", .question_type = DnsType::Cname};
  reply.answers = {record("www.test", DnsType::Cname, 50, wire_name("web.test"))};
  const DnsAnswer answer = read_dns_answer(as_octets(reply.octets()), "www.test", DnsType::Cname);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer.records[0].text, "web.test");
}

TEST(DnsAnswer, RefusesAnAnswerToAnotherQuestion) {
  DnsReply reply{.question_name = "other.test"};
  reply.answers = {record("www.test", DnsType::A, 50, address_rdata(1, 2, 3, 4))};
  EXPECT_EQ(read_dns_answer(as_octets(reply.octets()), "www.test", DnsType::A).status, DnsStatus::Failed);
  reply.question_name = "www.test";
  EXPECT_EQ(read_dns_answer(as_octets(reply.octets()), "www.test", DnsType::Txt).status, DnsStatus::Failed);
  reply.flags |= 0x0200;  // TC
  const DnsAnswer truncated = read_dns_answer(as_octets(reply.octets()), "www.test", DnsType::A);
  EXPECT_EQ(truncated.status, DnsStatus::Failed);
  EXPECT_THAT(truncated.error, HasSubstr("truncated"));
}

}  // namespace
}  // namespace danki::net
