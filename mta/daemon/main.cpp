// dankid: wires the rooms together. One page shows the whole program.
#include "admin/server.hpp"
#include "base/io_threads.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "config/config.hpp"
#include "mta/daemon/daemon_ports.hpp"
#include "mta/daemon/data_dir_lock.hpp"
#include "mta/daemon/reloader.hpp"
#include "mta/daemon/signals.hpp"
#include "mta/submission/accepted_events.hpp"
#include "queue/repair.hpp"

#include <cstdio>
#include <exception>
#include <string>
#include <thread>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>

namespace danki::daemon {
namespace {

struct Arguments {
  std::string config = "/etc/danki/danki.toml";
  bool check = false;
  bool repair = false;
};

constexpr const char* kUsage =
    "usage: dankid [--config FILE] [--check | --repair-spool | --version]\n"
    "  --config FILE    the configuration; default /etc/danki/danki.toml\n"
    "  --check          read and check it, print what is wrong or without effect, and end\n"
    "  --repair-spool   salvage a damaged spool; stop the daemon first\n"
    "  --version\n"
    "Signals: SIGHUP reads the configuration again and opens log.file anew, SIGTERM and SIGINT end in order.\n";

constexpr mode_t kFileMask = 027;  // spool, events and log hold other people's mail

/// The system's soft limit on descriptors is made for programs that use select(); every connection is one.
void allow_many_connections() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= files.rlim_max) return;
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

int report_problems(const config::Problems& problems) {
  std::fputs(problems.to_string().c_str(), stderr);
  return EX_CONFIG;
}

int check(const std::string& file) {
  auto config = config::load(file);
  if (!config) return report_problems(config.error());
  for (const std::string& warning : config->warnings) std::printf("%s\n", warning.c_str());
  std::printf("%s: ok\n", file.c_str());
  return EX_OK;
}

int repair(const config::Config& config) {
  auto report = queue::repair(config.spool);
  if (!report) {
    std::fprintf(stderr, "dankid: repair failed: %s\n", report.error().message().c_str());
    return EX_IOERR;
  }
  for (const std::string& step : report->steps) std::printf("%s\n", step.c_str());
  std::printf(
      "%llu messages are in the spool; %llu without content removed, %llu due records made anew, %llu records "
      "removed\n",
      static_cast<unsigned long long>(report->messages), static_cast<unsigned long long>(report->lost_bodies),
      static_cast<unsigned long long>(report->restored_due), static_cast<unsigned long long>(report->removed_records));
  return EX_OK;
}

int run(const std::string& file, config::Config loaded) {
  // Before any thread, the log's too: they inherit the blocked signals. One that does not is where a signal goes, and
  // ends the process, while the main thread is busy.
  MainLoop loop;
  auto config = std::make_shared<const config::Config>(std::move(loaded));
  ::umask(kFileMask);
  allow_many_connections();
  try {
    log::configure(config->log_level, config->log_file);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dankid: log.file: %s\n", error.what());
    return EX_CANTCREAT;
  }
  log_warnings(*config);
  auto data_dir = DataDirLock::take(config->data_dir);  // before anything in it is touched
  if (!data_dir) {
    log::error("cannot use the data directory", {{"error", data_dir.error().message()}});
    return EX_CANTCREAT;
  }

  SystemClock clock;
  TimePoint started_at = clock.now();
  auto events = events::EventLog::open(config->events, clock);
  if (!events) {
    log::error("cannot open the event log", {{"error", events.error().message()}});
    return EX_CANTCREAT;
  }
  auto spool = queue::Spool::open(config->spool, clock);
  if (!spool) {
    log::error("cannot open the spool", {{"error", spool.error().message()}});
    return EX_IOERR;
  }

  CurrentConfig current(config);
  SubmissionPorts submission_ports(current);
  DeliveryPorts delivery_ports(current, clock);
  IoThreads threads("io", std::max(1u, std::thread::hardware_concurrency()));
  net::Resolver resolver(threads.context(0).get_executor(), config->dns, clock);
  delivery::Delivery delivery(threads, **spool, **events, resolver, delivery_ports, clock, delivery_options(config),
                              config->keys);
  submission::Server server(threads, **spool, **events, resolver, submission_ports, clock, submission_options(config));
  Reloader reloader(file, current, server, delivery, **events, clock);
  AdminPorts admin_ports(current, **spool, server, delivery, started_at, [&](std::function<void(Result<void>)> done) {
    loop.request([&reloader, done = std::move(done)] { done(reloader.reload()); });
  });
  admin::Server admin(admin_ports, **spool, clock, config->admin);

  (*spool)->on_stored([&events, &clock](const std::vector<queue::Accepted>& batch) {
    submission::record_accepted(batch, **events, clock);
  });
  (*spool)->on_accepted([&delivery](std::vector<queue::Accepted> batch) { delivery.accepted(std::move(batch)); });
  threads.start();
  delivery.start();
  int status = EX_OK;
  if (auto started = admin.start(); !started) {
    log::error("cannot open the admin socket", {{"error", started.error().message()}});
    status = EX_CANTCREAT;
  } else if (auto listening = server.start(); !listening) {
    log::error("cannot listen", {{"error", listening.error().message()}});
    status = EX_OSERR;
  } else {
    log::info("started", {{"version", kVersion}, {"hostname", config->hostname}});
    for (bool running = true; running;) {
      switch (loop.wait()) {
        case MainLoop::Wake::Stop:
          running = false;
          break;
        case MainLoop::Wake::Reload:
          (void)reloader.reload();  // a refusal is logged there
          break;
        case MainLoop::Wake::Request:
          for (auto& work : loop.take()) work();
          break;
      }
    }
    log::info("stopping");
  }

  auto grace = current.get()->delivery.shutdown_grace;
  server.stop(grace);
  admin.stop();
  delivery.stop(grace);
  resolver.stop();
  (*events)->flush();
  (*spool)->close();
  threads.stop();
  log::info("stopped");
  log::shutdown();
  return status;
}

int main(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == "--config" && i + 1 < argc) {
      arguments.config = argv[++i];
    } else if (argument == "--check") {
      arguments.check = true;
    } else if (argument == "--repair-spool") {
      arguments.repair = true;
    } else if (argument == "--version") {
      std::printf("dankid %s\n", kVersion);
      return EX_OK;
    } else if (argument == "--help") {
      std::fputs(kUsage, stdout);
      return EX_OK;
    } else {
      std::fputs(kUsage, stderr);
      return EX_USAGE;
    }
  }
  if (arguments.check) return check(arguments.config);
  auto config = config::load(arguments.config);
  if (!config) return report_problems(config.error());
  if (arguments.repair) return repair(*config);
  return run(arguments.config, std::move(*config));
}

}  // namespace
}  // namespace danki::daemon

int main(int argc, char** argv) {
  return danki::daemon::main(argc, argv);
}
