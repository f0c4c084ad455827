#include "mta/delivery/first_scan.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

TEST(FirstScan, IsRepeatedUntilItWorks) {
  boost::asio::io_context context;
  int scans = 0;
  ScanLanes scan = [&]() -> boost::asio::awaitable<Result<Lanes>> {
    Result<Lanes> answer = std::unexpected(Error(std::errc::io_error, "bad sector"));
    if (++scans == 4) answer = Lanes{{.lane = {.domain = "a.example"}, .entries = 7}};
    co_return answer;
  };
  Lanes found;
  boost::asio::co_spawn(context, first_scan(scan, std::chrono::milliseconds(1)),
                        [&](std::exception_ptr problem, Lanes lanes) {
                          EXPECT_FALSE(problem);
                          found = std::move(lanes);
                        });
  context.run();
  EXPECT_EQ(scans, 4);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].entries, 7u);
}

}  // namespace
}  // namespace danki::delivery
