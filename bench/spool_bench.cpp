// How fast is the spool alone? Producers each store a message, wait until it is durable, and let it be delivered: its
// removal is recorded while the next ones are stored, as in the relay at work. And how long does a lone producer wait,
// against the bare append with fdatasync?
//
//   spool_bench [--directory DIR] [--messages N] [--producers N] [--size OCTETS] [--backlog N]
#include "base/time.hpp"
#include "queue/spool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using namespace danki;
using Steady = std::chrono::steady_clock;

struct Settings {
  std::filesystem::path directory = std::filesystem::temp_directory_path() / "danki-spool-bench";
  std::size_t messages = 0;  // 0: as many as suit the size
  std::size_t producers = 20;
  std::vector<std::size_t> sizes = {4096, 102400};
  std::size_t backlog = 0;  // store so many first, then drain them and watch the disk
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Anonymous memory now, in MiB.
double private_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::strtod(line.c_str() + 8, nullptr) / 1024;
  }
  return 0;
}

double disk_mib(const std::filesystem::path& directory) {
  double bytes = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, gone)) {
    if (entry.path().filename() == "reserve") continue;
    const auto size = entry.file_size(gone);
    if (!gone) bytes += static_cast<double>(size);
  }
  return bytes / (1 << 20);
}

queue::NewMessage make_message(std::size_t number, std::size_t size) {
  queue::NewMessage message;
  mail::Envelope& envelope = message.envelope;
  envelope.reverse_path = {.local = "bounces", .domain = "example.com"};
  envelope.recipients.push_back(
      {.address = {.local = fmt::format("user{}", number), .domain = fmt::format("site{}.test", number % 50)}});
  envelope.tenant = "signup";
  envelope.pool = "main";
  envelope.campaign = "launch";
  envelope.from_domain = "example.com";
  envelope.session = "0123456789abcdef";
  envelope.size = size;
  envelope.arrived_at = SystemClock().now();
  envelope.expires_at = envelope.arrived_at + std::chrono::hours(24);
  message.content.assign(size, 'x');
  // Not all the same octets: neither file system nor compression shall have it easy.
  std::uint64_t state = number * 0x9e3779b97f4a7c15ull + 1;
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    std::copy_n(reinterpret_cast<const char*>(&state), 8, message.content.data() + i);
  }
  return message;
}

queue::Outcome delivered(queue::MessagePtr message, queue::DueEntry entry) {
  queue::Outcome outcome;
  outcome.message = std::move(message);
  for (const std::uint32_t recipient : entry.recipients) {
    queue::RecipientProgress progress;
    progress.state = queue::RecipientProgress::State::Delivered;
    outcome.changes.push_back({.recipient = recipient, .progress = progress});
  }
  outcome.entry = std::move(entry);
  return outcome;
}

/// Stores one message and waits until it is durable.
void store(queue::Spool& spool, queue::NewMessage message) {
  std::promise<bool> done;
  spool.accept(std::move(message), [&](Result<queue::MessageId> id) { done.set_value(id.has_value()); });
  if (!done.get_future().get()) {
    fmt::print(stderr, "a message was refused\n");
    std::exit(1);
  }
}

std::unique_ptr<queue::Spool> open_spool(const Settings& settings, const Clock& clock) {
  queue::SpoolOptions options;
  options.directory = settings.directory;
  auto spool = queue::Spool::open(options, clock);
  if (!spool) {
    fmt::print(stderr, "{}\n", spool.error().message());
    std::exit(1);
  }
  return std::move(*spool);
}

/// Receivers that take everything at once: what was accepted is recorded as delivered, without a thread between.
void deliver_at_once(queue::Spool& spool) {
  spool.on_accepted([&spool](std::vector<queue::Accepted> batch) {
    std::vector<queue::Outcome> outcomes;
    outcomes.reserve(batch.size());
    for (queue::Accepted& accepted : batch)
      outcomes.push_back(delivered(std::move(accepted.message), std::move(accepted.entries.front())));
    spool.record(std::move(outcomes), nullptr);
  });
}

void produce(queue::Spool& spool, std::size_t producers, std::size_t messages, std::size_t size) {
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < producers; ++i) {
    threads.emplace_back([&] {
      for (std::size_t number; (number = next++) < messages;) store(spool, make_message(number, size));
    });
  }
}

void measure_throughput(const Settings& settings, std::size_t size) {
  const std::size_t messages = settings.messages ? settings.messages : size > 50'000 ? 20'000 : 200'000;
  std::filesystem::remove_all(settings.directory);
  const SystemClock clock;
  auto spool = open_spool(settings, clock);
  deliver_at_once(*spool);
  produce(*spool, settings.producers, messages / 20, size);  // warm
  const auto before = spool->stats();
  const double cpu = cpu_seconds();
  const auto begin = Steady::now();
  std::atomic<bool> over{false};
  double peak_memory = 0;
  std::jthread watcher([&] {
    while (!over) {
      peak_memory = std::max(peak_memory, private_mib());
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  produce(*spool, settings.producers, messages, size);
  const double seconds = std::chrono::duration<double>(Steady::now() - begin).count();
  over = true;
  watcher.join();
  const double used = cpu_seconds() - cpu;
  const auto after = spool->stats();
  // Making the messages costs as well; the relay would read them from sockets instead.
  const double making = cpu_seconds();
  for (std::size_t i = 0; i < 2000; ++i) make_message(i, size);
  const double per_message = (cpu_seconds() - making) / 2000;
  const auto count = static_cast<double>(messages);
  fmt::print(
      "{:7} octets, {} producers: {:8.0f} messages/s, {:.3f} CPU s per 1,000 (the spool's share {:.3f}), {:.3f} syncs "
      "per message, "
      "private memory {:.0f} MiB, disk {:.0f} MiB\n",
      size, settings.producers, count / seconds, used / count * 1000, (used / count - per_message) * 1000,
      static_cast<double>(after.syncs - before.syncs) / count, peak_memory, disk_mib(settings.directory));
  std::fflush(stdout);
}

double median_us(std::vector<double>& samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

/// Turn by turn, so that both see the same disk.
void measure_latency(const Settings& settings) {
  constexpr std::size_t kSize = 4096;
  constexpr std::size_t kRounds = 3000;
  std::filesystem::remove_all(settings.directory);
  const SystemClock clock;
  auto spool = open_spool(settings, clock);
  deliver_at_once(*spool);
  const std::string path = (settings.directory / "bare").string();
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  std::vector<double> bare, stored;
  for (std::size_t i = 0; i < kRounds; ++i) {
    queue::NewMessage message = make_message(i, kSize);
    auto begin = Steady::now();
    if (::write(file, message.content.data(), kSize) != static_cast<ssize_t>(kSize) || ::fdatasync(file) != 0)
      std::exit(1);
    bare.push_back(std::chrono::duration<double, std::micro>(Steady::now() - begin).count());
    begin = Steady::now();
    store(*spool, std::move(message));
    stored.push_back(std::chrono::duration<double, std::micro>(Steady::now() - begin).count());
  }
  ::close(file);
  const double bare_us = median_us(bare), stored_us = median_us(stored);
  fmt::print("lone producer, 4 KiB: p50 {:.0f} us, bare append and fdatasync {:.0f} us, factor {:.2f}\n", stored_us,
             bare_us, stored_us / bare_us);
  std::fflush(stdout);
}

/// A queue that grew while receivers deferred, then drains: how soon is the disk back?
void measure_drain(const Settings& settings, std::size_t size) {
  std::filesystem::remove_all(settings.directory);
  const SystemClock clock;
  auto spool = open_spool(settings, clock);
  auto begin = Steady::now();
  produce(*spool, settings.producers, settings.backlog, size);
  double seconds = std::chrono::duration<double>(Steady::now() - begin).count();
  fmt::print("{} messages of {} octets stored in {:.1f} s, disk {:.0f} MiB, private memory {:.0f} MiB\n",
             settings.backlog, size, seconds, disk_mib(settings.directory), private_mib());
  begin = Steady::now();
  const auto lanes = spool->scan_lanes(spool->last_id());
  fmt::print("lanes counted in {:.2f} s\n", std::chrono::duration<double>(Steady::now() - begin).count());
  begin = Steady::now();
  std::size_t drained = 0;
  double peak_memory = 0;
  for (const queue::LaneCount& lane : *lanes) {
    std::optional<queue::DueEntry> from;
    do {
      auto page = spool->read_lane(lane.lane, from, TimePoint::max(), 1000);
      std::vector<queue::Outcome> outcomes;
      for (queue::DueEntry& entry : page->entries) {
        auto message = spool->load(entry.id);
        if (!message || !spool->read_content(entry.id)) std::exit(1);
        outcomes.push_back(delivered(std::move(*message), std::move(entry)));
      }
      drained += outcomes.size();
      std::promise<void> applied;
      spool->record(std::move(outcomes), [&] { applied.set_value(); });
      applied.get_future().get();
      from = std::move(page->next);
      peak_memory = std::max(peak_memory, private_mib());
    } while (from);
  }
  seconds = std::chrono::duration<double>(Steady::now() - begin).count();
  fmt::print("{} drained in {:.1f} s, {} left, disk {:.0f} MiB, private memory at most {:.0f} MiB\n", drained, seconds,
             spool->stats().messages, disk_mib(settings.directory), peak_memory);
  begin = Steady::now();
  for (int waited = 0; waited < 90; waited += 5) {
    std::this_thread::sleep_until(begin + std::chrono::seconds(waited + 5));
    fmt::print("{:3} s later: disk {:.0f} MiB\n", waited + 5, disk_mib(settings.directory));
    std::fflush(stdout);
  }
}

Settings read_command_line(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    const auto number = static_cast<std::size_t>(std::strtoull(argv[i + 1], nullptr, 10));
    if (option == "--directory") settings.directory = argv[i + 1];
    if (option == "--messages") settings.messages = number;
    if (option == "--producers") settings.producers = number;
    if (option == "--size") settings.sizes = {number};
    if (option == "--backlog") settings.backlog = number;
  }
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings = read_command_line(argc, argv);
  if (settings.backlog > 0) {
    measure_drain(settings, settings.sizes.front());
  } else {
    measure_latency(settings);
    for (const std::size_t size : settings.sizes) measure_throughput(settings, size);
  }
  std::filesystem::remove_all(settings.directory);
}
