#include "queue/spool.hpp"

#include "queue/errc.hpp"
#include "tests/queue/spool_fixture.hpp"

#include <algorithm>
#include <thread>

#include <rocksdb/db.h>

namespace danki::queue::testing {
namespace {

using State = RecipientProgress::State;
using namespace std::chrono_literals;

TEST_F(SpoolTest, KeepsAMessageAsSubmitted) {
  open();
  std::string content = "Subject: \xe6\x9a\x96\xe6\xb0\x97\r\n\r\n";
  for (int i = 0; i < 256; ++i) content.push_back(static_cast<char>(i));
  for (const std::size_t size : {std::size_t{0}, std::size_t{300}, std::size_t{5000}, std::size_t{3} << 20}) {
    content.resize(size, 'x');
    const NewMessage message = make_message({"a.test"}, content);
    const Accepted accepted = accept(NewMessage(message));
    EXPECT_EQ(accepted.message->envelope, message.envelope);
    ASSERT_NE(accepted.message->content(), nullptr);
    EXPECT_EQ(*accepted.message->content(), content);
    EXPECT_EQ(spool->read_content(accepted.message->id), content);
    const auto shown = spool->show(accepted.message->id);
    ASSERT_TRUE(shown) << shown.error().message();
    EXPECT_EQ(shown->envelope, message.envelope);
    EXPECT_EQ(shown->entries, accepted.entries);
  }
  const auto ids = all_due();
  restart();
  for (const DueEntry& entry : ids) {
    const auto loaded = spool->load(entry.id);
    ASSERT_TRUE(loaded);
    EXPECT_EQ((*loaded)->content(), nullptr);
    const auto body = spool->load_content(*loaded);
    ASSERT_TRUE(body);
    EXPECT_EQ((*body)->size(), (*loaded)->envelope.size);
    EXPECT_EQ((*loaded)->content(), *body);
    EXPECT_TRUE(content.starts_with((*body)->substr(0, 200)));
  }
}

TEST_F(SpoolTest, HasOneDueRecordPerRecipientDomain) {
  open();
  const Accepted accepted = accept(make_message({"a.test", "b.test", "a.test", "c.test", "b.test"}));
  ASSERT_EQ(accepted.entries.size(), 3u);
  EXPECT_EQ(accepted.entries[0].recipients, (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(accepted.entries[1].recipients, (std::vector<std::uint32_t>{1, 4}));
  EXPECT_EQ(accepted.entries[2].recipients, (std::vector<std::uint32_t>{3}));
  EXPECT_EQ(accepted.entries[1].lane,
            (LaneKey{.domain = "b.test", .klass = mail::MailClass::Bulk, .tenant = "signup"}));
  EXPECT_EQ(all_due(), accepted.entries);
}

TEST_F(SpoolTest, IsFirstDueWhenItArrivedOrLaterButNotAfterExpiry) {
  open();
  struct Case {
    std::string_view name;
    TimePoint not_before, expires, want;
  };
  const TimePoint now = test_time();
  for (const Case& c : {Case{"at once", {}, now + 1h, now}, Case{"later", now + 30min, now + 1h, now + 30min},
                        Case{"expires before", now + 2h, now + 1h, now + 1h}, Case{"no expiry", {}, {}, now}}) {
    SCOPED_TRACE(c.name);
    NewMessage message = make_message({"a.test"});
    message.envelope.not_before = c.not_before;
    message.envelope.expires_at = c.expires;
    EXPECT_EQ(accept(std::move(message)).entries.front().due, c.want);
  }
}

TEST_F(SpoolTest, RefusesWhatCannotBeKept) {
  open();
  EXPECT_EQ(try_accept(make_message({})).error().code, Errc::InvalidMessage);
  EXPECT_EQ(try_accept(make_message({std::string("a\0b", 3)})).error().code, Errc::InvalidMessage);
  EXPECT_EQ(spool->stats().messages, 0u);
}

TEST_F(SpoolTest, RemovesEverythingWhenTheLastRecipientIsDone) {
  open();
  for (const State state : {State::Delivered, State::Bounced, State::Expired}) {
    Accepted accepted = accept(make_message({"a.test"}));
    const MessageId id = accepted.message->id;
    record(outcome_of(accepted.message, accepted.entries.front(), state));
    EXPECT_EQ(spool->load(id)->get(), accepted.message.get()) << "somebody still has it";
    accepted.message.reset();
    EXPECT_EQ(spool->load(id).error().code, std::errc::no_such_file_or_directory);
    EXPECT_EQ(spool->read_content(id).error().code, std::errc::no_such_file_or_directory);
  }
  EXPECT_TRUE(all_due().empty());
  EXPECT_EQ(spool->stats().messages, 0u);
  EXPECT_EQ(spool->stats().removed, 3u);
  close();
  EXPECT_TRUE(check_nothing_half_there(options).empty());
}

TEST_F(SpoolTest, DefersWithProgressAndPreparedLinesAndIsTheSameAfterARestart) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  const MessageId id = accepted.message->id;
  const auto prepared = std::make_shared<const Message::Prepared>(Message::Prepared{
      .header_lines = "DKIM-Signature: x\r\n", .signed_at = test_time(), .selectors = "example.com/s1"});
  accepted.message->set_prepared(prepared);
  record(outcome_of(accepted.message, accepted.entries.front(), State::Pending, test_time() + 5min));
  EXPECT_TRUE(accepted.message->prepared_stored);
  DueEntry later = accepted.entries.front();
  later.due = test_time() + 5min;
  EXPECT_EQ(all_due(), std::vector{later});
  restart();
  EXPECT_EQ(all_due(), std::vector{later});
  auto loaded = spool->load(id);
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ((*loaded)->progress, std::vector{progress_of(State::Pending)});
  ASSERT_NE((*loaded)->prepared(), nullptr);
  EXPECT_EQ((*loaded)->prepared()->header_lines, prepared->header_lines);
  EXPECT_EQ((*loaded)->prepared()->signed_at, prepared->signed_at);
  EXPECT_EQ((*loaded)->prepared()->selectors, prepared->selectors);
  EXPECT_TRUE((*loaded)->prepared_stored);

  // Once more, signed anew, then delivered.
  (*loaded)->set_prepared(std::make_shared<const Message::Prepared>(Message::Prepared{.header_lines = "new\r\n"}));
  record(outcome_of(*loaded, later, State::Pending, test_time() + 15min, 2));
  later.due = test_time() + 15min;
  EXPECT_EQ(all_due(), std::vector{later});
  *loaded = nullptr;
  restart();
  loaded = spool->load(id);
  ASSERT_TRUE(loaded);
  EXPECT_EQ((*loaded)->progress, std::vector{progress_of(State::Pending, 2)});
  EXPECT_EQ((*loaded)->prepared()->header_lines, "new\r\n");
  record(outcome_of(*loaded, later, State::Delivered));
  *loaded = nullptr;
  close();
  EXPECT_TRUE(check_nothing_half_there(options).empty());
}

TEST_F(SpoolTest, DoesNotStoreAFailedSignature) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  accepted.message->set_prepared(std::make_shared<const Message::Prepared>(Message::Prepared{.error = "no key"}));
  record(outcome_of(accepted.message, accepted.entries.front(), State::Pending, test_time() + 5min));
  EXPECT_FALSE(accepted.message->prepared_stored);
  restart();
  EXPECT_EQ((*spool->load(accepted.message->id))->prepared(), nullptr);
}

TEST_F(SpoolTest, TracksRecipientsOfSeveralDomainsOneByOne) {
  open();
  Accepted accepted = accept(make_message({"a.test", "b.test", "a.test", "c.test"}));
  const MessageId id = accepted.message->id;
  // Of a.test one is delivered and one deferred; b.test bounces; c.test was not tried.
  Outcome partial = outcome_of(accepted.message, accepted.entries[0], State::Pending, test_time() + 1min);
  partial.changes[0].progress = progress_of(State::Delivered);
  partial.remaining[0].recipients = {2};
  record(partial);
  record(outcome_of(accepted.message, accepted.entries[1], State::Bounced));
  const DueEntry a_later = partial.remaining[0];
  const DueEntry c = accepted.entries[2];
  EXPECT_EQ(all_due(), (std::vector{a_later, c}));
  accepted = {};
  partial = {};

  close();
  EXPECT_EQ(check_nothing_half_there(options), std::vector{id});
  open();
  EXPECT_EQ(all_due(), (std::vector{a_later, c}));
  const auto shown = spool->show(id);
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->progress, (std::vector{progress_of(State::Delivered), progress_of(State::Bounced),
                                          progress_of(State::Pending), RecipientProgress{}}));
  EXPECT_EQ(shown->entries, (std::vector{a_later, c}));

  auto loaded = spool->load(id);
  ASSERT_TRUE(loaded);
  EXPECT_EQ((*loaded)->progress, shown->progress);
  record(outcome_of(*loaded, a_later, State::Delivered));
  EXPECT_EQ(all_due(), std::vector{c});
  *loaded = nullptr;
  restart();
  record(outcome_of(*spool->load(id), c, State::Expired));
  close();
  EXPECT_TRUE(check_nothing_half_there(options).empty());
}

TEST_F(SpoolTest, MaySplitADueRecord) {
  open();
  const Accepted accepted = accept(make_message({"a.test", "a.test", "a.test"}));
  Outcome split = outcome_of(accepted.message, accepted.entries[0], State::Pending);
  split.remaining = {accepted.entries[0], accepted.entries[0]};
  split.remaining[0].recipients = {0, 2};
  split.remaining[0].due = split.remaining[1].due = test_time() + 1min;  // the same time: records apart nevertheless
  split.remaining[1].recipients = {1};
  record(split);
  EXPECT_EQ(all_due(), split.remaining);
  record(outcome_of(accepted.message, split.remaining[1], State::Delivered));
  EXPECT_EQ(all_due(), std::vector{split.remaining[0]});
  close();
  EXPECT_EQ(check_nothing_half_there(options).size(), 1u);
}

TEST_F(SpoolTest, MayBeDueAgainAtTheSameTime) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  const DueEntry entry = accepted.entries.front();
  for (std::uint32_t attempt = 1; attempt < 4; ++attempt)
    record(outcome_of(accepted.message, entry, State::Pending, entry.due, attempt));
  EXPECT_EQ(all_due(), std::vector{entry});
  record(outcome_of(accepted.message, entry, State::Delivered));
  EXPECT_TRUE(all_due().empty());
  close();
  EXPECT_TRUE(check_nothing_half_there(options).empty());
}

TEST_F(SpoolTest, DoesNotLoseARecipientThatAnOutcomeForgets) {
  open();
  const Accepted accepted = accept(make_message({"a.test", "a.test", "b.test"}));
  Outcome forgetful = outcome_of(accepted.message, accepted.entries[0], State::Delivered);
  forgetful.changes.pop_back();
  record(forgetful);
  DueEntry rest = accepted.entries[0];
  rest.recipients = {1};
  EXPECT_EQ(all_due(), (std::vector{rest, accepted.entries[1]}));
  close();
  EXPECT_EQ(check_nothing_half_there(options).size(), 1u);
}

TEST_F(SpoolTest, ALateOutcomeBringsNothingBack) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  record(outcome_of(accepted.message, accepted.entries[0], State::Delivered));
  Outcome late = outcome_of(accepted.message, accepted.entries[0], State::Pending, test_time() + 1min);
  late.report = make_message({"sender.test"});
  record(late);
  record(outcome_of(accepted.message, accepted.entries[0], State::Delivered));
  EXPECT_TRUE(all_due().empty());
  EXPECT_EQ(spool->stats().messages, 0u);

  // Likewise for one recipient of a message that lives on: its first end counts.
  const Accepted two = accept(make_message({"a.test", "b.test"}));
  record(outcome_of(two.message, two.entries[0], State::Delivered));
  record(outcome_of(two.message, two.entries[0], State::Bounced));
  record(outcome_of(two.message, two.entries[0], State::Pending, test_time() + 1min));
  EXPECT_EQ(all_due(), std::vector{two.entries[1]});
  EXPECT_EQ(spool->show(two.message->id)->progress[0], progress_of(State::Delivered));
  close();
  EXPECT_EQ(check_nothing_half_there(options).size(), 1u);
}

TEST_F(SpoolTest, StoresAReportWithItsOutcome) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  Outcome bounced = outcome_of(accepted.message, accepted.entries[0], State::Bounced);
  bounced.report = make_message({"sender.test"}, "Subject: Undelivered\r\n\r\n");
  record(std::move(bounced));
  const Accepted report = accepted_log->take_any();
  EXPECT_EQ(report.entries.front().lane.domain, "sender.test");
  EXPECT_EQ(*report.message->content(), "Subject: Undelivered\r\n\r\n");
  EXPECT_EQ(all_due(), report.entries);
  EXPECT_EQ(spool->stats().messages, 1u);
  close();
  EXPECT_EQ(check_nothing_half_there(options), std::vector{report.message->id});
}

TEST_F(SpoolTest, ReschedulesLiveAndStoredMessages) {
  open();
  Accepted live = accept(make_message({"a.test", "a.test"}));
  Accepted stored = accept(make_message({"b.test"}));
  Accepted gone = accept(make_message({"c.test"}));
  record(outcome_of(stored.message, stored.entries[0], State::Pending, test_time() + 1h));
  DueEntry stored_entry = stored.entries[0];
  stored_entry.due = test_time() + 1h;
  const MessageId stored_id = stored.message->id;
  stored = {};
  record(outcome_of(gone.message, gone.entries[0], State::Delivered));
  const TimePoint soon = test_time() + 1s;
  DueEntry not_as_said = live.entries[0];
  not_as_said.due += 1min;
  reschedule({live.entries[0], stored_entry, gone.entries[0], not_as_said}, soon);
  DueEntry live_moved = live.entries[0];
  live_moved.due = soon;
  stored_entry.due = soon;
  EXPECT_EQ(all_due(), (std::vector{live_moved, stored_entry}));
  restart();
  EXPECT_EQ(all_due(), (std::vector{live_moved, stored_entry}));
  EXPECT_EQ(spool->show(stored_id)->entries, std::vector{stored_entry});
  EXPECT_EQ(spool->show(stored_id)->progress, std::vector{progress_of(State::Pending)}) << "moved only";
  // A move is forgotten with the next outcome.
  record(outcome_of(*spool->load(stored_id), stored_entry, State::Pending, test_time() + 2h, 2));
  restart();
  stored_entry.due = test_time() + 2h;
  EXPECT_EQ(spool->show(stored_id)->entries, std::vector{stored_entry});
  record(outcome_of(*spool->load(stored_id), stored_entry, State::Delivered));
  record(outcome_of(*spool->load(live_moved.id), live_moved, State::Delivered));
  close();
  EXPECT_TRUE(check_nothing_half_there(options).empty());
}

TEST_F(SpoolTest, AnOutcomeFindsItsRecordAfterAMove) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  reschedule(accepted.entries, test_time() + 1min);
  record(outcome_of(accepted.message, accepted.entries[0], State::Delivered));  // as it was taken, before the move
  EXPECT_TRUE(all_due().empty());
  close();
  EXPECT_TRUE(check_nothing_half_there(options).empty());
}

TEST_F(SpoolTest, ReschedulesLongLists) {
  options.max_batch = 16;
  open();
  std::vector<DueEntry> entries;
  for (int i = 0; i < 100; ++i) entries.push_back(accept(make_message({"a.test"})).entries.front());
  reschedule(entries, test_time() + 1h);
  const auto moved = all_due();
  ASSERT_EQ(moved.size(), 100u);
  for (const DueEntry& entry : moved) EXPECT_EQ(entry.due, test_time() + 1h);
}

TEST_F(SpoolTest, DiscardsOnlyRecordsWithoutAMessage) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  spool->discard(accepted.entries);
  record(std::vector<Outcome>{});  // after it in order
  EXPECT_EQ(all_due(), accepted.entries);
}

TEST_F(SpoolTest, ReadsALanePageByPage) {
  open();
  const LaneKey lane{.domain = "b.test", .klass = mail::MailClass::Bulk, .tenant = "signup"};
  accept(make_message({"a.test"}));
  accept(make_message({"b.testing"}));
  std::vector<DueEntry> all;
  for (int i = 0; i < 10; ++i) {
    NewMessage message = make_message({"b.test"});
    message.envelope.not_before = test_time() + std::chrono::minutes(i);
    all.push_back(accept(std::move(message)).entries.front());
  }
  const auto slice = [&](std::size_t from, std::size_t to) {
    return std::vector(all.begin() + static_cast<std::ptrdiff_t>(from), all.begin() + static_cast<std::ptrdiff_t>(to));
  };
  struct Case {
    std::string_view name;
    std::optional<DueEntry> from;
    TimePoint until;
    std::size_t limit;
    std::vector<DueEntry> entries;
    std::optional<DueEntry> next;
  };
  const TimePoint ever = TimePoint::max();
  DueEntry between = all[4];
  between.due += 1s;
  for (const Case& c : {Case{"all", {}, ever, 100, all, {}}, Case{"limit", {}, ever, 3, slice(0, 3), all[3]},
                        Case{"limit is the length", {}, ever, 10, all, {}},
                        Case{"what is due", {}, all[4].due, 100, slice(0, 5), all[5]},
                        Case{"nothing due", {}, all[0].due - 1ms, 100, {}, all[0]},
                        Case{"from, inclusive", all[7], ever, 100, slice(7, 10), {}},
                        Case{"from what is no more", between, ever, 2, slice(5, 7), all[7]},
                        Case{"only the next", all[2], ever, 0, {}, all[2]}}) {
    SCOPED_TRACE(c.name);
    const auto page = spool->read_lane(lane, c.from, c.until, c.limit);
    ASSERT_TRUE(page);
    EXPECT_EQ(page->entries, c.entries);
    EXPECT_EQ(page->next, c.next);
  }
  const auto none = spool->read_lane({.domain = "z.test", .tenant = "signup"}, std::nullopt, ever, 10);
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->entries.empty());
  EXPECT_EQ(none->next, std::nullopt);
}

TEST_F(SpoolTest, CountsLanes) {
  open();
  EXPECT_TRUE(spool->scan_lanes(spool->last_id())->empty());
  accept(make_message({"b.test", "a.test", "b.test"}));
  NewMessage later = make_message({"b.test"});
  later.envelope.not_before = test_time() + 1h;
  accept(std::move(later));
  NewMessage other = make_message({"b.test"});
  other.envelope.klass = mail::MailClass::Transactional;
  accept(std::move(other));
  const MessageId last = spool->last_id();
  accept(make_message({"b.test"}));  // after the scan began
  const auto lanes = spool->scan_lanes(last);
  ASSERT_TRUE(lanes);
  ASSERT_EQ(lanes->size(), 3u);
  const auto expect = [&](std::size_t i, std::string_view domain, mail::MailClass klass, std::uint64_t entries,
                          std::uint64_t recipients) {
    EXPECT_EQ((*lanes)[i].lane.domain, domain);
    EXPECT_EQ((*lanes)[i].lane.klass, klass);
    EXPECT_EQ((*lanes)[i].entries, entries);
    EXPECT_EQ((*lanes)[i].recipients, recipients);
    EXPECT_EQ((*lanes)[i].earliest_due, test_time());
  };
  expect(0, "a.test", mail::MailClass::Bulk, 1, 1);
  expect(1, "b.test", mail::MailClass::Transactional, 1, 1);
  expect(2, "b.test", mail::MailClass::Bulk, 2, 3);
}

TEST_F(SpoolTest, ListsAfterAPosition) {
  open();
  for (int i = 0; i < 5; ++i) accept(make_message({"a.test", "b.test"}));
  const auto all = all_due();
  ASSERT_EQ(all.size(), 10u);
  std::vector<DueEntry> paged;
  for (std::optional<DueEntry> after;;) {
    const auto page = spool->list(after, 3);
    ASSERT_TRUE(page);
    if (page->empty()) break;
    paged.insert(paged.end(), page->begin(), page->end());
    after = page->back();
  }
  EXPECT_EQ(paged, all);
}

TEST_F(SpoolTest, HasOneObjectPerMessage) {
  open();
  Accepted accepted = accept(make_message({"a.test"}));
  const MessageId id = accepted.message->id;
  EXPECT_EQ(spool->load(id)->get(), accepted.message.get());
  accepted = {};
  const auto loaded = spool->load(id);
  const auto again = spool->load(id);
  EXPECT_EQ(loaded->get(), again->get());
}

TEST_F(SpoolTest, KeepsContentsInMemoryWithinTheBudget) {
  options.body_memory_bytes = 100'000;
  open();
  std::vector<Accepted> held;
  for (int i = 0; i < 5; ++i) held.push_back(accept(make_message({"a.test"}, std::string(40'000, 'x'))));
  EXPECT_NE(held[0].message->content(), nullptr);
  EXPECT_NE(held[1].message->content(), nullptr);
  EXPECT_EQ(held[2].message->content(), nullptr) << "there is no room for it";
  EXPECT_LE(spool->stats().bytes_in_memory, options.body_memory_bytes);
  EXPECT_GE(spool->stats().bytes_in_memory, 80'000u);
  EXPECT_EQ(spool->read_content(held[2].message->id), std::string(40'000, 'x'));
  held.clear();
  EXPECT_EQ(spool->stats().bytes_in_memory, 0u);
  EXPECT_EQ(spool->refusal(), Refusal::None);
}

TEST_F(SpoolTest, IdsRiseThoughTheClockStepsBack) {
  open();
  MessageId last = accept(make_message({"a.test"})).message->id;
  EXPECT_EQ(last.value & 0xff, options.node);
  const auto expect_higher = [&] {
    const MessageId id = accept(make_message({"a.test"})).message->id;
    EXPECT_GT(id, last);
    EXPECT_EQ(spool->last_id(), id);
    last = id;
  };
  expect_higher();
  clock.set_calendar(test_time() - 24h);
  expect_higher();
  restart();
  EXPECT_GE(spool->last_id(), last);
  expect_higher();
  clock.set_calendar(from_millis(0));
  options.node = 7;
  restart();
  expect_higher();
  EXPECT_EQ(last.value & 0xff, 7u);
  clock.set_calendar(test_time() + 24h);
  expect_higher();
}

TEST_F(SpoolTest, RemembersCounters) {
  open();
  EXPECT_EQ(spool->counter("warmup/out01"), std::nullopt);
  spool->set_counter("warmup/out01", "12");
  spool->set_counter("warmup/out01", "13");
  spool->set_counter("held", std::string("\0\1", 2));
  EXPECT_EQ(spool->counter("warmup/out01"), "13");
  restart();
  EXPECT_EQ(spool->counter("warmup/out01"), "13");
  EXPECT_EQ(spool->counter("held"), std::string("\0\1", 2));
}

TEST_F(SpoolTest, RefusesWorkAfterClose) {
  open();
  const Accepted accepted = accept(make_message({"a.test"}));
  spool->close();
  spool->close();
  EXPECT_EQ(try_accept(make_message({"a.test"})).error().code, Errc::Closed);
  spool->record({}, nullptr);
  spool->set_counter("a", "b");
  EXPECT_EQ(spool->read_content(accepted.message->id).error().code, Errc::Closed);
  EXPECT_EQ(spool->scan_lanes(spool->last_id()).error().code, Errc::Closed);
}

TEST_F(SpoolTest, CloseWritesWhatWasLeft) {
  open();
  const Accepted accepted = accept(make_message({"a.test", "b.test"}));
  std::vector<Outcome> outcomes;
  outcomes.push_back(outcome_of(accepted.message, accepted.entries[0], State::Delivered));
  bool applied = false;
  spool->record(std::move(outcomes), [&] { applied = true; });
  spool->close();
  EXPECT_TRUE(applied);
  open();
  EXPECT_EQ(all_due(), std::vector{accepted.entries[1]});
}

TEST_F(SpoolTest, RefusesAFormatItDoesNotKnow) {
  open();
  accept(make_message({"a.test"}));
  close();
  {
    auto store = Store::open(options, nullptr);
    ASSERT_TRUE(store);
    rocksdb::WriteBatch batch;
    batch.Put((*store)->family(Family::Default), "format", "2");
    ASSERT_TRUE((*store)->write(batch, true).ok());
  }
  const auto opened = Spool::open(options, clock);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::UnknownFormat);
  EXPECT_NE(opened.error().message().find("version 2"), std::string::npos) << opened.error().message();
}

TEST_F(SpoolTest, CountsMessagesAcrossRestarts) {
  open();
  std::vector<Accepted> held;
  for (int i = 0; i < 5; ++i) held.push_back(accept(make_message({"a.test"})));
  record(outcome_of(held[1].message, held[1].entries[0], State::Delivered));
  EXPECT_EQ(spool->stats().messages, 4u);
  EXPECT_EQ(spool->stats().accepted, 5u);
  restart();
  EXPECT_EQ(spool->stats().messages, 4u);
  EXPECT_EQ(spool->stats().accepted, 0u);
}

/// Random outcomes, moves, drops and restarts: what memory believes to be on disk is what is there.
TEST_F(SpoolTest, LedgerAndDiskAgreeWhateverHappens) {
  SeededRandom random(7);
  open();
  std::map<MessageId, MessagePtr> live;
  for (int step = 0; step < 1500; ++step) {
    const auto due = all_due();
    const auto what = random.between(0, 9);
    if (due.empty() || what == 0) {
      std::vector<std::string> domains;
      for (std::uint64_t n = random.between(1, 6); n > 0; --n)
        domains.push_back(std::string(1, static_cast<char>('a' + random.between(0, 2))) + ".test");
      const Accepted accepted = accept(make_message(domains));
      live[accepted.message->id] = accepted.message;
      continue;
    }
    DueEntry entry = due[random.between(0, due.size() - 1)];
    if (what == 1) {
      live.clear();
      if (random.between(0, 9) == 0) restart();
      continue;
    }
    const TimePoint due_again = test_time() + std::chrono::seconds(random.between(0, 3));
    if (what == 2) {
      reschedule({entry}, due_again);
      continue;
    }
    auto loaded = spool->load(entry.id);
    ASSERT_TRUE(loaded) << loaded.error().message();
    live[entry.id] = *loaded;
    if (random.between(0, 9) == 0) entry.due += 1ms;  // taken before it was moved
    Outcome outcome{.message = *loaded, .entry = entry};
    DueEntry first = entry, second = entry;
    first.recipients.clear(), second.recipients.clear();
    first.due = due_again, second.due = due_again + std::chrono::seconds(random.between(0, 1));
    for (const auto recipient : entry.recipients) {
      const auto state = static_cast<State>(random.between(0, 3));
      if (random.between(0, 5) > 0) outcome.changes.push_back({.recipient = recipient, .progress = progress_of(state)});
      if (state == State::Pending && random.between(0, 9) > 0)
        (random.between(0, 1) ? first : second).recipients.push_back(recipient);
    }
    if (!first.recipients.empty()) outcome.remaining.push_back(first);
    if (!second.recipients.empty()) outcome.remaining.push_back(second);
    record(std::move(outcome));
    if (step % 100 == 99) {
      std::vector<DueEntry> from_ledgers;
      for (const auto& [id, message] : live) {
        if (message->ledger()->removed) continue;
        for (const auto& r : message->ledger()->records) from_ledgers.push_back(due_entry(*message, r));
      }
      const auto now = all_due();
      for (const DueEntry& e : from_ledgers) EXPECT_NE(std::find(now.begin(), now.end(), e), now.end());
      live.clear();
      close();
      check_nothing_half_there(options);
      open();
    }
  }
}

TEST_F(SpoolTest, ServesManyThreads) {
  options.cache_bytes = 4 << 20;
  options.body_memory_bytes = 1 << 20;
  open();
  constexpr int kProducers = 6, kMessages = 150;
  std::atomic<int> finished{0};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Accepted> ready;
  spool->on_accepted([&](std::vector<Accepted> batch) {
    const std::scoped_lock lock(mutex);
    for (Accepted& a : batch) ready.push_back(std::move(a));
    changed.notify_all();
  });
  std::vector<std::jthread> threads;
  for (int p = 0; p < kProducers; ++p) {
    threads.emplace_back([&, p] {
      for (int i = 0; i < kMessages; ++i)
        EXPECT_TRUE(try_accept(make_message({fmt::format("d{}.test", i % 5), "e.test"}, std::string(2000 + p, 'x'))));
    });
  }
  for (int w = 0; w < 2; ++w) {
    threads.emplace_back([&, w] {
      SeededRandom random(static_cast<std::uint64_t>(w));
      for (;;) {
        Accepted accepted;
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return !ready.empty() || finished == kProducers * kMessages; });
          if (ready.empty()) return;
          accepted = std::move(ready.back());
          ready.pop_back();
        }
        const MessageId id = accepted.message->id;
        accepted.message.reset();
        for (const DueEntry& entry : accepted.entries) {
          auto message = spool->load(id);  // from memory or from disk, whichever it is
          ASSERT_TRUE(message) << message.error().message();
          ASSERT_TRUE(spool->load_content(*message));
          std::vector<Outcome> outcomes;
          outcomes.push_back(outcome_of(*message, entry, random.between(0, 1) ? State::Delivered : State::Bounced));
          *message = nullptr;
          spool->record(std::move(outcomes), nullptr);
        }
        const std::scoped_lock lock(mutex);
        ++finished;
        changed.notify_all();
      }
    });
  }
  threads.emplace_back([&] {
    while (finished < kProducers * kMessages) {
      EXPECT_TRUE(spool->scan_lanes(spool->last_id()));
      const auto entries = spool->list(std::nullopt, 20);
      EXPECT_TRUE(entries);
      spool->reschedule(*entries, test_time() + 1min, nullptr);
      if (!entries->empty()) static_cast<void>(spool->show(entries->front().id));
      static_cast<void>(spool->stats());
      static_cast<void>(spool->refusal());
    }
  });
  threads.clear();
  close();
  EXPECT_TRUE(check_nothing_half_there(options).empty());
}

}  // namespace
}  // namespace danki::queue::testing
