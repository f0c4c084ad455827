#include "mta/delivery/content_room.hpp"

#include <memory>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace danki::delivery {

namespace asio = boost::asio;

asio::awaitable<ContentBudget::Room> room_for(ContentBudget& budget, std::uint64_t octets) {
  auto executor = co_await asio::this_coro::executor;
  auto initiate = [&budget, octets, executor](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    budget.ask(octets, [executor, shared](ContentBudget::Room room) {
      asio::post(executor, [shared, room = std::move(room)]() mutable { (*shared)(std::move(room)); });
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(ContentBudget::Room)>(
      initiate, asio::use_awaitable);
}

}  // namespace danki::delivery
