// receiver: the bundled receiver of demo and end-to-end tests. Takes mail, stores it as files, and plays providers by
// the rules of a scenario file (docs/testing-receiver.md).

#include "tests/support/command_line.hpp"
#include "tests/support/receiver_session.hpp"

#include <csignal>
#include <exception>
#include <fstream>
#include <list>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <fmt/core.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

namespace {

using namespace danki::support;

struct Arguments {
  std::vector<std::string> listen;
  std::vector<std::string> listen_tls;
  int port = 2526;
  std::string port_file;
  std::string scenario;
  std::string dir;
  std::string log;
  std::string hostname = "mx.test";
  std::string certificate;
  std::string key;
  bool chunking = false;
  long size = 50 * 1024 * 1024;
  int idle_timeout_s = 300;
  int max_connections = 2000;
  bool quiet = false;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  CommandLine line("receiver", "takes mail, stores it, and plays providers by a scenario file");
  line.list("--listen", arguments.listen, "ADDRESS, ADDRESS:PORT or FIRST-LAST:PORT; may be repeated (127.0.0.1)");
  line.list("--listen-tls", arguments.listen_tls, "the same with TLS from the first byte");
  line.value("--port", arguments.port, "port where --listen names none (2526); 0: any, one for all");
  line.value("--port-file", arguments.port_file, "write the port here once it listens; a second line for --listen-tls");
  line.value("--scenario", arguments.scenario, "rules; read again on SIGHUP");
  line.value("--dir", arguments.dir, "folder for <n>.eml and <n>.json of each accepted message");
  line.value("--log", arguments.log, "append a line of JSON per connection, refusal and message");
  line.value("--hostname", arguments.hostname, "name in greeting and EHLO reply (mx.test)");
  line.value("--certificate", arguments.certificate, "PEM chain; announces STARTTLS");
  line.value("--key", arguments.key, "its PEM key");
  line.flag("--chunking", arguments.chunking, "announce CHUNKING");
  line.value("--size", arguments.size, "largest message in bytes (52428800)");
  line.value("--idle-timeout", arguments.idle_timeout_s, "seconds (300)");
  line.value("--max-connections", arguments.max_connections, "at once, more are answered 421 (2000)");
  line.flag("--quiet", arguments.quiet, "print nothing");
  line.parse(argc, argv);
  if (arguments.listen.empty() && arguments.listen_tls.empty()) arguments.listen.push_back("127.0.0.1");
  return arguments;
}

struct Listener {
  Descriptor fd;
  Endpoint endpoint;
  bool implicit_tls;
};

/// Endpoints with port 0 share one port, that of the first: a set of addresses then looks like real MX hosts.
std::vector<Listener> listen_on_all(const std::vector<Endpoint>& endpoints, bool implicit_tls) {
  constexpr int kTries = 50;
  for (int tries = 1;; ++tries) {
    int chosen = 0;
    std::vector<Listener> listeners;
    try {
      for (Endpoint endpoint : endpoints) {
        if (endpoint.port() == 0 && chosen != 0) endpoint.set_port(chosen);
        Descriptor fd = listen_on(endpoint);
        auto where = local_endpoint(fd.get());
        if (endpoint.port() == 0) chosen = where.port();
        listeners.push_back({std::move(fd), where, implicit_tls});
      }
      return listeners;
    } catch (const std::system_error& error) {
      if (chosen == 0 || tries == kTries || error.code() != std::errc::address_in_use) throw;
    }
  }
}

std::vector<Listener> open_listeners(const std::vector<std::string>& texts, int default_port, bool implicit_tls) {
  std::vector<Endpoint> endpoints;
  for (const std::string& text : texts) {
    for (const Endpoint& endpoint : parse_endpoints(text, default_port)) endpoints.push_back(endpoint);
  }
  return listen_on_all(endpoints, implicit_tls);
}

class Receiver {
 public:
  explicit Receiver(const Arguments& arguments);
  ~Receiver();
  void run();  ///< until SIGTERM or SIGINT

 private:
  struct Running {
    std::thread thread;
    std::atomic<bool> done{false};
  };
  struct Pair {
    uint64_t connections = 0;
    std::shared_ptr<std::atomic<uint64_t>> open = std::make_shared<std::atomic<uint64_t>>(0);
  };

  void write_port_file() const;
  bool on_signals();  ///< false: end
  void accept_from(const Listener& listener);
  void join_finished();
  void load_scenario();

  Arguments arguments_;
  ReceiverContext context_;
  std::vector<Listener> listeners_;
  Descriptor signals_;
  Descriptor stop_;
  uint64_t connections_ = 0;
  std::map<std::string, Pair> pairs_;  ///< by client and listener
  std::list<Running> sessions_;        ///< refer to context_ and stop_; joined before those go
};

Receiver::Receiver(const Arguments& arguments) : arguments_(arguments), stop_(eventfd(0, EFD_CLOEXEC)) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes with write(2)
  sigset_t wanted;
  sigemptyset(&wanted);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&wanted, number);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  signals_ = Descriptor(signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC));

  context_.hostname = arguments_.hostname;
  context_.max_bytes = static_cast<std::size_t>(arguments_.size);
  context_.idle_timeout = std::chrono::seconds(arguments_.idle_timeout_s);
  context_.chunking = arguments_.chunking;
  if (!arguments_.certificate.empty()) context_.tls = server_tls_context(arguments_.certificate, arguments_.key);
  if (!arguments_.listen_tls.empty() && !context_.tls) throw std::runtime_error("--listen-tls needs --certificate");
  context_.store = std::make_unique<MessageStore>(arguments_.dir, arguments_.log);
  load_scenario();
  listeners_ = open_listeners(arguments_.listen, arguments_.port, false);
  for (auto& listener : open_listeners(arguments_.listen_tls, arguments_.port == 0 ? 0 : arguments_.port + 1, true)) {
    listeners_.push_back(std::move(listener));
  }
  write_port_file();
}

Receiver::~Receiver() {
  uint64_t one = 1;
  // Stays readable: every session sees it at its next wait and ends.
  if (write(stop_.get(), &one, sizeof one) != sizeof one) std::abort();
  for (Running& session : sessions_) session.thread.join();
}

void Receiver::load_scenario() {
  auto scenario =
      arguments_.scenario.empty() ? std::make_shared<Scenario>() : std::make_shared<Scenario>(arguments_.scenario);
  std::lock_guard lock(context_.mutex);
  context_.current_scenario = std::move(scenario);
}

void Receiver::write_port_file() const {
  if (arguments_.port_file.empty()) return;
  std::string unfinished = arguments_.port_file + ".part";
  {
    std::ofstream file(unfinished);
    const Listener* previous = nullptr;
    for (const Listener& listener : listeners_) {
      if (previous == nullptr || previous->implicit_tls != listener.implicit_tls)
        file << listener.endpoint.port() << '\n';
      previous = &listener;
    }
  }
  if (std::rename(unfinished.c_str(), arguments_.port_file.c_str()) != 0)
    throw std::runtime_error(arguments_.port_file);
}

void Receiver::run() {
  if (!arguments_.quiet) {
    for (const Listener& listener : listeners_) {
      fmt::print("receiver: listening on {}{}\n", listener.endpoint.to_string(), listener.implicit_tls ? " (TLS)" : "");
    }
    std::fflush(stdout);
  }
  std::vector<pollfd> watched{{signals_.get(), POLLIN, 0}};
  for (const Listener& listener : listeners_) watched.push_back({listener.fd.get(), POLLIN, 0});
  while (true) {
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "poll");
    }
    if (watched[0].revents != 0 && !on_signals()) return;
    for (std::size_t i = 1; i < watched.size(); ++i) {
      if (watched[i].revents != 0) accept_from(listeners_[i - 1]);
    }
    join_finished();
  }
}

bool Receiver::on_signals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGHUP) return false;
    try {
      load_scenario();
    } catch (const std::exception& error) {
      fmt::print(stderr, "receiver: {}; the old scenario stays\n", error.what());
    }
  }
  return true;
}

void Receiver::accept_from(const Listener& listener) {
  while (true) {
    Descriptor fd(accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    join_finished();
    if (sessions_.size() >= static_cast<std::size_t>(arguments_.max_connections)) {
      constexpr std::string_view kBusy = "421 4.3.2 too many connections\r\n";
      send(fd.get(), kBusy.data(), kBusy.size(), MSG_NOSIGNAL);
      continue;
    }
    int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ReceiverConnection connection{.listen = local_endpoint(fd.get()),
                                  .client = peer_endpoint(fd.get()),
                                  .implicit_tls = listener.implicit_tls,
                                  .number = ++connections_};
    Pair& pair = pairs_[connection.client.host() + " " + connection.listen.to_string()];
    connection.number_of_pair = ++pair.connections;
    connection.open_of_pair = pair.open;
    ++*pair.open;
    Running& running = sessions_.emplace_back();
    running.thread = std::thread([this, &running, connection, channel = Channel(std::move(fd), stop_.get())]() mutable {
      try {
        ReceiverSession(context_, connection, std::move(channel)).run();
      } catch (const std::exception& error) {
        // Nowhere to put mail: a test must not go on as if it had been stored.
        fmt::print(stderr, "receiver: {}\n", error.what());
        std::abort();
      }
      --*connection.open_of_pair;
      running.done = true;
    });
  }
}

void Receiver::join_finished() {
  std::erase_if(sessions_, [](Running& session) {
    if (!session.done) return false;
    session.thread.join();
    return true;
  });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Receiver(parse(argc, argv)).run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "receiver: {}\n", error.what());
    return EX_CONFIG;
  }
}
