// smtp-sink-fast: the receiver of the benches. Takes mail on many addresses as fast as it can, counts it, and can be
// told at run time to refuse.

#include "bench/sink_server.hpp"
#include "tests/support/command_line.hpp"

#include <exception>
#include <fstream>

#include <fmt/core.h>
#include <sysexits.h>

namespace {

using namespace danki;

struct Arguments {
  std::vector<std::string> listen;
  std::array<std::string, bench::kSinkStages> replies;
  bool replies_on_signal_only = false;
  std::string control;
  std::string port_file;
  int delay_ms = 0;
  bool no_pipelining = false;
  bool quiet = false;
  bench::SinkOptions sink;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  support::CommandLine line("smtp-sink-fast", "accepts mail as fast as it can and counts it");
  line.list("--listen", arguments.listen, "ADDRESS:PORT or FIRST-LAST:PORT; may be repeated (127.0.0.1:2526)");
  line.value("--control", arguments.control,
             "unix socket for: stats, reply STAGE CODE TEXT, reply normal, delay MS, "
             "reset, quit");
  for (std::size_t i = 0; i < bench::kSinkStages; ++i) {
    line.value(fmt::format("--reply-{}", bench::kSinkStageNames[i]), arguments.replies[i],
               fmt::format("\"CODE TEXT\" instead of the normal answer to {}", bench::kSinkStageNames[i]));
  }
  line.flag("--replies-on-signal", arguments.replies_on_signal_only,
            "start with normal answers; SIGUSR1 switches the --reply-... answers on and off");
  line.flag("--chunking", arguments.sink.chunking, "announce CHUNKING");
  line.flag("--no-pipelining", arguments.no_pipelining, "do not announce PIPELINING");
  line.value("--seen-file", arguments.sink.seen_path, "append the X-Bench-Seq of each accepted message");
  line.flag("--seen-immediate", arguments.sink.seen_immediately, "write it before the 250 instead of in blocks");
  line.flag("--seen-recipients", arguments.sink.seen_recipients, "a line \"SEQ RECIPIENT\" per recipient");
  line.value("--require-header", arguments.sink.require_header, "count accepted messages with this header field");
  line.value("--dump-dir", arguments.sink.dump_dir, "existing folder for <n>.eml of the first messages");
  line.value("--dump-first", arguments.sink.dump_first, "how many to write there");
  line.value("--delay-ms", arguments.delay_ms, "hold each write of answers back, like a distant receiver");
  line.value("--port-file", arguments.port_file, "write a line ADDRESS:PORT per listener here once they listen");
  line.flag("--quiet", arguments.quiet, "do not print the statistics at the end");
  line.parse(argc, argv);
  arguments.sink.pipelining = !arguments.no_pipelining;
  if (arguments.listen.empty()) arguments.listen.push_back("127.0.0.1:2526");
  return arguments;
}

void run(const Arguments& arguments) {
  bench::SinkLedger ledger(arguments.sink);
  if (!arguments.replies_on_signal_only) ledger.replies() = arguments.replies;
  bench::SinkServer server(ledger, arguments.delay_ms);
  server.set_alternate_replies(arguments.replies);
  std::string addresses;
  for (const std::string& range : arguments.listen) {
    for (const auto& endpoint : support::parse_endpoints(range, 2526)) {
      addresses += server.listen(endpoint).to_string() + "\n";
    }
  }
  if (!arguments.control.empty()) server.listen_for_control(arguments.control);
  if (!arguments.port_file.empty()) {
    // Renamed into place: whoever waits for the file finds it complete.
    auto unfinished = arguments.port_file + ".new";
    std::ofstream(unfinished) << addresses;
    if (std::rename(unfinished.c_str(), arguments.port_file.c_str()) != 0)
      throw std::runtime_error(arguments.port_file);
  }
  server.run();
  if (!arguments.quiet) fmt::print("{}\n", server.stats_json());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "smtp-sink-fast: {}\n", error.what());
    return EX_OSERR;
  }
}
