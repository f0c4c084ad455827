#include "mta/delivery/first_scan.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace danki::delivery {

namespace asio = boost::asio;

namespace {
constexpr std::chrono::milliseconds kLongestWait{60000};
}

asio::awaitable<Lanes> first_scan(ScanLanes scan, std::chrono::milliseconds wait) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (;;) {
    Result<Lanes> lanes = co_await scan();
    if (lanes) co_return std::move(*lanes);
    log::error("reading the queue failed",
               {{"error", lanes.error().message()}, {"action", "again in " + std::to_string(wait.count()) + " ms"}});
    timer.expires_after(wait);
    co_await timer.async_wait(asio::use_awaitable);
    wait = std::min(2 * wait, kLongestWait);
  }
}

}  // namespace danki::delivery
