#pragma once

#include "mta/submission/conversation.hpp"
#include "mta/submission/worker.hpp"
#include "net/stream.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

namespace danki::submission {

/// The socket around one Conversation: reads, asks others what it needs to know, writes. Lives and dies on its worker's
/// thread. A silent one is small: it reads into a few hundred octets of its own and borrows a buffer for more.
class Session {
 public:
  /// From the connection to its end.
  static boost::asio::awaitable<void> serve(Worker& worker, std::shared_ptr<const ListenerOptions> listener,
                                            boost::asio::ip::tcp::socket socket);
  Session(Worker& worker, std::shared_ptr<const ListenerOptions> listener, boost::asio::ip::tcp::socket socket);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // For the worker.
  /// Ends a wait for the client that has taken too long; the client hears 421.
  void look_at_deadline(SteadyPoint now);
  /// Ends at the next opportunity, with 421; a message past the end of data is stored first.
  void stop();
  /// Ends now.
  void abandon();

 private:
  enum class Activity : std::uint8_t { Opening, Reading, Storing, Other };

  boost::asio::awaitable<bool> open();
  boost::asio::awaitable<std::optional<boost::asio::ip::address>> read_proxy_header();
  boost::asio::awaitable<bool> read_exactly(char* into, std::size_t bytes, SteadyPoint deadline);
  boost::asio::awaitable<void> converse();
  boost::asio::awaitable<bool> fill();
  boost::asio::awaitable<bool> flush();
  boost::asio::awaitable<void> look_up_domain();
  boost::asio::awaitable<void> check_password();
  boost::asio::awaitable<bool> start_tls();
  boost::asio::awaitable<bool> encode();
  boost::asio::awaitable<void> store();
  boost::asio::awaitable<void> wait_for_answer();
  boost::asio::awaitable<void> pause(Duration how_long);

  char* data() { return large_ ? large_->data() : small_.data(); }
  std::size_t capacity() const { return large_ ? large_->size() : small_.size(); }
  void make_room();
  void expect_answer();
  void extend_deadline();

  Worker& worker_;
  const std::shared_ptr<const ListenerOptions> listener_;  // shared with the listener's other sessions
  net::Stream stream_;
  Worker::SessionList::iterator entry_;
  Admission::Place place_;
  std::string client_;  ///< key of its failures
  std::optional<Conversation> conversation_;
  std::shared_ptr<PendingAnswer> answer_;  // shared with the thread that answers
  boost::asio::steady_timer wake_;

  std::array<char, 512> small_;
  std::unique_ptr<ReadBuffer> large_;  ///< borrowed while there is more to read
  std::size_t begin_ = 0, end_ = 0;    ///< of what is read and not consumed
  bool filled_ = false;                ///< the last read took all the room there was

  SteadyPoint deadline_{};          ///< for the client's next octets
  SteadyPoint content_deadline_{};  ///< for the end of data
  Duration domain_patience_{};      ///< left in this transaction
  std::uint32_t content_ = 0;       ///< that content_deadline_ is about
  std::uint32_t patient_in_ = 0;    ///< the transaction that domain_patience_ is about
  Activity activity_ = Activity::Opening;
  bool too_slow_ = false;
  bool stopping_ = false;
  bool abandoned_ = false;
};

}  // namespace danki::submission
