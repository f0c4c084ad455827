#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

namespace danki::net {

/// c-ares' channel to one DNS server, its sockets and timeouts driven by Asio. Sends a ready-made question once, over
/// UDP, or TCP when the answer was truncated; which server is asked next, and how often, is the resolver's affair. All
/// calls and answers are on the executor, which is one thread or a strand.
class DnsChannel {
 public:
  enum class Outcome { Answered, TimedOut, Failed };
  struct Reply {
    Outcome outcome = Outcome::Failed;
    std::span<const unsigned char> octets;  ///< valid during the call; not yet checked beyond id and question
    std::string error;
  };
  using OnReply = std::move_only_function<void(Reply)>;

  /// `server` as "127.0.0.1:53" or "[::1]:53". Throws std::invalid_argument if it is neither.
  DnsChannel(boost::asio::any_io_executor executor, const std::string& server, std::chrono::milliseconds timeout);
  /// Questions under way are dropped without an answer.
  ~DnsChannel();
  DnsChannel(const DnsChannel&) = delete;
  DnsChannel& operator=(const DnsChannel&) = delete;

  /// `on_reply` is called once, perhaps before send returns.
  void send(std::span<const unsigned char> question, OnReply on_reply);
  /// Ends what is under way as Failed.
  void cancel();

  /// The servers of /etc/resolv.conf in the notation of the constructor.
  static std::vector<std::string> system_servers();
  /// A recursive question with EDNS(0); `name` is normalised. Empty if c-ares finds no way to write it.
  static std::vector<unsigned char> write_question(const std::string& name, int type, std::uint16_t id, bool want_ad);

 private:
  struct State;
  std::shared_ptr<State>
      state_;  // shared with the handlers of sockets and timer, which may come after the channel is gone
};

}  // namespace danki::net
