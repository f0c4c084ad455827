#include "tests/queue/spool_fixture.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <thread>

/// The power goes at a random moment while mail comes in and goes out. What every later start must find: all
/// acknowledged messages whose end was not recorded, byte for byte, with one of the states they went through, and
/// nothing half there.
namespace danki::queue::testing {
namespace {

using State = RecipientProgress::State;
using namespace std::chrono_literals;

/// What the test knows of one message.
struct Known {
  mail::Envelope envelope;
  std::string content;
  bool acknowledged = false;
  /// After each outcome handed over: progress and due records. The first is the state after acceptance.
  struct Stage {
    std::vector<RecipientProgress> progress;
    std::vector<DueEntry> entries;
  };
  std::vector<Stage> stages;
  std::size_t recorded = 0;  ///< stages known to be on stable storage: a later accept was acknowledged after them
  std::size_t applied = 0;   ///< stages known to be in the database
  bool may_be_gone = false;  ///< an outcome that ends it was handed over
};

/// Mail in and out until the power goes: several sessions, outcomes of all kinds.
class Traffic {
 public:
  Traffic(Spool& spool, FaultFileSystem& files, std::uint64_t seed) : spool_(spool), files_(files), seed_(seed) {}

  void run(std::map<MessageId, Known>& known) {
    known_ = &known;
    spool_.on_accepted([this](std::vector<Accepted> batch) { announced(std::move(batch)); });
    {
      std::vector<std::jthread> sessions;
      for (std::uint64_t i = 0; i < 3; ++i) sessions.emplace_back([this, i] { submit(i); });
      deliver();
    }
    spool_.close();
  }

 private:
  void announced(std::vector<Accepted> batch) {
    const std::scoped_lock lock(mutex_);
    for (Accepted& accepted : batch) {
      Known& known = (*known_)[accepted.message->id];
      known.envelope = accepted.message->envelope;
      if (const auto content = accepted.message->content()) known.content = *content;
      known.stages.push_back({.progress = accepted.message->progress, .entries = accepted.entries});
      // Whether on disk by this time or not, the stages before it were written by then.
      ready_.push_back(std::move(accepted));
    }
    changed_.notify_all();
  }

  void submit(std::uint64_t session) {
    SeededRandom random(seed_ * 100 + session);
    while (!files_.is_dead()) {
      std::vector<std::string> domains;
      for (std::uint64_t n = random.between(1, 3); n > 0; --n)
        domains.push_back(fmt::format("d{}.test", random.between(0, 3)));
      const std::size_t size = random.between(0, 3) == 0 ? random.between(30'000, 90'000) : random.between(0, 6000);
      std::string content(size, '\0');
      std::generate(content.begin(), content.end(), [&] { return static_cast<char>(random.next()); });
      std::vector<std::pair<Known*, std::size_t>> applied_before;
      {
        const std::scoped_lock lock(mutex_);
        for (auto& [id, k] : *known_) {
          if (k.applied > k.recorded) applied_before.emplace_back(&k, k.applied);
        }
      }
      std::promise<Result<MessageId>> done;
      spool_.accept(make_message(domains, content), [&](Result<MessageId> id) { done.set_value(std::move(id)); });
      const auto id = done.get_future().get();
      if (!id) continue;
      const std::scoped_lock lock(mutex_);
      Known& known = (*known_)[*id];
      known.content = content;
      known.acknowledged = true;
      // Its sync covered all that was in the database before.
      for (const auto& [other, applied] : applied_before) other->recorded = std::max(other->recorded, applied);
    }
    changed_.notify_all();
  }

  void deliver() {
    SeededRandom random(seed_ * 100 + 99);
    std::vector<std::pair<MessagePtr, DueEntry>> waiting;
    while (!files_.is_dead()) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !ready_.empty() || !waiting.empty() || files_.is_dead(); });
        for (Accepted& accepted : ready_) {
          for (DueEntry& entry : accepted.entries) waiting.emplace_back(accepted.message, std::move(entry));
        }
        ready_.clear();
      }
      std::vector<Outcome> outcomes;
      for (std::uint64_t n = random.between(1, 4); n > 0 && !waiting.empty(); --n) {
        std::swap(waiting[random.between(0, waiting.size() - 1)], waiting.back());
        auto [message, entry] = std::move(waiting.back());
        waiting.pop_back();
        if (random.between(0, 4) == 0) continue;  // nobody tries it any more in this run
        Outcome outcome = attempt(std::move(message), std::move(entry), random);
        for (const DueEntry& remaining : outcome.remaining) waiting.emplace_back(outcome.message, remaining);
        outcomes.push_back(std::move(outcome));
      }
      hand_over(std::move(outcomes));
    }
  }

  Outcome attempt(MessagePtr message, DueEntry entry, Random& random) {
    Outcome outcome{.message = std::move(message), .entry = entry};
    DueEntry later = entry;
    later.recipients.clear();
    later.due = entry.due + std::chrono::milliseconds(random.between(1, 1000));
    for (const auto recipient : entry.recipients) {
      const auto state = random.between(0, 1) ? State::Pending : static_cast<State>(random.between(1, 3));
      outcome.changes.push_back(
          {.recipient = recipient, .progress = progress_of(state, static_cast<std::uint32_t>(random.between(1, 9)))});
      if (state == State::Pending) later.recipients.push_back(recipient);
    }
    if (!later.recipients.empty()) outcome.remaining.push_back(std::move(later));
    return outcome;
  }

  void hand_over(std::vector<Outcome> outcomes) {
    std::vector<std::pair<MessageId, std::size_t>> stages;
    {
      const std::scoped_lock lock(mutex_);
      for (const Outcome& outcome : outcomes) {
        Known& known = (*known_)[outcome.message->id];
        Known::Stage stage = known.stages.back();
        for (const auto& change : outcome.changes) stage.progress[change.recipient] = change.progress;
        std::erase(stage.entries, outcome.entry);
        stage.entries.insert(stage.entries.end(), outcome.remaining.begin(), outcome.remaining.end());
        known.may_be_gone |= stage.entries.empty();
        known.stages.push_back(std::move(stage));
        stages.emplace_back(outcome.message->id, known.stages.size() - 1);
      }
    }
    spool_.record(std::move(outcomes), [this, stages] {
      const std::scoped_lock lock(mutex_);
      for (const auto& [id, stage] : stages) (*known_)[id].applied = std::max((*known_)[id].applied, stage);
    });
  }

  Spool& spool_;
  FaultFileSystem& files_;
  const std::uint64_t seed_;
  std::map<MessageId, Known>* known_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Accepted> ready_;
};

class PowerCutTest : public SpoolTest {
 protected:
  /// Mail that was refused because its write failed may be there as well, whole.
  void expect_all_there(std::map<MessageId, Known>& known) {
    const auto ids = check_nothing_half_there(options);
    const std::set<MessageId> present(ids.begin(), ids.end());
    open();
    for (auto& [id, k] : known) {
      if (!present.contains(id)) {
        EXPECT_TRUE(k.may_be_gone || !k.acknowledged) << "lost: " << id.to_string();
        continue;
      }
      if (!k.acknowledged) continue;  // refused, or the answer never came: a copy too many at worst
      ++survivors_;
      expect_as_known(id, k);
    }
    close();
  }

  void expect_as_known(MessageId id, Known& k) {
    const auto shown = spool->show(id);
    ASSERT_TRUE(shown) << shown.error().message();
    EXPECT_EQ(shown->envelope, k.envelope);
    const auto body = spool->read_content(id);
    ASSERT_TRUE(body);
    EXPECT_TRUE(*body == k.content) << "another body: " << id.to_string();
    auto entries = shown->entries;
    std::sort(entries.begin(), entries.end(),
              [](const DueEntry& a, const DueEntry& b) { return due_key(a) < due_key(b); });
    bool is_known = false;
    for (std::size_t stage = k.recorded; stage < k.stages.size() && !is_known; ++stage) {
      auto want = k.stages[stage].entries;
      std::sort(want.begin(), want.end(), [](const DueEntry& a, const DueEntry& b) { return due_key(a) < due_key(b); });
      is_known = want == entries && k.stages[stage].progress == shown->progress;
    }
    EXPECT_TRUE(is_known) << "a state it never had, or one from before what was synced: " << id.to_string();
  }

  std::size_t survivors_ = 0;
};

TEST_F(PowerCutTest, LosesNothingThatWasAcknowledged) {
  options.cache_bytes = 2 << 20;  // tables are written often
  options.max_wal_bytes = 4 << 20;
  options.removal_sync = 20ms;
  options.body_memory_bytes = 256 << 20;
  std::size_t messages = 0;
  // Each costs about a second of waiting; DANKI_POWER_CUTS asks for more of them.
  const char* wanted = std::getenv("DANKI_POWER_CUTS");
  const std::uint64_t seeds = wanted ? std::strtoull(wanted, nullptr, 10) : 25;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    SeededRandom random(seed);
    std::filesystem::remove_all(options.directory);
    std::map<MessageId, Known> known;
    FaultEnv fault(scratch.path() / "attic");
    // Sometimes the power goes again during what follows the first cut.
    const std::uint64_t cuts = random.between(1, 2);
    for (std::uint64_t cut = 0; cut < cuts; ++cut) {
      fault.files->cut_power_after(random.between(1, seed % 3 == 0 ? 150 : 1500));
      if (auto opened = Spool::open(options, clock, fault.env.get())) {
        spool = std::move(*opened);
        std::map<MessageId, Known> fresh;
        Traffic(*spool, *fault.files, seed * 10 + cut).run(fresh);
        spool.reset();
        messages += fresh.size();
        known.merge(fresh);
      } else {
        ASSERT_TRUE(fault.files->is_dead()) << "what a cut left does not open: " << opened.error().message();
      }
      ASSERT_TRUE(fault.files->is_dead());
      fault.files->lose_unsynced(random);
    }
    expect_all_there(known);
    if (HasFailure()) return;
  }
  RecordProperty("messages", static_cast<int>(messages));
  EXPECT_GT(survivors_, 100u) << "or nothing was tested";
}

}  // namespace
}  // namespace danki::queue::testing
