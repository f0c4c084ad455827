#include "queue/message.hpp"

#include <gtest/gtest.h>

namespace danki::queue {
namespace {

TEST(MessageId, IsThirteenCharactersInTheOrderOfTheNumbers) {
  struct Case {
    std::uint64_t value;
    std::string_view text;
  };
  std::string last;
  for (const Case& c : {Case{0, "0000000000000"}, Case{31, "000000000000z"}, Case{32, "0000000000010"},
                        Case{0x0123456789abcdef, "028t5cy4tqkff"}, Case{~0ull, "fzzzzzzzzzzzz"}}) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(MessageId{c.value}.to_string(), c.text);
    EXPECT_EQ(MessageId::parse(c.text), MessageId{c.value});
    EXPECT_LT(last, c.text);
    last = c.text;
  }
  EXPECT_EQ(MessageId::parse("FZZZZZZZZZZZZ"), MessageId{~0ull});
}

TEST(MessageId, RefusesWhatIsNone) {
  for (const std::string_view text : {"", "000000000000", "00000000000000", "g000000000000", "000000000000i",
                                      "00000000000u0", "000000 000000", "000000000000-"}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(MessageId::parse(text), std::nullopt);
  }
}

TEST(Message, OtherPreparedLinesAreNotStoredYet) {
  mail::Envelope envelope;
  envelope.recipients.resize(2);
  Message message(MessageId{1}, envelope);
  EXPECT_EQ(message.progress.size(), 2u);
  const auto first = std::make_shared<const Message::Prepared>(Message::Prepared{.header_lines = "a"});
  message.set_prepared(first);
  message.mark_prepared_stored(first.get());
  EXPECT_TRUE(message.prepared_stored);
  message.set_prepared(first);
  EXPECT_TRUE(message.prepared_stored);
  message.set_prepared(std::make_shared<const Message::Prepared>(Message::Prepared{.header_lines = "b"}));
  EXPECT_FALSE(message.prepared_stored);
  message.mark_prepared_stored(first.get());
  EXPECT_FALSE(message.prepared_stored) << "the first one was stored, but this one was not";
}

}  // namespace
}  // namespace danki::queue
