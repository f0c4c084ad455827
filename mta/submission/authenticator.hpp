#pragma once

#include "base/time.hpp"
#include "base/worker_pool.hpp"
#include "mta/submission/auth_failures.hpp"
#include "mta/submission/options.hpp"
#include "mta/submission/sasl.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace danki::submission {

enum class AuthVerdict { Accepted, Refused, Busy, TooManyFailures };

struct AuthResult {
  AuthVerdict verdict = AuthVerdict::Refused;
  Duration delay{};  ///< hold the answer back so long
};

/// Checks passwords against crypt(5) hashes, which costs tens of milliseconds each by intent: on two threads of its
/// own, with a bounded queue. Equal questions share one answer, and a success is remembered for ten minutes under a
/// keyed hash of name and password; the key is random and never leaves the process.
///
/// Failures are counted for each client and name, so that one tenant's wrong password does not stop the others behind
/// their common address: `limits.auth_failures` of them stop that name there, before any hashing. kOverallFactor times
/// as many under all names stop the client. A password that is remembered is taken in spite of both, until as many
/// failures under its own name: a right one must not suffer from others, yet nobody may guess without end.
/// Thread-safe.
class Authenticator {
 public:
  static constexpr unsigned kThreads = 2;
  static constexpr std::size_t kMaxQueued = 64;
  static constexpr std::chrono::minutes kRememberFor{10};
  static constexpr std::size_t kOverallFactor = 10;

  Authenticator(const Clock& clock, std::shared_ptr<const Options> options);
  ~Authenticator();

  using Done = std::function<void(AuthResult)>;
  /// Judged by the newest options. `client` is the key of its failures. `done` is called once, on this thread or on one
  /// of the pool's; not at all after stop().
  void check(std::string client, Credentials credentials, Done done);
  /// The passwords may have changed: drops remembered successes. A check that is under way is answered by the options
  /// it began with, shared with no later question and not remembered.
  void set_options(std::shared_ptr<const Options> options);
  void stop() { pool_.stop(); }
  std::uint64_t failures() const { return failed_.load(std::memory_order_relaxed); }
  /// Hashes computed so far; shown for tests.
  std::uint64_t hashed() const { return hashed_.load(std::memory_order_relaxed); }

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Waiter {
    std::string client;
    Done done;
  };
  struct Job;

  std::shared_ptr<const Options> newest_options();
  Digest digest_of(const Credentials& credentials) const;
  Digest keyed_hash(std::string_view text) const;
  const std::vector<std::string>& imitated(const Options& options, std::string_view name) const;
  bool is_remembered(const std::string& name, const Digest& digest, SteadyPoint now);
  void run(const std::shared_ptr<Job>& job);
  void finish(const Job& job, bool accepted);
  AuthResult refused(const std::string& client, std::string_view name);

  const Clock& clock_;
  std::array<unsigned char, 32> key_;
  AuthFailures client_failures_;  ///< under all names
  AuthFailures name_failures_;    ///< of a client under one name
  std::atomic<std::uint64_t> failed_{0}, hashed_{0};

  std::mutex mutex_;  ///< over what follows
  struct Remembered {
    Digest digest;
    SteadyPoint until;
  };
  std::map<std::string, std::vector<Remembered>, std::less<>> remembered_;  ///< by tenant
  std::shared_ptr<const Options> options_;  // shared with sessions, and with jobs that began under older ones
  std::map<std::pair<const Options*, Digest>, std::vector<Waiter>> in_flight_;  ///< a job keeps its options alive

  WorkerPool pool_;
};

}  // namespace danki::submission
