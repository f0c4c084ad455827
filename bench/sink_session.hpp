#pragma once

#include "bench/data_scanner.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The protocol half of smtp-sink-fast: a receiver that takes mail as fast as it can and counts it. It is no model of
/// a provider (tests/support/receiver is); it exists so that the receiver is never what a measurement measures.
namespace danki::bench {

/// The places where the sink can be told to answer something else than yes.
enum class SinkStage { Connect, Ehlo, Mail, Rcpt, Data, Dot };
constexpr std::size_t kSinkStages = 6;
constexpr std::array<std::string_view, kSinkStages> kSinkStageNames{"connect", "ehlo", "mail", "rcpt", "data", "dot"};

std::optional<SinkStage> parse_sink_stage(std::string_view name);

struct SinkCounters {
  uint64_t connections = 0;
  uint64_t messages = 0;    ///< accepted: answered 250 after the end of data
  uint64_t recipients = 0;  ///< of accepted messages
  uint64_t bytes = 0;       ///< content of accepted messages
  uint64_t refused = 0;     ///< commands answered by a configured 4xx or 5xx
};

struct SinkOptions {
  bool chunking = false;
  bool pipelining = true;
  std::string require_header;     ///< count accepted messages that carry this field
  std::string seen_path;          ///< append the X-Bench-Seq of each accepted message
  bool seen_immediately = false;  ///< write(2) before the 250, not in blocks
  bool seen_recipients = false;   ///< a line "SEQ RECIPIENT" per recipient
  std::string dump_dir;           ///< write the first `dump_first` messages here
  int dump_first = 0;
};

/// What all sessions share: replies in force, totals and the files. One thread.
class SinkLedger {
 public:
  explicit SinkLedger(SinkOptions options);  ///< throws std::system_error if the seen file cannot be opened
  ~SinkLedger();
  SinkLedger(const SinkLedger&) = delete;
  SinkLedger& operator=(const SinkLedger&) = delete;

  const SinkOptions& options() const { return options_; }
  std::array<std::string, kSinkStages>& replies() { return replies_; }  ///< empty text: the normal answer
  bool wants_header() const { return !options_.seen_path.empty() || !options_.require_header.empty(); }
  bool wants_content() const { return dumped_ < options_.dump_first; }

  void record(std::string_view header, std::string_view content, std::size_t bytes,
              const std::vector<std::string>& recipients);
  void flush();
  void reset();

  SinkCounters totals;
  uint64_t with_header = 0;
  double first_message_at = 0;  ///< seconds since the epoch; 0: none yet
  double last_message_at = 0;

 private:
  void record_seen(std::string_view sequence, const std::vector<std::string>& recipients);
  void dump(std::string_view content);

  SinkOptions options_;
  std::array<std::string, kSinkStages> replies_;
  int seen_fd_ = -1;
  std::string seen_buffer_;
  int dumped_ = 0;
};

/// One connection. Knows SMTP as far as a counting receiver must; knows no socket.
class SinkSession {
 public:
  SinkSession(SinkLedger& ledger, SinkCounters& listener, SinkCounters& client);

  void greet(std::string& out);
  /// Appends the answers to `in` to `out`. After it, is_over() says whether to close once `out` is sent.
  void receive(std::string_view in, std::string& out);
  bool is_over() const { return over_; }

 private:
  enum class State { Command, Data, Chunk };

  void command(std::string_view line, std::string& out);
  void on_ehlo(bool extended, std::string& out);
  void on_mail(std::string& out);
  void on_rcpt(std::string_view line, std::string& out);
  void on_data(std::string& out);
  void on_bdat(std::string_view line, std::string& out);
  void take_content(std::string_view bytes);
  void finish_message(std::string& out);
  void start_transaction();
  bool refused_by_order(SinkStage stage, std::string& out);

  SinkLedger& ledger_;
  SinkCounters& listener_;
  SinkCounters& client_;
  State state_ = State::Command;
  bool over_ = false;
  bool last_chunk_ = false;
  std::size_t chunk_left_ = 0;
  std::string line_;  ///< the start of a command whose end has not come yet
  DataScanner scanner_;
  std::size_t content_bytes_ = 0;
  bool has_mail_ = false;
  uint64_t recipient_count_ = 0;
  std::vector<std::string> recipients_;  ///< kept only when the seen file wants them
  bool header_complete_ = false;
  bool keeps_content_ = false;
  std::string header_;
  std::string content_;
};

}  // namespace danki::bench
