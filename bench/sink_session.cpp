#include "bench/sink_session.hpp"

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <strings.h>
#include <unistd.h>

namespace danki::bench {
namespace {

constexpr std::size_t kMaxCommandBytes = 4096;
constexpr std::size_t kMaxHeaderBytes = 64 * 1024;
constexpr std::size_t kSeenBufferBytes = 64 * 1024;
constexpr std::string_view kSequenceField = "X-Bench-Seq";

bool starts_with_word(std::string_view line, std::string_view word) {
  return line.size() >= word.size() && strncasecmp(line.data(), word.data(), word.size()) == 0;
}

/// The body of a header field if `line` is one of that name.
std::optional<std::string_view> field_body(std::string_view line, std::string_view name) {
  if (!starts_with_word(line, name) || line.size() <= name.size() || line[name.size()] != ':') return std::nullopt;
  auto body = line.substr(name.size() + 1);
  while (!body.empty() && (body.front() == ' ' || body.front() == '\t')) body.remove_prefix(1);
  return body;
}

double now_seconds() {
  using namespace std::chrono;
  return duration<double>(system_clock::now().time_since_epoch()).count();
}

std::string without_stuffed_dots(std::string_view content) {
  std::string plain;
  plain.reserve(content.size());
  for (std::size_t i = 0; i < content.size(); ++i) {
    bool at_line_start = i == 0 || (i >= 2 && content[i - 2] == '\r' && content[i - 1] == '\n');
    if (!(at_line_start && content[i] == '.')) plain += content[i];
  }
  return plain;
}

}  // namespace

std::optional<SinkStage> parse_sink_stage(std::string_view name) {
  for (std::size_t i = 0; i < kSinkStages; ++i) {
    if (kSinkStageNames[i] == name) return static_cast<SinkStage>(i);
  }
  return std::nullopt;
}

SinkLedger::SinkLedger(SinkOptions options) : options_(std::move(options)) {
  if (options_.seen_path.empty()) return;
  seen_fd_ = open(options_.seen_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (seen_fd_ < 0) throw std::system_error(errno, std::generic_category(), options_.seen_path);
}

SinkLedger::~SinkLedger() {
  flush();
  if (seen_fd_ >= 0) close(seen_fd_);
}

void SinkLedger::record(std::string_view header, std::string_view content, std::size_t bytes,
                        const std::vector<std::string>& recipients) {
  totals.bytes += bytes;
  last_message_at = now_seconds();
  if (first_message_at == 0) first_message_at = last_message_at;
  if (wants_header()) {
    std::string_view sequence;
    bool has_required = false;
    while (!header.empty()) {
      auto end = header.find("\r\n");
      auto line = header.substr(0, end);
      header.remove_prefix(end == std::string_view::npos ? header.size() : end + 2);
      if (auto body = field_body(line, kSequenceField)) sequence = *body;
      if (!options_.require_header.empty() && field_body(line, options_.require_header)) has_required = true;
    }
    with_header += has_required;
    if (seen_fd_ >= 0) record_seen(sequence, recipients);
  }
  if (wants_content()) dump(content);
}

void SinkLedger::record_seen(std::string_view sequence, const std::vector<std::string>& recipients) {
  if (sequence.empty()) sequence = "-";
  if (options_.seen_recipients) {
    for (const std::string& recipient : recipients) seen_buffer_ += fmt::format("{} {}\n", sequence, recipient);
  } else {
    seen_buffer_ += sequence;
    seen_buffer_ += '\n';
  }
  if (options_.seen_immediately || seen_buffer_.size() >= kSeenBufferBytes) flush();
}

void SinkLedger::dump(std::string_view content) {
  std::ofstream file(fmt::format("{}/{}.eml", options_.dump_dir, ++dumped_), std::ios::binary);
  file << content;
}

void SinkLedger::flush() {
  std::string_view left = seen_buffer_;
  while (!left.empty() && seen_fd_ >= 0) {
    auto written = write(seen_fd_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      // A count of losses from a short file would accuse the relay of what the disk did.
      fmt::print(stderr, "smtp-sink-fast: {}: {}\n", options_.seen_path, std::strerror(errno));
      std::abort();
    }
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  seen_buffer_.clear();
}

void SinkLedger::reset() {
  flush();
  totals = {};
  with_header = 0;
  first_message_at = last_message_at = 0;
}

SinkSession::SinkSession(SinkLedger& ledger, SinkCounters& listener, SinkCounters& client)
    : ledger_(ledger), listener_(listener), client_(client) {
  for (SinkCounters* counters : {&ledger_.totals, &listener_, &client_}) ++counters->connections;
}

void SinkSession::greet(std::string& out) {
  if (refused_by_order(SinkStage::Connect, out)) {
    over_ = true;
  } else {
    out += "220 sink ESMTP\r\n";
  }
}

void SinkSession::receive(std::string_view in, std::string& out) {
  while (!in.empty() && !over_) {
    if (state_ == State::Data) {
      auto end = scanner_.feed(in);
      take_content(in.substr(0, end.value_or(in.size())));
      if (!end) return;
      in.remove_prefix(*end);
      constexpr std::size_t kDotBytes = 3;  // ".CRLF"; the CRLF before it ends the last line of the content
      content_bytes_ -= kDotBytes;
      if (keeps_content_) content_ = without_stuffed_dots(std::string_view(content_).substr(0, content_bytes_));
      finish_message(out);
    } else if (state_ == State::Chunk) {
      auto taken = in.substr(0, chunk_left_);
      take_content(taken);
      in.remove_prefix(taken.size());
      chunk_left_ -= taken.size();
      if (chunk_left_ > 0) return;
      if (last_chunk_) {
        finish_message(out);
      } else {
        state_ = State::Command;
        out += "250 2.0.0 chunk taken\r\n";
      }
    } else {
      auto newline = in.find('\n');
      auto piece = in.substr(0, newline);
      in.remove_prefix(newline == std::string_view::npos ? in.size() : newline + 1);
      if (line_.size() + piece.size() > kMaxCommandBytes) {
        out += "500 5.5.2 line too long\r\n";
        over_ = true;
        return;
      }
      if (newline == std::string_view::npos) {
        line_ += piece;
        return;
      }
      if (!line_.empty()) piece = line_ += piece;
      if (piece.ends_with('\r')) piece.remove_suffix(1);
      command(piece, out);
      line_.clear();
    }
  }
}

void SinkSession::command(std::string_view line, std::string& out) {
  if (starts_with_word(line, "MAIL FROM:")) return on_mail(out);
  if (starts_with_word(line, "RCPT TO:")) return on_rcpt(line.substr(8), out);
  if (starts_with_word(line, "DATA")) return on_data(out);
  if (starts_with_word(line, "BDAT ") && ledger_.options().chunking) return on_bdat(line.substr(5), out);
  if (starts_with_word(line, "EHLO")) return on_ehlo(true, out);
  if (starts_with_word(line, "HELO")) return on_ehlo(false, out);
  if (starts_with_word(line, "RSET")) {
    start_transaction();
    out += "250 2.0.0 ok\r\n";
  } else if (starts_with_word(line, "NOOP")) {
    out += "250 2.0.0 ok\r\n";
  } else if (starts_with_word(line, "QUIT")) {
    out += "221 2.0.0 bye\r\n";
    over_ = true;
  } else {
    out += "500 5.5.1 not known here\r\n";
  }
}

void SinkSession::on_ehlo(bool extended, std::string& out) {
  if (refused_by_order(SinkStage::Ehlo, out)) return;
  start_transaction();
  if (!extended) {
    out += "250 sink\r\n";
    return;
  }
  out += "250-sink\r\n";
  if (ledger_.options().pipelining) out += "250-PIPELINING\r\n";
  if (ledger_.options().chunking) out += "250-CHUNKING\r\n";
  out += "250-8BITMIME\r\n250-SIZE 104857600\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n";
}

void SinkSession::on_mail(std::string& out) {
  if (refused_by_order(SinkStage::Mail, out)) return;
  start_transaction();
  has_mail_ = true;
  out += "250 2.1.0 ok\r\n";
}

void SinkSession::on_rcpt(std::string_view line, std::string& out) {
  if (!has_mail_) {
    out += "503 5.5.1 MAIL first\r\n";  // behind a refused MAIL, when pipelined
    return;
  }
  if (refused_by_order(SinkStage::Rcpt, out)) return;
  ++recipient_count_;
  if (ledger_.options().seen_recipients) {
    auto open = line.find('<');
    auto close = line.find('>');
    if (open != std::string_view::npos && close != std::string_view::npos && open < close) {
      line = line.substr(open + 1, close - open - 1);
    }
    recipients_.emplace_back(line);
  }
  out += "250 2.1.5 ok\r\n";
}

void SinkSession::on_data(std::string& out) {
  if (recipient_count_ == 0) {
    out += "554 5.5.1 no valid recipients\r\n";
    return;
  }
  if (refused_by_order(SinkStage::Data, out)) return;
  state_ = State::Data;
  scanner_.start();
  out += "354 go ahead\r\n";
}

void SinkSession::on_bdat(std::string_view line, std::string& out) {
  auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), chunk_left_);
  if (error != std::errc{}) {
    out += "501 5.5.4 BDAT needs a size\r\n";
    over_ = true;  // the chunk that follows cannot be told from commands
    return;
  }
  last_chunk_ = starts_with_word(line.substr(static_cast<std::size_t>(end - line.data())), " LAST");
  state_ = State::Chunk;
  if (chunk_left_ > 0) return;
  if (last_chunk_) return finish_message(out);
  state_ = State::Command;
  out += "250 2.0.0 chunk taken\r\n";
}

void SinkSession::take_content(std::string_view bytes) {
  content_bytes_ += bytes.size();
  if (keeps_content_) content_ += bytes;
  if (header_complete_) return;
  auto kept_before = header_.size();
  // The blank line is nearly always in the first piece; then the body behind it need not be copied.
  header_ += kept_before == 0 ? bytes.substr(0, bytes.find("\r\n\r\n")) : bytes;
  if (kept_before == 0 && header_.size() < bytes.size()) header_complete_ = true;
  auto end = header_.find("\r\n\r\n", kept_before < 3 ? 0 : kept_before - 3);
  if (end != std::string::npos) header_.resize(end);
  if (end != std::string::npos || header_.size() >= kMaxHeaderBytes) header_complete_ = true;
}

void SinkSession::finish_message(std::string& out) {
  state_ = State::Command;
  if (recipient_count_ == 0) {
    out += "554 5.5.1 no valid recipients\r\n";  // a BDAT after refused RCPTs
  } else if (!refused_by_order(SinkStage::Dot, out)) {
    for (SinkCounters* counters : {&ledger_.totals, &listener_, &client_}) {
      ++counters->messages;
      counters->recipients += recipient_count_;
    }
    listener_.bytes += content_bytes_;
    client_.bytes += content_bytes_;
    ledger_.record(header_, content_, content_bytes_, recipients_);
    out += "250 2.0.0 taken\r\n";
  }
  start_transaction();
}

void SinkSession::start_transaction() {
  has_mail_ = false;
  recipient_count_ = 0;
  content_bytes_ = 0;
  recipients_.clear();
  header_.clear();
  content_.clear();
  keeps_content_ = ledger_.wants_content();
  header_complete_ = !ledger_.wants_header();
}

bool SinkSession::refused_by_order(SinkStage stage, std::string& out) {
  const std::string& reply = ledger_.replies()[static_cast<std::size_t>(stage)];
  if (reply.empty()) return false;
  for (SinkCounters* counters : {&ledger_.totals, &listener_, &client_}) ++counters->refused;
  out += reply;
  out += "\r\n";
  if (reply.starts_with("421")) over_ = true;
  return true;
}

}  // namespace danki::bench
