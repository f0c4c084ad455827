#include "base/task_scope.hpp"

#include "base/log.hpp"

#include <cassert>
#include <exception>
#include <list>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/multiple_exceptions.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

namespace danki {
namespace asio = boost::asio;

namespace {

bool is_cancellation(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const asio::multiple_exceptions& several) {  // both sides of `a || b` threw
    return several.first_exception() && is_cancellation(several.first_exception());
  } catch (const boost::system::system_error& e) {
    return e.code() == asio::error::operation_aborted;
  } catch (const std::system_error& e) {
    return e.code() == std::errc::operation_canceled;
  } catch (...) {
    return false;
  }
}

std::string what(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const asio::multiple_exceptions& several) {
    return several.first_exception() ? what(several.first_exception()) : several.what();
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "no std::exception";
  }
}

}  // namespace

struct TaskScope::State {
  struct Task {
    std::string name;
    asio::cancellation_signal cancel;
    bool ended = false;
  };
  using Tasks = std::list<Task>;

  asio::any_io_executor executor;
  asio::steady_timer all_ended;  ///< never expires; cancelled when the last task ends
  Tasks tasks;
  bool stopping = false;
  bool cancelling = false;  ///< request_stop() is walking over `tasks`

  explicit State(asio::any_io_executor e) : executor(e), all_ended(e, asio::steady_timer::time_point::max()) {}

  void end(Tasks::iterator task, const std::exception_ptr& failure) {
    if (failure && !is_cancellation(failure)) {
      log::error("task ended by an exception", {{"task", task->name}, {"error", what(failure)}});
    }
    task->ended = true;
    if (cancelling) return;  // its signal is on the stack below us; cancel_all() removes it
    tasks.erase(task);
    if (tasks.empty()) all_ended.cancel();
  }

  void cancel_all() {
    cancelling = true;
    for (Task& task : tasks) {
      if (!task.ended) task.cancel.emit(asio::cancellation_type::terminal);
    }
    cancelling = false;
    tasks.remove_if([](const Task& task) { return task.ended; });
    if (tasks.empty()) all_ended.cancel();
  }

  /// What co_spawn() runs. Asio 1.81 awaits once more behind a task that ended without waiting for anything, and if
  /// such a task was cancelled meanwhile that await throws into io_context::run(). So cancellation throws no longer
  /// then.
  static asio::awaitable<void> run(asio::awaitable<void> task) {
    std::exception_ptr failure;
    try {
      co_await std::move(task);
    } catch (...) {
      failure = std::current_exception();
    }
    co_await asio::this_coro::throw_if_cancelled(false);
    if (failure) std::rethrow_exception(failure);
  }

  static asio::awaitable<void> join(std::shared_ptr<State> state) {
    while (!state->tasks.empty()) co_await state->all_ended.async_wait(asio::as_tuple(asio::use_awaitable));
  }
};

TaskScope::TaskScope(asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

TaskScope::~TaskScope() {
  assert(empty() && "a task outlives its owner: request_stop() and join() first");
}

bool TaskScope::spawn(std::string name, asio::awaitable<void> task) {
  if (state_->stopping) return false;
  const auto entry = state_->tasks.emplace(state_->tasks.end());
  entry->name = std::move(name);
  auto on_end = [state = state_, entry](std::exception_ptr failure) { state->end(entry, failure); };
  asio::co_spawn(state_->executor, State::run(std::move(task)),
                 asio::bind_cancellation_slot(entry->cancel.slot(), std::move(on_end)));
  return true;
}

void TaskScope::request_stop() {
  if (std::exchange(state_->stopping, true)) return;
  // Runs here and now on the executor's thread. From elsewhere (before the io_context runs) it waits its turn, because
  // the signal that Asio keeps for a task would wait for its turn alone and may find that task gone.
  asio::dispatch(state_->executor, [state = state_] { state->cancel_all(); });
}

asio::awaitable<void> TaskScope::join() {
  return State::join(state_);
}

std::size_t TaskScope::size() const {
  return state_->tasks.size();
}

}  // namespace danki
