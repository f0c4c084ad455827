#pragma once

#include <functional>
#include <mutex>
#include <vector>

namespace danki::daemon {

/// Signals and requests for the main thread. Block the signals before any thread starts: construct this first.
class MainLoop {
 public:
  enum class Wake { Stop, Reload, Request };

  /// Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR2 in this thread and those it starts; ignores SIGPIPE.
  MainLoop();

  /// Waits for a signal, or a request() of another thread.
  Wake wait();
  /// Runs `work` on the main thread soon. Any thread.
  void request(std::function<void()> work);
  /// The work requested so far.
  std::vector<std::function<void()>> take();

 private:
  std::mutex mutex_;
  std::vector<std::function<void()>> requested_;
};

}  // namespace danki::daemon
