#pragma once

#include "bench/load_options.hpp"
#include "bench/message_template.hpp"
#include "tests/support/sockets.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

namespace danki::bench {

using SteadyTime = std::chrono::steady_clock::time_point;

/// What all threads of a run share.
struct LoadRun {
  const LoadOptions& options;
  const MessageTemplate& message;
  std::vector<std::string> domains;
  support::Endpoint server;
  int acked_fd = -1;  ///< opened with O_APPEND: one write(2) a line, from any thread
  SteadyTime started_at;
  std::atomic<uint64_t> next_number{0};
};

struct LoadResult {
  uint64_t sent = 0;      ///< messages whose end of data was handed to the kernel
  uint64_t accepted = 0;  ///< answered 250 after it
  uint64_t unknown = 0;   ///< the connection was lost between the two; never sent again
  uint64_t given_up = 0;  ///< not accepted after all retries, or no connection any more
  uint64_t retries = 0;
  uint64_t connections = 0;
  uint64_t connections_lost = 0;
  std::map<int, uint64_t> refused;    ///< by reply code
  std::vector<float> dot_ms;          ///< end of data to 250
  std::vector<float> transaction_ms;  ///< MAIL to 250
  SteadyTime last_accepted_at;

  void add(const LoadResult& other);
};

/// One thread's share of the sessions, on one epoll loop.
class LoadWorker {
 public:
  LoadWorker(LoadRun& run, int sessions);
  ~LoadWorker();
  LoadResult run();

 private:
  struct Session;
  struct Wait {
    SteadyTime until;
    Session* session;
    bool operator<(const Wait& other) const { return until > other.until; }  // earliest on top
  };

  void connect(Session& session);
  void on_event(Session& session, unsigned events);
  void read_from(Session& session);
  void on_reply(Session& session, int code);
  void next_message(Session& session);
  void start_transaction(Session& session);
  void send_recipient(Session& session);
  void on_data_reply(Session& session, int code);
  void on_dot_reply(Session& session, int code);
  void refused(Session& session, int code);
  void command(Session& session, std::string_view text);
  void send_pending(Session& session);
  void lost(Session& session);
  void wait(Session& session, SteadyTime until);
  void wake_due();
  void finish(Session& session);
  std::string recipient(uint64_t number, int index) const;
  bool has_ended(SteadyTime now) const;

  LoadRun& run_;
  const LoadOptions& options_;
  LoadResult result_;
  support::Descriptor epoll_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::priority_queue<Wait> waits_;
  std::size_t open_sessions_ = 0;
};

}  // namespace danki::bench
