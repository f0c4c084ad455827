// What the event log says of mail that the spool has taken, wired as the daemon wires it.
#include "mta/submission/accepted_events.hpp"

#include "tests/events/log_directory.hpp"
#include "tests/queue/spool_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::daemon {
namespace {

using queue::MessageId;
using queue::testing::make_message;
using queue::testing::outcome_of;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(AcceptedEvents, TellOfOwnReportsAndWhatTheyAreAbout) {
  const events::LogDirectory log;
  const queue::testing::ScratchDirectory scratch;
  events::SharedClock clock;
  auto events = events::EventLog::open({.directory = log.path}, clock);
  ASSERT_TRUE(events) << events.error().message();
  queue::SpoolOptions options;
  options.directory = scratch.path();
  options.reserve_file_bytes = 1 << 20;
  auto spool = queue::Spool::open(options, clock);
  ASSERT_TRUE(spool) << spool.error().message();
  (*spool)->on_stored([&](const auto& batch) { submission::record_accepted(batch, **events, clock); });
  std::vector<std::promise<queue::Accepted>> announced(2);
  (*spool)->on_accepted([&, next = announced.begin()](std::vector<queue::Accepted> batch) mutable {
    for (queue::Accepted& one : batch) (next++)->set_value(std::move(one));
  });

  (*spool)->accept(make_message({"inbox.test"}), [](Result<MessageId>) {});
  queue::Accepted taken = announced[0].get_future().get();
  const std::string about = taken.message->id.to_string();
  queue::Outcome outcome = outcome_of(taken.message, taken.entries[0], queue::RecipientProgress::State::Bounced);
  outcome.report = make_message({"example.com"});
  outcome.report->envelope.reverse_path = {};
  (*spool)->record({std::move(outcome)}, [] {});
  announced[1].get_future().wait();
  (*spool)->close();

  std::istringstream lines(events::read_file(log.live()));
  std::string first, second, more;
  std::getline(lines, first);
  std::getline(lines, second);
  EXPECT_FALSE(std::getline(lines, more)) << more;
  EXPECT_THAT(first, HasSubstr("\"event\":\"accepted\",\"id\":\"" + about + "\""));
  EXPECT_THAT(first, Not(HasSubstr("\"reason\"")));
  EXPECT_THAT(second, HasSubstr("\"event\":\"accepted\""));
  EXPECT_THAT(second, HasSubstr("\"from\":\"<>\",\"to\":\"user0@example.com\""));
  EXPECT_THAT(second, HasSubstr("\"reason\":\"report on " + about + "\""));
}

}  // namespace
}  // namespace danki::daemon
