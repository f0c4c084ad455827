#pragma once

#include "tests/net/test_certificate.hpp"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace danki::fakes {

/// The bundled receiver (docs/testing-receiver.md) as a process of its own on 127.0.0.1, with a scenario of the test's.
/// Throws when it does not start.
class ReceiverProcess {
 public:
  static std::string program() { return std::string(DANKI_BIN_DIR) + "/receiver"; }
  static bool is_built() { return std::filesystem::exists(program()); }

  explicit ReceiverProcess(const std::string& scenario = {}, std::vector<std::string> further = {}) {
    std::ofstream(folder_ / "scenario.toml") << scenario;
    std::vector<std::string> words{program(),
                                   "--listen",
                                   "127.0.0.1",
                                   "--port",
                                   "0",
                                   "--port-file",
                                   folder_ / "port",
                                   "--dir",
                                   folder_ / "mail",
                                   "--scenario",
                                   folder_ / "scenario.toml",
                                   "--quiet"};
    words.insert(words.end(), further.begin(), further.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (::posix_spawn(&pid_, program().c_str(), nullptr, nullptr, argv.data(), environ) != 0) {
      throw std::runtime_error("cannot start " + program());
    }
    wait_for_port();
  }
  ~ReceiverProcess() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  ReceiverProcess(const ReceiverProcess&) = delete;
  ReceiverProcess& operator=(const ReceiverProcess&) = delete;

  std::uint16_t port() const { return port_; }
  /// Content and record of the n-th message it took, from 1; empty without one. Complete before the 250.
  std::string content(int n) const { return text_of("mail/" + std::to_string(n) + ".eml"); }
  std::string record(int n) const { return text_of("mail/" + std::to_string(n) + ".json"); }
  int messages() const {
    int count = 0;
    while (std::filesystem::exists(folder_ / ("mail/" + std::to_string(count + 1) + ".json"))) ++count;
    return count;
  }

 private:
  std::string text_of(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  void wait_for_port() {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    while (port_ == 0) {
      const std::string text = text_of("port");
      if (text.ends_with('\n')) port_ = static_cast<std::uint16_t>(std::stoi(text));
      pollfd ended{.fd = process, .events = POLLIN, .revents = 0};
      const bool gone = ::poll(&ended, 1, 5) > 0;
      if (port_ == 0 && (gone || std::chrono::steady_clock::now() > give_up)) break;
    }
    ::close(process);
    if (port_ != 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    throw std::runtime_error("the receiver does not listen");
  }

  net::test::TempFolder folder_;
  pid_t pid_ = 0;
  std::uint16_t port_ = 0;
};

}  // namespace danki::fakes
