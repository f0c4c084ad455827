#include "admin/api.hpp"

#include "base/worker_pool.hpp"
#include "tests/admin/admin_world.hpp"

#include <gtest/gtest.h>

namespace danki::admin {
namespace {

/// What is asked of the scheduler is answered on its strand, which mail waits for: nothing is made of it there.
TEST(Api, LeavesTheRoomThatAnswersBeforeItWritesJson) {
  AdminWorld world;
  WorkerPool workers("test", 1, 4);
  Api api(world.ports, *world.spool, world.clock, workers);
  for (const char* target : {"/v1/queue", "/v1/status"}) {
    Response answer;
    api.handle({.method = "GET", .target = target, .body = {}}, [&](Response given) { answer = std::move(given); });
    EXPECT_EQ(answer.status, 200) << target;
    EXPECT_EQ(answer.body, "") << target;
    ASSERT_TRUE(answer.render) << target;
    EXPECT_TRUE(answer.render().starts_with("{\"")) << target;
  }
}

}  // namespace
}  // namespace danki::admin
