#include "net/dns_channel.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

namespace danki::net {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr int kUdpPayloadOctets = 1232;  // fits one IPv6 packet of the least MTU (DNS flag day 2020)
constexpr int kReceiveBufferBytes =
    1 << 20;  // thousands of answers may come at once; the kernel caps it at its own limit

void initialise_library() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  if (status != ARES_SUCCESS) throw std::runtime_error(std::string("c-ares: ") + ares_strerror(status));
}

std::string to_text(const ares_addr_port_node& server) {
  char address[INET6_ADDRSTRLEN];
  inet_ntop(server.family, &server.addr, address, sizeof address);
  const std::string port = std::to_string(server.udp_port != 0 ? server.udp_port : 53);
  return server.family == AF_INET6 ? "[" + std::string(address) + "]:" + port : std::string(address) + ":" + port;
}

}  // namespace

struct DnsChannel::State : std::enable_shared_from_this<State> {
  static constexpr auto kNever = steady_clock::time_point::max();

  /// One of c-ares' sockets. c-ares owns the descriptor: it is released here before c-ares closes it.
  struct Watch {
    explicit Watch(const asio::any_io_executor& executor) : descriptor(executor) {}
    asio::posix::stream_descriptor descriptor;
    bool wants_read = false, wants_write = false;
    bool reading = false, writing = false;  ///< a wait is under way
    bool closed = false;
  };

  /// What c-ares hands back with each answer.
  struct Asked {
    State* state;
    OnReply on_reply;
  };

  asio::any_io_executor executor;
  milliseconds timeout;
  asio::steady_timer timer;
  steady_clock::time_point timer_at = kNever;
  ares_channel channel = nullptr;
  std::unordered_map<ares_socket_t, std::shared_ptr<Watch>> watches;  // shared with the handlers of their waits
  std::size_t under_way = 0;
  bool silent = false;  ///< the channel is being destroyed

  State(asio::any_io_executor e, milliseconds t) : executor(std::move(e)), timeout(t), timer(executor) {}
  ~State() { shut_down(); }

  void open(const std::string& server) {
    ares_options options{};
    // NOCHECKRESP: SERVFAIL and REFUSED are answers to us, not reasons to try elsewhere unseen. EDNS: else c-ares takes
    // every answer above 512 octets for one to be asked again over TCP.
    options.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS;
    options.timeout = static_cast<int>(timeout.count());
    options.tries = 1;
    options.ednspsz = kUdpPayloadOctets;
    options.socket_receive_buffer_size = kReceiveBufferBytes;
    options.sock_state_cb = [](void* self, ares_socket_t socket, int readable, int writable) {
      static_cast<State*>(self)->watch(socket, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_RCVBUF |
                     ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE;
    if (const int status = ares_init_options(&channel, &options, mask); status != ARES_SUCCESS) {
      channel = nullptr;
      throw std::runtime_error(std::string("c-ares: ") + ares_strerror(status));
    }
    if (ares_set_servers_ports_csv(channel, server.c_str()) != ARES_SUCCESS) {
      throw std::invalid_argument("DNS server \"" + server + "\" is not an address with an optional port");
    }
  }

  void shut_down() {
    silent = true;
    if (channel != nullptr) ares_destroy(std::exchange(channel, nullptr));
    while (!watches.empty()) forget(watches.begin()->first);
    timer.cancel();
  }

  void watch(ares_socket_t socket, bool readable, bool writable) {
    if (!readable && !writable) return forget(socket);
    auto& entry = watches[socket];
    if (!entry) {
      entry = std::make_shared<Watch>(executor);
      boost::system::error_code ignored;  // unwatched, the question times out
      entry->descriptor.assign(socket, ignored);
    }
    entry->wants_read = readable;
    entry->wants_write = writable;
    wait(socket, entry);
  }

  void forget(ares_socket_t socket) {
    const auto found = watches.find(socket);
    if (found == watches.end()) return;
    found->second->closed = true;
    if (found->second->descriptor.is_open()) found->second->descriptor.release();
    watches.erase(found);
  }

  void wait(ares_socket_t socket, const std::shared_ptr<Watch>& watch) {
    if (!watch->descriptor.is_open()) return;
    if (watch->wants_read && !watch->reading) {
      watch->reading = true;
      watch->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                   [self = shared_from_this(), watch, socket](boost::system::error_code ec) {
                                     watch->reading = false;
                                     if (!ec) self->on_ready(socket, watch, socket, ARES_SOCKET_BAD);
                                   });
    }
    if (watch->wants_write && !watch->writing) {
      watch->writing = true;
      watch->descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                                   [self = shared_from_this(), watch, socket](boost::system::error_code ec) {
                                     watch->writing = false;
                                     if (!ec) self->on_ready(socket, watch, ARES_SOCKET_BAD, socket);
                                   });
    }
  }

  void on_ready(ares_socket_t socket, const std::shared_ptr<Watch>& watch, ares_socket_t readable,
                ares_socket_t writable) {
    if (watch->closed || channel == nullptr) return;
    ares_process_fd(channel, readable, writable);
    if (!watch->closed) wait(socket, watch);
  }

  void send(std::span<const unsigned char> question, OnReply on_reply) {
    ++under_way;
    auto asked = std::make_unique<Asked>(Asked{this, std::move(on_reply)});
    ares_send(channel, question.data(), static_cast<int>(question.size()), on_answer, asked.release());
    // c-ares may shorten a timeout by jitter; looking too early costs one look.
    if (under_way > 0) look_by(steady_clock::now() + timeout / 2);
  }

  static void on_answer(void* argument, int status, int, unsigned char* octets, int length) {
    const std::unique_ptr<Asked> asked(static_cast<Asked*>(argument));
    State& state = *asked->state;
    --state.under_way;
    if (state.silent) return;
    Reply reply;
    if (status == ARES_SUCCESS && octets != nullptr && length > 0) {
      reply.outcome = Outcome::Answered;
      reply.octets = {octets, static_cast<std::size_t>(length)};
    } else {
      reply.outcome = status == ARES_ETIMEOUT ? Outcome::TimedOut : Outcome::Failed;
      reply.error = ares_strerror(status);
    }
    asked->on_reply(std::move(reply));
  }

  /// The timer looks at c-ares' timeouts at `at` or before.
  void look_by(steady_clock::time_point at) {
    if (at >= timer_at) return;
    timer_at = at;
    timer.expires_at(at);
    timer.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
      if (ec) return;
      if (const auto self = weak.lock()) self->look_at_timeouts();
    });
  }

  void look_at_timeouts() {
    const auto now = steady_clock::now();
    if (timer_at > now) return;  // armed anew while this call was on its way
    timer_at = kNever;
    if (channel == nullptr) return;
    ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    timeval next{};
    // Walks over all questions, so it is asked here only, not for each of them.
    if (under_way == 0 || ares_timeout(channel, nullptr, &next) == nullptr) return;
    const auto wait = std::chrono::seconds(next.tv_sec) + std::chrono::microseconds(next.tv_usec);
    look_by(now + std::max<steady_clock::duration>(wait, milliseconds(1)));
  }
};

DnsChannel::DnsChannel(asio::any_io_executor executor, const std::string& server, milliseconds timeout) {
  initialise_library();
  state_ = std::make_shared<State>(std::move(executor), timeout);
  state_->open(server);
}

DnsChannel::~DnsChannel() {
  state_->shut_down();
}

void DnsChannel::send(std::span<const unsigned char> question, OnReply on_reply) {
  state_->send(question, std::move(on_reply));
}

void DnsChannel::cancel() {
  ares_cancel(state_->channel);
}

std::vector<std::string> DnsChannel::system_servers() {
  initialise_library();
  ares_channel channel = nullptr;
  std::vector<std::string> servers;
  if (ares_init(&channel) != ARES_SUCCESS) return servers;
  ares_addr_port_node* nodes = nullptr;
  if (ares_get_servers_ports(channel, &nodes) == ARES_SUCCESS) {
    for (const ares_addr_port_node* node = nodes; node != nullptr; node = node->next) servers.push_back(to_text(*node));
    if (nodes != nullptr) ares_free_data(nodes);
  }
  ares_destroy(channel);
  return servers;
}

std::vector<unsigned char> DnsChannel::write_question(const std::string& name, int type, std::uint16_t id,
                                                      bool want_ad) {
  unsigned char* octets = nullptr;
  int length = 0;
  const std::string asked = name.empty() ? "." : name;
  if (ares_create_query(asked.c_str(), ns_c_in, type, id, 1, &octets, &length, kUdpPayloadOctets) != ARES_SUCCESS) {
    return {};
  }
  std::vector<unsigned char> question(octets, octets + length);
  ares_free_string(octets);
  if (want_ad) question[3] |= 0x20;  // RFC 6840 section 5.7: AD in a question asks for AD in its answer
  return question;
}

}  // namespace danki::net
