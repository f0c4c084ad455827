#include "mta/daemon/signals.hpp"

#include <utility>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace danki::daemon {

namespace {

constexpr int kRequestSignal = SIGUSR2;

sigset_t handled() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, kRequestSignal}) sigaddset(&set, signal);
  return set;
}

}  // namespace

MainLoop::MainLoop() {
  sigset_t set = handled();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

MainLoop::Wake MainLoop::wait() {
  sigset_t set = handled();
  for (;;) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (signal == SIGHUP) return Wake::Reload;
    if (signal == kRequestSignal) return Wake::Request;
    return Wake::Stop;
  }
}

void MainLoop::request(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    requested_.push_back(std::move(work));
  }
  kill(getpid(), kRequestSignal);
}

std::vector<std::function<void()>> MainLoop::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(requested_, {});
}

}  // namespace danki::daemon
