#pragma once

#include "base/time.hpp"
#include "dkim/signer.hpp"
#include "events/event_log.hpp"
#include "queue/spool.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

/// The stage between commit and first attempt: signs with DKIM on threads of its own, transactional first, below the
/// CPU priority of accepting.
namespace danki::delivery {

struct PrepareOptions {
  std::shared_ptr<const dkim::KeyRing> keys;  // shared with submission's gate
  bool send_unsigned = false;                 ///< mail from a domain without a key goes out unsigned
  std::string hostname;                       ///< our own DSNs come from here and may go unsigned
  std::chrono::seconds sign_max_age{24 * 3600};
};

class Prepare {
 public:
  /// `done(item, error)` runs on a prepare thread; error empty: message->prepared() is set.
  using Done = std::function<void(std::uint64_t item, std::string error)>;
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
  void run(unsigned index);
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
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace danki::delivery
