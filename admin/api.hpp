#pragma once

#include "admin/ports.hpp"
#include "admin/request.hpp"

#include <atomic>
#include <functional>

namespace danki {
class WorkerPool;
}
namespace danki::queue {
class Spool;
}

namespace danki::admin {

/// The routes under /v1, /healthz and /readyz. Knows HTTP's words, no sockets. What reads the spool runs on `workers`,
/// the rest asks the ports; handle() itself never blocks.
class Api {
 public:
  using Done = std::function<void(Response)>;

  /// All must outlive it, and it the workers' last work; answers of ports may come later.
  Api(Ports& ports, queue::Spool& spool, const Clock& clock, WorkerPool& workers);

  /// `done` is called once, on any thread, perhaps before this returns.
  void handle(Request request, Done done);

  /// Paths that probes may ask without a token: they tell nothing but that we live.
  static bool is_public(std::string_view target);

 private:
  struct Route;
  static const std::vector<Route>& routes();

  void health(const Request&, const Target&, Done done);
  void ready(const Request&, const Target&, Done done);
  void status(const Request&, const Target&, Done done);
  void queue_summary(const Request&, const Target&, Done done);
  void list_messages(const Request&, const Target&, Done done);
  void show_message(const Request&, const Target&, Done done);
  void message_content(const Request&, const Target&, Done done);
  void retry(const Request& request, const Target&, Done done);
  void reload(const Request&, const Target&, Done done);

  /// Runs `work` on a worker and answers with its result; 503 when they are all taken.
  void on_worker(std::function<Response()> work, Done done);
  Response read_content(queue::MessageId id, std::shared_ptr<void> hold);

  Ports& ports_;
  queue::Spool& spool_;
  const Clock& clock_;
  WorkerPool& workers_;
  std::shared_ptr<std::atomic<int>> contents_out_;  // shared with answers still being sent
};

}  // namespace danki::admin
