#pragma once

#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace danki {

/// Owns the coroutines of one object: spawns them by name, stops them and waits for them. Make it the owner's last
/// member. All calls come from the executor's thread (an io_context run by one thread, or a strand). An exception that
/// ends a task is logged with its name; cancellation is silent.
class TaskScope {
 public:
  explicit TaskScope(boost::asio::any_io_executor executor);
  /// Asserts that no task is left: request_stop(), then join() or wait for empty() first.
  ~TaskScope();
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

  /// After request_stop() nothing is started and false is returned. The task may begin before this returns.
  bool spawn(std::string name, boost::asio::awaitable<void> task);
  /// Cancels (terminal) what the tasks await.
  void request_stop();
  /// Returns when the last task has ended. May be awaited by several, not by one of the scope's own tasks.
  boost::asio::awaitable<void> join();
  std::size_t size() const;
  bool empty() const { return size() == 0; }

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with each running task's completion, which may come after the scope is gone
};

}  // namespace danki
