#pragma once

#include "bench/sink_session.hpp"
#include "tests/support/sockets.hpp"

#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

namespace danki::bench {

/// The sockets half of smtp-sink-fast: one epoll loop on one thread over all listeners, connections and the control
/// socket. One thread takes about 60,000 messages a second, more than anything measured with it.
class SinkServer {
 public:
  SinkServer(SinkLedger& ledger, int delay_ms);
  ~SinkServer();
  SinkServer(const SinkServer&) = delete;
  SinkServer& operator=(const SinkServer&) = delete;

  support::Endpoint listen(const support::Endpoint& endpoint);  ///< returns where it listens, its port chosen
  void listen_for_control(const std::string& path);
  /// Replies that SIGUSR1 switches on, and off again.
  void set_alternate_replies(std::array<std::string, kSinkStages> replies);

  void run();  ///< until SIGTERM, SIGINT or the control command "quit"
  std::string stats_json() const;

 private:
  struct Watched;
  struct Listener;
  struct Connection;
  struct Control;
  struct DueReply;

  void accept_all(Listener& listener);
  void accept_control();
  void on_connection(Connection& connection, unsigned events);
  void read_from(Connection& connection);
  void answer(Connection& connection);
  void send_pending(Connection& connection);
  void send_due();
  int milliseconds_to_next_due() const;
  void on_control(Control& control);
  std::string obey(const std::string& line);
  void on_signal();
  void watch(Watched& watched, unsigned events);
  void close(Watched& watched);

  SinkLedger& ledger_;
  int delay_ms_;
  bool running_ = true;
  bool alternate_on_ = false;
  std::array<std::string, kSinkStages> alternate_;
  support::Descriptor epoll_;
  std::string control_path_;
  std::unique_ptr<Watched> signals_;
  std::unique_ptr<Watched> control_listener_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::map<std::string, SinkCounters> clients_;   ///< nodes stay put: sessions keep references
  std::map<int, std::unique_ptr<Watched>> open_;  ///< connections and control connections by descriptor
  std::vector<std::unique_ptr<Watched>> closed_;  ///< freed after the current batch of events, which may name them
  std::priority_queue<DueReply> due_;
  std::vector<char> buffer_;
};

}  // namespace danki::bench
