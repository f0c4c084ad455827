#pragma once

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace danki {

/// One I/O thread per core, each with an io_context of its own: a connection lives and dies on its thread.
class IoThreads {
 public:
  /// `count` >= 1. Threads start in start() and are named `name`-0, -1, ...
  IoThreads(std::string name, unsigned count);
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  void start();
  /// Lets the contexts run out of work, then joins. Owners of coroutines must have stopped them before.
  void stop();
  std::size_t size() const { return contexts_.size(); }
  boost::asio::io_context& context(std::size_t index) { return *contexts_[index]; }

 private:
  struct Guard;
  std::string name_;
  std::vector<std::unique_ptr<boost::asio::io_context>> contexts_;
  std::vector<std::unique_ptr<Guard>> guards_;
  std::vector<std::thread> threads_;
};

}  // namespace danki
