#include "base/io_threads.hpp"

#include "base/worker_pool.hpp"

#include <boost/asio/executor_work_guard.hpp>

namespace danki {

struct IoThreads::Guard {
  explicit Guard(boost::asio::io_context& context) : work(context.get_executor()) {}
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
};

IoThreads::IoThreads(std::string name, unsigned count) : name_(std::move(name)) {
  for (unsigned i = 0; i < count; ++i) {
    contexts_.push_back(std::make_unique<boost::asio::io_context>(1));
    guards_.push_back(std::make_unique<Guard>(*contexts_.back()));
  }
}

IoThreads::~IoThreads() {
  stop();
}

void IoThreads::start() {
  for (std::size_t i = 0; i < contexts_.size(); ++i) {
    threads_.emplace_back([this, i] {
      name_this_thread(name_ + "-" + std::to_string(i));
      contexts_[i]->run();
    });
  }
}

void IoThreads::stop() {
  guards_.clear();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace danki
