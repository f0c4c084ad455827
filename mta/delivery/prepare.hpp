#pragma once

#include "base/time.hpp"
#include "dkim/signer.hpp"
#include "events/event_log.hpp"
#include "queue/spool.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

/// The stage between commit and first attempt: signs with DKIM on threads of its own, transactional first, below the
/// CPU priority of accepting.
namespace danki::delivery {

struct PrepareOptions {
  std::shared_ptr<const dkim::KeyRing> keys;  // shared with submission's gate
  bool send_unsigned = false;                 ///< mail from a domain without a key goes out unsigned
  std::chrono::seconds sign_max_age{24 * 3600};
};

class Prepare {
 public:
  struct Finished {
    std::uint64_t item;
    std::string error;  ///< empty: message->prepared() is set
  };
  /// Runs on a prepare thread. While more waits, up to kTogether are told of at once, none held back longer
  /// than kHeldBack and one more signature: waking the scheduler for each costs a tenth of a signature.
  using Done = std::function<void(std::vector<Finished> finished)>;
  static constexpr std::size_t kTogether = 8;
  static constexpr std::chrono::milliseconds kHeldBack{3};

  Prepare(unsigned threads, queue::Spool& spool, events::EventLog& events, const Clock& clock, PrepareOptions options,
          Done done);
  ~Prepare();

  /// Any thread. Bounded by what the scheduler keeps in memory.
  void submit(std::uint64_t item, queue::MessagePtr message);
  void set_options(PrepareOptions options);
  /// True if `message` may go out as it is. Any thread.
  bool is_prepared(const queue::Message& message) const;
  void stop();

 private:
  struct Job {
    std::uint64_t item;
    queue::MessagePtr message;
  };
  /// What each thread keeps.
  struct Own {
    std::shared_ptr<const PrepareOptions> options;  // shared with set_options()
    std::uint64_t version = 0;
    std::optional<dkim::Signer> signer;
  };
  /// The next job; nullopt when none is waiting and the thread has something to tell first.
  std::optional<Job> take(bool may_wait, Own& own);
  void run(unsigned index);
  void finish(const Job& job, const std::string& error, std::vector<Finished>& finished);
  std::string prepare(const queue::MessagePtr& message, dkim::Signer& signer, const PrepareOptions& options);

  queue::Spool& spool_;
  events::EventLog& events_;
  const Clock& clock_;
  Done done_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<const PrepareOptions> options_;  // shared with the threads while they sign
  std::uint64_t options_version_ = 0;
  std::deque<Job> jobs_[2];  // by class
  /// What is being signed, and the items that wait for the same signature.
  std::unordered_map<queue::MessageId, std::vector<std::uint64_t>, queue::MessageIdHash> under_way_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace danki::delivery
