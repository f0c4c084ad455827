// smtp-load: the sender of the benches. Keeps sessions open and hands over prebuilt messages, each with a sequence
// token, so that losses and duplicates can be counted behind the relay.

#include "bench/load_worker.hpp"
#include "tests/support/command_line.hpp"

#include <algorithm>
#include <exception>
#include <future>
#include <random>
#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <sysexits.h>
#include <unistd.h>

namespace {

using namespace danki;
using bench::LoadOptions;
using bench::LoadResult;

LoadOptions parse(int argc, char** argv) {
  LoadOptions options;
  support::CommandLine line("smtp-load", "sends mail over sessions kept open and measures");
  line.value("--host", options.host, "address of the server (127.0.0.1)");
  line.value("--port", options.port, "its port (2525)");
  line.value("--sessions", options.sessions, "connections at once (20)");
  line.value("--threads", options.threads, "threads that share them (1)");
  line.value("--count", options.count, "messages (1000)");
  line.value("--seconds", options.seconds, "take no new message after this long");
  line.value("--timeout", options.timeout_seconds, "end the run after this many seconds (600)");
  line.value("--rate", options.rate, "messages per second over all sessions");
  line.value("--size", options.size, "bytes of content with its header section (4096)");
  line.value("--domains", options.domains, "recipient domains, used in turn (50)");
  line.value("--domain-pattern", options.domain_pattern, "their names, {} stands for the number (d{:02}.test)");
  line.value("--local-part", options.local_part, "of the recipients (user)");
  line.value("--rcpts-per-message", options.rcpts_per_message, "recipients of each message (1)");
  line.flag("--same-domain", options.same_domain, "all recipients of a message in one domain");
  line.value("--from", options.from, "reverse-path (news@example.com)");
  line.value("--from-header", options.from_header, "address in the From field (the reverse-path)");
  line.list("--header", options.header, "a further header line; may be repeated");
  line.value("--helo", options.helo, "name in EHLO (load.example.com)");
  line.value("--auth", options.auth, "user:password for AUTH PLAIN (without TLS: loopback only)");
  line.value("--run", options.run, "first half of the sequence tokens (random)");
  line.flag("--pipelining", options.pipelining, "MAIL, RCPT and DATA in one write");
  line.flag("--connection-per-message", options.connection_per_message, "QUIT after each message");
  line.value("--retry", options.retry, "tries after a 4xx or a lost connection, each message and session (0)");
  line.value("--retry-delay-ms", options.retry_delay_ms, "pause before a retry (100)");
  line.value("--acked-file", options.acked_path, "append the token of each message answered 250, by write(2) at once");
  line.flag("--latency", options.latency, "measure end of data to 250, and whole transactions");
  line.flag("--json", options.json, "print the result as JSON");
  line.parse(argc, argv);
  if (options.run.empty()) options.run = fmt::format("{:08x}", std::random_device{}());
  if (options.sessions < 1 || options.threads < 1 || options.domains < 1 || options.rcpts_per_message < 1) {
    fmt::print(stderr, "smtp-load: sessions, threads, domains and recipients are at least 1\n");
    std::exit(EX_USAGE);
  }
  return options;
}

struct Percentiles {
  float p50 = 0, p90 = 0, p99 = 0, max = 0;
};

Percentiles percentiles_of(std::vector<float> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return {at(0.50), at(0.90), at(0.99), values.back()};
}

std::string to_json(const Percentiles& p) {
  return fmt::format(R"({{"p50":{:.3f},"p90":{:.3f},"p99":{:.3f},"max":{:.3f}}})", p.p50, p.p90, p.p99, p.max);
}

void print_json(const LoadOptions& options, const LoadResult& result, double started_at, double seconds) {
  std::string refused;
  for (auto [code, count] : result.refused)
    refused += fmt::format(R"({}"{}":{})", refused.empty() ? "" : ",", code, count);
  fmt::print(
      R"({{"run":"{}","started_at":{:.6f},"sent":{},"accepted":{},"refused":{{{}}},"unknown":{},"given_up":{},"retries":{},)",
      options.run, started_at, result.sent, result.accepted, refused, result.unknown, result.given_up, result.retries);
  fmt::print(R"("connections":{},"connections_lost":{},"seconds":{:.4f},"per_second":{:.1f})", result.connections,
             result.connections_lost, seconds, seconds > 0 ? static_cast<double>(result.accepted) / seconds : 0.0);
  if (options.latency) {
    fmt::print(R"(,"dot_ms":{},"transaction_ms":{})", to_json(percentiles_of(result.dot_ms)),
               to_json(percentiles_of(result.transaction_ms)));
  }
  fmt::print("}}\n");
}

void print_text(const LoadOptions& options, const LoadResult& result, double seconds) {
  fmt::print("run {}: {} of {} accepted in {:.2f} s, {:.0f}/s\n", options.run, result.accepted, options.count, seconds,
             seconds > 0 ? static_cast<double>(result.accepted) / seconds : 0.0);
  for (auto [code, count] : result.refused) fmt::print("  refused {}: {}\n", code, count);
  if (result.unknown + result.given_up + result.connections_lost > 0) {
    fmt::print("  unknown {}, given up {}, connections lost {}, retries {}\n", result.unknown, result.given_up,
               result.connections_lost, result.retries);
  }
  if (!options.latency) return;
  auto row = [](const char* name, const Percentiles& p) {
    fmt::print("  {:<22} p50 {:.3f}  p90 {:.3f}  p99 {:.3f}  max {:.3f} ms\n", name, p.p50, p.p90, p.p99, p.max);
  };
  row("end of data to 250", percentiles_of(result.dot_ms));
  row("transaction", percentiles_of(result.transaction_ms));
}

/// `started_at` is set in seconds since the epoch: what a receiver noted can be compared with it.
LoadResult run(const LoadOptions& options, double& started_at, double& seconds) {
  bench::MessageTemplate message(options);
  bench::LoadRun load{.options = options, .message = message};
  for (int i = 0; i < options.domains; ++i)
    load.domains.push_back(fmt::format(fmt::runtime(options.domain_pattern), i));
  bool is_v6 = options.host.find(':') != std::string::npos;
  load.server = support::parse_endpoint(is_v6 ? "[" + options.host + "]" : options.host, options.port);
  support::Descriptor acked;
  if (!options.acked_path.empty()) {
    acked = support::Descriptor(open(options.acked_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!acked) throw std::system_error(errno, std::generic_category(), options.acked_path);
    load.acked_fd = acked.get();
  }
  load.started_at = std::chrono::steady_clock::now();
  started_at = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();

  std::vector<std::future<LoadResult>> threads;
  for (int i = 0; i < options.threads; ++i) {
    int share = options.sessions / options.threads + (i < options.sessions % options.threads ? 1 : 0);
    if (share == 0) continue;
    threads.push_back(std::async(std::launch::async, [&load, share] { return bench::LoadWorker(load, share).run(); }));
  }
  LoadResult total;
  for (auto& thread : threads) total.add(thread.get());
  auto end = total.accepted > 0 ? total.last_accepted_at : std::chrono::steady_clock::now();
  seconds = std::chrono::duration<double>(end - load.started_at).count();
  return total;
}

}  // namespace

int main(int argc, char** argv) {
  auto options = parse(argc, argv);
  try {
    double started_at = 0, seconds = 0;
    auto result = run(options, started_at, seconds);
    options.json ? print_json(options, result, started_at, seconds) : print_text(options, result, seconds);
    return result.accepted > 0 || options.count == 0 ? 0 : EX_UNAVAILABLE;
  } catch (const std::exception& error) {
    fmt::print(stderr, "smtp-load: {}\n", error.what());
    return EX_SOFTWARE;
  }
}
