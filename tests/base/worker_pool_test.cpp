#include "base/worker_pool.hpp"

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

namespace danki {
namespace {

TEST(WorkerPool, RunsWorkOnANamedThread) {
  WorkerPool pool("hashing", 1, 8, 5);
  std::promise<std::string> name;
  std::promise<int> nice;
  ASSERT_TRUE(pool.try_submit([&] {
    char buffer[16] = {};
    pthread_getname_np(pthread_self(), buffer, sizeof buffer);
    name.set_value(buffer);
    nice.set_value(getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())));
  }));
  EXPECT_EQ(name.get_future().get(), "hashing-0");
  EXPECT_GE(nice.get_future().get(), 5);
}

TEST(WorkerPool, RefusesWhatItCannotQueue) {
  std::promise<void> begun, release;
  auto released = release.get_future().share();
  WorkerPool pool("pool", 1, 2);
  std::atomic<int> ran = 0;
  ASSERT_TRUE(pool.try_submit([&] {
    begun.set_value();
    released.wait();
  }));
  begun.get_future().wait();
  EXPECT_TRUE(pool.try_submit([&] { ++ran; }));
  EXPECT_TRUE(pool.try_submit([&] { ++ran; }));
  EXPECT_EQ(pool.queued(), 2u);
  EXPECT_FALSE(pool.try_submit([&] { ++ran; }));
  release.set_value();
  std::promise<void> last;
  while (!pool.try_submit([&] { last.set_value(); })) std::this_thread::yield();
  last.get_future().wait();
  EXPECT_EQ(ran, 2);
}

TEST(WorkerPool, StopFinishesWhatHasBegunAndDropsTheRest) {
  const auto token = std::make_shared<int>(0);
  std::promise<void> begun, release;
  auto released = release.get_future().share();
  std::atomic<bool> finished = false, dropped_ran = false;
  WorkerPool pool("pool", 1, 8);
  pool.try_submit([&, released] {
    begun.set_value();
    released.wait();
    finished = true;
  });
  begun.get_future().wait();
  pool.try_submit([&, token] { dropped_ran = true; });
  std::thread stopper([&] { pool.stop(); });
  while (pool.queued() > 0) std::this_thread::yield();  // the only worker is busy: stop() alone empties the queue
  release.set_value();
  stopper.join();
  EXPECT_TRUE(finished);
  EXPECT_FALSE(dropped_ran);
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_FALSE(pool.try_submit([] {}));
}

TEST(WorkerPool, SurvivesAnExceptionAndLogsIt) {
  testing::internal::CaptureStderr();
  {
    WorkerPool pool("signing", 1, 8);
    std::promise<void> after;
    pool.try_submit([] { throw std::runtime_error("key gone"); });
    pool.try_submit([&] { after.set_value(); });
    after.get_future().wait();
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("error work ended by an exception pool=signing error=\"key gone\"\n"));
}

}  // namespace
}  // namespace danki
