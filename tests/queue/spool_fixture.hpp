#pragma once

#include "queue/ledger.hpp"
#include "queue/reader.hpp"
#include "queue/spool.hpp"
#include "queue/store.hpp"
#include "tests/fakes/clock.hpp"
#include "tests/queue/fault_file_system.hpp"
#include "tests/queue/sanitizer_suppressions.hpp"

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace danki::queue::testing {

/// A directory of its own, removed at the end. In memory where there is such a place: the tests' power cuts are played,
/// not real.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    const std::filesystem::path memory = "/dev/shm";
    const auto parent = ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
    std::string name = (parent / "danki-spool-XXXXXX").string();
    if (!::mkdtemp(name.data()))
      throw std::filesystem::filesystem_error("mkdtemp", std::make_error_code(std::errc(errno)));
    path_ = name;
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline TimePoint test_time() {
  return fakes::FakeClock().now();
}

/// A message to user<i>@<domain> for each of `domains`.
inline NewMessage make_message(const std::vector<std::string>& domains,
                               std::string content = "Subject: x\r\n\r\nHello\r\n") {
  NewMessage message;
  mail::Envelope& e = message.envelope;
  e.reverse_path = {.local = "bounces+1", .domain = "example.com"};
  for (std::size_t i = 0; i < domains.size(); ++i)
    e.recipients.push_back({.address = {.local = fmt::format("user{}", i), .domain = domains[i]},
                            .orcpt = "rfc822;x+2Bfoo@example.org",
                            .notify = mail::kNotifyFailure});
  e.envid = "QQ314159";
  e.ret = mail::DsnReturn::Headers;
  e.body = mail::BodyType::EightBitMime;
  e.smtputf8 = true;
  e.tenant = "signup";
  e.klass = mail::MailClass::Bulk;
  e.pool = "main";
  e.campaign = "launch";
  e.from_domain = "example.com";
  e.session = "s1";
  e.size = content.size();
  e.arrived_at = test_time();
  e.expires_at = test_time() + std::chrono::hours(72);
  message.content = std::move(content);
  return message;
}

inline RecipientProgress progress_of(RecipientProgress::State state, std::uint32_t attempts = 1) {
  RecipientProgress progress;
  progress.state = state;
  progress.attempts = attempts;
  progress.last_attempt_at = test_time() + std::chrono::seconds(attempts);
  progress.last_source = "out01";
  progress.last_mx = "mx1.example.net";
  progress.last_reply = mail::Reply{.code = 451, .enhanced = mail::EnhancedStatus{4, 7, 1}, .text = "try again\nlater"};
  progress.reason = state == RecipientProgress::State::Expired ? "expired" : "";
  return progress;
}

/// The outcome in which each recipient of `entry` gets `state`; with Pending they are due again at `due`.
inline Outcome outcome_of(MessagePtr message, DueEntry entry, RecipientProgress::State state, TimePoint due = {},
                          std::uint32_t attempts = 1) {
  Outcome outcome;
  outcome.message = std::move(message);
  for (const auto recipient : entry.recipients)
    outcome.changes.push_back({.recipient = recipient, .progress = progress_of(state, attempts)});
  if (state == RecipientProgress::State::Pending) {
    DueEntry later = entry;
    later.due = due;
    outcome.remaining.push_back(std::move(later));
  }
  outcome.entry = std::move(entry);
  return outcome;
}

/// The condition comes true by the spool's own threads; the pauses only keep the test from taking the processor.
template <class F>
bool comes_true(F&& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// What the sink was told, for whoever waits for it.
class AcceptedLog {
 public:
  void add(std::vector<Accepted> batch) {
    {
      const std::scoped_lock lock(mutex_);
      for (Accepted& accepted : batch) accepted_.emplace(accepted.message->id, std::move(accepted));
    }
    changed_.notify_all();
  }
  Accepted take(MessageId id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return accepted_.contains(id); });
    auto node = accepted_.extract(id);
    return std::move(node.mapped());
  }
  /// The first one not taken yet.
  Accepted take_any() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !accepted_.empty(); });
    auto node = accepted_.extract(accepted_.begin());
    return std::move(node.mapped());
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<MessageId, Accepted> accepted_;
};

/// A spool in a scratch directory that can be closed and opened again.
class SpoolTest : public ::testing::Test {
 protected:
  SpoolTest() {
    options.directory = scratch.path() / "spool";
    options.reserve_file_bytes = 1 << 20;
    options.disk_reserve_bytes = 1 << 20;
  }
  ~SpoolTest() override { close(); }

  void open(rocksdb::Env* env = nullptr) {
    auto opened = Spool::open(options, clock, env);
    ASSERT_TRUE(opened) << opened.error().message();
    spool = std::move(*opened);
    accepted_log = std::make_shared<AcceptedLog>();
    spool->on_accepted([log = accepted_log](std::vector<Accepted> batch) { log->add(std::move(batch)); });
  }
  void close() { spool.reset(); }
  void restart() {
    close();
    open();
  }

  Result<MessageId> try_accept(NewMessage message) {
    std::promise<Result<MessageId>> done;
    spool->accept(std::move(message), [&](Result<MessageId> id) { done.set_value(std::move(id)); });
    return done.get_future().get();
  }
  Accepted accept(NewMessage message) {
    auto id = try_accept(std::move(message));
    if (!id) throw std::runtime_error("refused: " + id.error().message());
    return accepted_log->take(*id);
  }
  void record(Outcome outcome) {
    std::vector<Outcome> outcomes;
    outcomes.push_back(std::move(outcome));
    record(std::move(outcomes));
  }
  void record(std::vector<Outcome> outcomes) {
    std::promise<void> applied;
    spool->record(std::move(outcomes), [&] { applied.set_value(); });
    applied.get_future().get();
  }
  void reschedule(std::vector<DueEntry> entries, TimePoint due) {
    std::promise<void> applied;
    spool->reschedule(std::move(entries), due, [&] { applied.set_value(); });
    applied.get_future().get();
  }
  /// Every due record there is.
  std::vector<DueEntry> all_due() {
    auto entries = spool->list(std::nullopt, 1'000'000);
    EXPECT_TRUE(entries) << entries.error().message();
    return entries ? *entries : std::vector<DueEntry>{};
  }

  ScratchDirectory scratch;
  fakes::FakeClock clock;
  SpoolOptions options;
  std::shared_ptr<AcceptedLog> accepted_log;  // with the spool's sink
  std::unique_ptr<Spool> spool;
};

/// Looks into the closed database: nothing half there. Returns the ids that are.
inline std::vector<MessageId> check_nothing_half_there(const SpoolOptions& options) {
  std::vector<MessageId> ids;
  auto store = Store::open(options, nullptr);
  EXPECT_TRUE(store) << store.error().message();
  if (!store) return ids;
  auto reading = (*store)->read();
  EXPECT_TRUE(reading);
  const auto keys_of = [&](Family family) {
    std::vector<std::pair<std::string, std::string>> records;
    const std::unique_ptr<rocksdb::Iterator> at((*reading)->NewIterator({}, reading->family(family)));
    for (at->SeekToFirst(); at->Valid(); at->Next()) records.emplace_back(at->key().ToString(), at->value().ToString());
    EXPECT_TRUE(at->status().ok()) << at->status().ToString();
    return records;
  };
  std::map<std::string, DueEntry> due;
  for (const auto& [key, value] : keys_of(Family::Due)) {
    const auto entry = decode_due(key, value);
    EXPECT_TRUE(entry) << entry.error().message();
    if (entry) due.emplace(key, *entry);
  }
  for (const auto& [key, value] : keys_of(Family::Envelopes)) {
    const MessageId id = id_of_key(key);
    ids.push_back(id);
    EXPECT_TRUE(read_body(*reading, id)) << "no body: " << id.to_string();
    const auto message = read_message(*reading, id);
    EXPECT_TRUE(message) << message.error().message();
    if (!message) continue;
    EXPECT_GT((*message)->ledger()->pending, 0u) << id.to_string();
    for (const Ledger::Record& record : (*message)->ledger()->records) {
      const DueEntry entry = due_entry(**message, record);
      const auto at = due.find(due_key(entry));
      EXPECT_NE(at, due.end()) << "no due record: " << id.to_string();
      if (at == due.end()) continue;
      EXPECT_EQ(at->second, entry);
      due.erase(at);
    }
  }
  for (const auto& [key, entry] : due) ADD_FAILURE() << "due record without message: " << entry.id.to_string();
  const std::set<MessageId> known(ids.begin(), ids.end());
  for (const Family family : {Family::Bodies, Family::State}) {
    for (const auto& [key, value] : keys_of(family))
      EXPECT_TRUE(known.contains(id_of_key(key)))
          << kFamilyNames[static_cast<std::size_t>(family)] << " without envelope: " << id_of_key(key).to_string();
  }
  const auto head = (*store)->read_head();
  EXPECT_TRUE(head);
  if (head && *head) {
    EXPECT_EQ((*head)->messages, ids.size());
  }
  return ids;
}

}  // namespace danki::queue::testing
