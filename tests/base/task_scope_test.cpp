#include "base/task_scope.hpp"

#include <memory>
#include <stdexcept>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using testing::HasSubstr;

asio::awaitable<void> wait_for(asio::steady_timer::duration time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
}

/// Ends when the scope stops it, and says that its destructors ran.
asio::awaitable<void> wait_for_ever(std::shared_ptr<int> token) {
  co_await wait_for(24h);
  *token = 1;  // never reached
}

asio::awaitable<void> count_up(int& counter) {
  co_await asio::post(asio::use_awaitable);
  ++counter;
}

asio::awaitable<void> fail(std::string why) {
  co_await asio::post(asio::use_awaitable);
  throw std::runtime_error(why);
}

asio::awaitable<void> both_sides_are_cancelled() {
  using namespace asio::experimental::awaitable_operators;
  co_await (wait_for(24h) && wait_for(24h));
}

asio::awaitable<void> stop_and_join(TaskScope& scope, bool& joined) {
  scope.request_stop();
  co_await scope.join();
  joined = true;
}

asio::awaitable<void> join(TaskScope& scope, int& joined) {
  co_await scope.join();
  ++joined;
}

class TaskScopeTest : public testing::Test {
 protected:
  ~TaskScopeTest() override {
    scope_.request_stop();
    io_.run();
  }

  void start(asio::awaitable<void> task) {
    asio::co_spawn(io_, std::move(task), [](std::exception_ptr failure) { EXPECT_FALSE(failure); });
  }
  void run() {
    io_.restart();
    io_.run();
  }

  asio::io_context io_{1};
  TaskScope scope_{io_.get_executor()};
};

TEST_F(TaskScopeTest, RunsATaskToItsEnd) {
  int counter = 0;
  EXPECT_TRUE(scope_.spawn("count", count_up(counter)));
  EXPECT_EQ(scope_.size(), 1u);
  run();
  EXPECT_EQ(counter, 1);
  EXPECT_TRUE(scope_.empty());
}

TEST_F(TaskScopeTest, StopCancelsATaskThatWaits) {
  const auto token = std::make_shared<int>(0);
  scope_.spawn("sleeper", wait_for_ever(token));
  io_.poll();
  ASSERT_EQ(token.use_count(), 2);

  bool joined = false;
  testing::internal::CaptureStderr();
  start(stop_and_join(scope_, joined));
  run();
  EXPECT_TRUE(joined);
  EXPECT_TRUE(scope_.empty());
  EXPECT_EQ(token.use_count(), 1) << "the coroutine's frame is still there";
  EXPECT_EQ(*token, 0);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "cancellation is silent";
}

TEST_F(TaskScopeTest, StopCancelsATaskThatHasNotBegun) {
  const auto token = std::make_shared<int>(0);
  scope_.spawn("sleeper", wait_for_ever(token));
  scope_.request_stop();
  run();
  EXPECT_TRUE(scope_.empty());
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(TaskScopeTest, CancellationOfSeveralAtOnceIsSilent) {
  scope_.spawn("parallel", both_sides_are_cancelled());
  io_.poll();
  testing::internal::CaptureStderr();
  scope_.request_stop();
  run();
  EXPECT_TRUE(scope_.empty());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(TaskScopeTest, StartsNothingAfterStop) {
  int counter = 0;
  scope_.request_stop();
  EXPECT_FALSE(scope_.spawn("late", count_up(counter)));
  run();
  EXPECT_EQ(counter, 0);
}

TEST_F(TaskScopeTest, LogsTheExceptionThatEndsATask) {
  testing::internal::CaptureStderr();
  scope_.spawn("poller", fail("no such zone"));
  run();
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("error task ended by an exception task=poller error=\"no such zone\"\n"));
  EXPECT_TRUE(scope_.empty());
}

TEST_F(TaskScopeTest, JoinReturnsAtOnceWithoutTasks) {
  int joined = 0;
  start(join(scope_, joined));
  run();
  EXPECT_EQ(joined, 1);
}

TEST_F(TaskScopeTest, SeveralMayJoin) {
  int joined = 0;
  int counter = 0;
  scope_.spawn("first", wait_for(1ms));
  start(join(scope_, joined));
  start(join(scope_, joined));
  io_.poll();
  EXPECT_EQ(joined, 0);
  scope_.spawn("second", count_up(counter));
  run();
  EXPECT_EQ(joined, 2);
  EXPECT_EQ(counter, 1);
}

TEST_F(TaskScopeTest, EndedTasksLeaveNothingBehind) {
  const auto token = std::make_shared<int>(0);
  for (int i = 0; i < 1'000; ++i) {
    auto held = token;
    scope_.spawn("short", [](std::shared_ptr<int>) -> asio::awaitable<void> { co_return; }(std::move(held)));
    io_.restart();
    io_.poll();
    ASSERT_LE(scope_.size(), 1u);
  }
  run();
  EXPECT_EQ(scope_.size(), 0u);
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(TaskScopeTest, StopMayComeWhileTheEndOfATaskIsOnItsWay) {
  scope_.spawn("short", wait_for(0ms));
  scope_.spawn("longer", wait_for(24h));
  io_.poll_one();
  io_.poll_one();
  scope_.request_stop();  // not from the executor's thread: waits behind the timer
  run();
  EXPECT_TRUE(scope_.empty());
}

TEST_F(TaskScopeTest, ATaskMayStopItsOwnScope) {
  const auto token = std::make_shared<int>(0);
  scope_.spawn("sleeper", wait_for_ever(token));
  scope_.spawn("stopper", [](TaskScope& scope) -> asio::awaitable<void> {
    scope.request_stop();
    co_return;
  }(scope_));
  run();
  EXPECT_TRUE(scope_.empty());
  EXPECT_EQ(token.use_count(), 1);
}

}  // namespace
}  // namespace danki
