#pragma once

#include "tests/net/test_certificate.hpp"

#include <array>
#include <chrono>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace danki::net::test {

/// NSD, an authoritative server nobody here wrote, on a free loopback port with zones of the test's. Throws when it
/// cannot be started: it is a test dependency (Debian: nsd).
class NsdServer {
 public:
  using Zone = std::pair<std::string, std::string>;  ///< name; master file

  explicit NsdServer(const std::vector<Zone>& zones) {
    for (int attempt = 0; attempt < 5; ++attempt) {  // another process may take the port first
      port_ = free_port();
      write_files(zones);
      start();
      if (wait_until_ready(zones.front().first)) return;
      kill_and_wait();
    }
    std::ifstream log(folder_ / "nsd.log");
    throw std::runtime_error("nsd does not answer: " + std::string(std::istreambuf_iterator<char>(log), {}));
  }
  ~NsdServer() { kill_and_wait(); }
  NsdServer(const NsdServer&) = delete;
  NsdServer& operator=(const NsdServer&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }

  static std::uint16_t free_port() {
    const int probe = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    ::bind(probe, reinterpret_cast<sockaddr*>(&address), length);
    ::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &length);
    ::close(probe);
    return ntohs(address.sin_port);
  }

  void write_files(const std::vector<Zone>& zones) {
    const std::string base = folder_.path().string();
    std::ofstream conf(folder_ / "nsd.conf");
    conf << "server:\n  ip-address: 127.0.0.1@" << port_ << "\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n"
         << "  database: \"\"\n  hide-version: yes\n  rrl-ratelimit: 0\n  zonesdir: \"" << base << "\"\n  pidfile: \""
         << base << "/nsd.pid\"\n  zonelistfile: \"" << base << "/zone.list\"\n  xfrdfile: \"" << base
         << "/xfrd.state\"\n  xfrdir: \"" << base << "\"\nremote-control:\n  control-enable: no\n";
    for (const auto& [name, text] : zones) {
      std::ofstream(folder_ / (name + ".zone")) << text;
      conf << "zone:\n  name: " << name << "\n  zonefile: " << name << ".zone\n";
    }
  }

  void start() {
    const std::string conf = folder_ / "nsd.conf";
    const std::string log = folder_ / "nsd.log";
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ > 0) return;
    // It must not outlive a test that crashes.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    const int file = ::open(log.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    ::dup2(file, STDERR_FILENO);
    // Daemons live in sbin, which is not on everyone's PATH.
    ::execlp("nsd", "nsd", "-d", "-c", conf.c_str(), nullptr);
    ::execl("/usr/sbin/nsd", "nsd", "-d", "-c", conf.c_str(), nullptr);
    ::dprintf(STDERR_FILENO, "cannot start nsd (Debian package nsd)\n");
    ::_exit(127);
  }

  /// Asks for the zone's SOA until an answer comes.
  bool wait_until_ready(const std::string& zone) {
    std::string question("\x4e\x53\0\0\0\1\0\0\0\0\0\0", 12);
    for (std::size_t begin = 0; begin < zone.size();) {
      const std::size_t end = std::min(zone.find('.', begin), zone.size());
      question += static_cast<char>(end - begin) + zone.substr(begin, end - begin);
      begin = end + 1;
    }
    question += std::string("\0\0\6\0\1", 5);
    const int probe = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const timeval patience{0, 50'000};
    ::setsockopt(probe, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const sockaddr_in address = loopback(port_);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    bool ready = false;
    while (!ready && std::chrono::steady_clock::now() < deadline && is_running()) {
      ::sendto(probe, question.data(), question.size(), 0, reinterpret_cast<const sockaddr*>(&address), sizeof address);
      std::array<char, 512> reply;
      // An answer with records: NSD may listen before it has read its zones.
      ready = ::recv(probe, reply.data(), reply.size(), 0) >= 12 && (reply[3] & 0x0F) == 0 && reply[7] == 1;
    }
    ::close(probe);
    return ready;
  }

  bool is_running() {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ > 0;
  }

  void kill_and_wait() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  TempFolder folder_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace danki::net::test
