#include "tests/support/receiver_session.hpp"

#include <algorithm>
#include <charconv>

#include <boost/json.hpp>
#include <fmt/core.h>
#include <strings.h>

namespace danki::support {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxCommandBytes = 4096;
constexpr std::size_t kMaxRecipients = 10'000;

bool starts_with_word(std::string_view line, std::string_view word) {
  return line.size() >= word.size() && strncasecmp(line.data(), word.data(), word.size()) == 0;
}

bool has_octets_above_127(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) > 127; });
}

/// "<user@example.com> SIZE=10 BODY=7BIT"; nothing if it is not of that form.
std::optional<EnvelopeAddress> parse_path(std::string_view text) {
  if (text.starts_with(' ')) text.remove_prefix(1);  // not RFC 5321's grammar, and common
  if (!text.starts_with('<')) return std::nullopt;
  auto close = std::string_view::npos;
  bool quoted = false;
  for (std::size_t i = 1; i < text.size() && close == std::string_view::npos; ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == '>' && !quoted) {
      close = i;
    }
  }
  if (close == std::string_view::npos) return std::nullopt;
  EnvelopeAddress path{.address = std::string(text.substr(1, close - 1))};
  text.remove_prefix(close + 1);
  while (!text.empty()) {
    if (text[0] != ' ') return std::nullopt;
    text.remove_prefix(1);
    auto word = text.substr(0, text.find(' '));
    text.remove_prefix(word.size());
    if (!word.empty()) path.parameters.emplace_back(word);
  }
  return path;
}

bool has_parameter(const EnvelopeAddress& address, std::string_view text) {
  return std::any_of(address.parameters.begin(), address.parameters.end(), [&](const std::string& parameter) {
    return parameter.size() == text.size() && strcasecmp(parameter.c_str(), std::string(text).c_str()) == 0;
  });
}

void replace_all(std::string& text, std::string_view placeholder, std::string_view value) {
  for (auto at = text.find(placeholder); at != std::string::npos; at = text.find(placeholder, at + value.size())) {
    text.replace(at, placeholder.size(), value);
  }
}

/// "550 one\ntwo" as it goes over the wire: "550-one CRLF 550 two CRLF".
std::string wire_reply(std::string_view text) {
  std::string code(text.substr(0, 3));
  text.remove_prefix(std::min<std::size_t>(text.size(), 4));
  std::string wire;
  while (true) {
    auto newline = text.find('\n');
    wire += fmt::format("{}{}{}\r\n", code, newline == std::string_view::npos ? ' ' : '-', text.substr(0, newline));
    if (newline == std::string_view::npos) return wire;
    text.remove_prefix(newline + 1);
  }
}

}  // namespace

ReceiverSession::ReceiverSession(ReceiverContext& context, ReceiverConnection connection, Channel channel)
    : context_(context), connection_(std::move(connection)), channel_(std::move(channel)) {
  content_.limit(context_.max_bytes);
}

void ReceiverSession::run() {
  auto started_at = std::chrono::steady_clock::now();
  log({{"event", "connect"}});
  converse();
  channel_.close();
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started_at);
  log({{"event", "close"}, {"messages", messages_}, {"ended_by", ended_by_}, {"ms", ms.count()}});
}

bool ReceiverSession::converse() {
  if (connection_.implicit_tls && !channel_.accept_tls(context_.tls.get())) {
    ended_by_ = "tls handshake";
    return false;
  }
  Ruling greeting = rule_on(Stage::Connect, fmt::format("220 {} ESMTP", context_.hostname));
  if (!answer(greeting)) return false;
  bool refused_all = !greeting.accepts();  // RFC 5321 section 3.1: after 554 wait for QUIT
  std::string line;
  while (next_line(line)) {
    if (refused_all && !starts_with_word(line, "QUIT")) {
      if (!reply("503 5.5.1 no service here")) return false;
    } else if (!command(line)) {
      return false;
    }
  }
  return false;
}

bool ReceiverSession::next_line(std::string& line) {
  while (true) {
    std::string& buffer = channel_.buffer();
    auto newline = buffer.find('\n');
    if (newline != std::string::npos && newline <= kMaxCommandBytes) {
      line = buffer.substr(0, newline);
      buffer.erase(0, newline + 1);
      if (line.ends_with('\r')) {
        line.pop_back();
      } else {
        note_violation("command ended by a bare LF");
      }
      return true;
    }
    if (buffer.size() > kMaxCommandBytes) {
      ended_by_ = "line too long";
      reply("500 5.5.2 line too long");
      return false;
    }
    if (!channel_.fill(context_.idle_timeout)) return false;
  }
}

bool ReceiverSession::command(const std::string& line) {
  std::string_view text = line;
  bool may_pipeline = announces("PIPELINING");
  if (!may_pipeline && !channel_.buffer().empty()) note_violation("commands pipelined without PIPELINING");
  if (starts_with_word(text, "EHLO ")) return on_greeting(text.substr(5), true);
  if (starts_with_word(text, "HELO ")) return on_greeting(text.substr(5), false);
  if (starts_with_word(text, "MAIL FROM:")) return on_mail(text.substr(10));
  if (starts_with_word(text, "RCPT TO:")) return on_rcpt(text.substr(8));
  if (text.size() == 4 && starts_with_word(text, "DATA")) return on_data();
  if (starts_with_word(text, "BDAT ")) return on_bdat(text.substr(5));
  if (starts_with_word(text, "STARTTLS")) return on_starttls();
  if (starts_with_word(text, "RSET")) {
    reset_transaction();
    return reply("250 2.0.0 reset");
  }
  if (starts_with_word(text, "NOOP")) return reply("250 2.0.0 ok");
  if (starts_with_word(text, "VRFY")) return reply("252 2.1.5 send mail and see");
  if (starts_with_word(text, "QUIT")) {
    ended_by_ = "quit";
    reply("221 2.0.0 bye");
    return false;
  }
  note_violation(fmt::format("unknown command \"{}\"", text.substr(0, 40)));
  return reply("500 5.5.1 command not known");
}

bool ReceiverSession::on_greeting(std::string_view argument, bool extended) {
  helo_ = argument;
  Ruling ruling = extended ? rule_on(Stage::Ehlo, ehlo_reply()) : rule_on(Stage::Helo, "250 " + context_.hostname);
  if (ruling.accepts()) {
    reset_transaction();
    esmtp_ = extended;
  } else {
    helo_.clear();
  }
  return answer(ruling);
}

std::string ReceiverSession::ehlo_reply() {
  std::string text = "250 " + context_.hostname;
  for (std::string_view extension : {"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING"}) {
    if (announces(extension)) text += fmt::format("\n{}", extension);
  }
  if (announces("SIZE")) text += fmt::format("\nSIZE {}", context_.max_bytes);
  if (announces("STARTTLS") && !channel_.is_tls()) text += "\nSTARTTLS";
  return text;
}

bool ReceiverSession::announces(std::string_view extension) {
  bool by_default = true;
  if (extension == "CHUNKING") by_default = context_.chunking;
  if (extension == "STARTTLS" && !context_.tls) return false;
  return context_.scenario()->announces(extension, connection_.listen, by_default);
}

bool ReceiverSession::on_starttls() {
  if (!announces("STARTTLS") || channel_.is_tls()) return reply("503 5.5.1 no STARTTLS now");
  Ruling ruling = rule_on(Stage::StartTls, "220 2.0.0 go ahead");
  if (!channel_.buffer().empty()) {
    // RFC 3207 section 4.2: what came in the clear behind STARTTLS is not believed.
    note_violation("commands sent behind STARTTLS");
    channel_.buffer().clear();
  }
  if (!answer(ruling)) return false;
  if (!ruling.accepts()) return true;
  helo_.clear();
  reset_transaction();
  if (channel_.accept_tls(context_.tls.get())) return true;
  ended_by_ = "tls handshake";
  return false;
}

bool ReceiverSession::on_mail(std::string_view argument) {
  if (helo_.empty()) return reply("503 5.5.1 EHLO first");
  if (in_transaction_) return reply("503 5.5.1 a transaction is open already");
  auto path = parse_path(argument);
  if (!path) return reply("501 5.1.7 bad reverse-path");
  mail_ = *path;
  auto refusal = refusal_of_parameters(mail_, true);
  Ruling ruling = rule_on(Stage::Mail, refusal.empty() ? "250 2.1.0 ok" : refusal);
  in_transaction_ = ruling.accepts();
  if (!ruling.accepts()) log({{"event", "refused"}, {"stage", "mail"}, {"reply", ruling.reply}});
  return answer(ruling);
}

bool ReceiverSession::on_rcpt(std::string_view argument) {
  if (!in_transaction_ || in_chunks_) return reply("503 5.5.1 MAIL first");
  auto path = parse_path(argument);
  if (!path || path->address.empty()) return reply("501 5.1.3 bad forward-path");
  if (rcpts_.size() >= kMaxRecipients) return reply("452 4.5.3 too many recipients");
  auto refusal = refusal_of_parameters(*path, false);
  Ruling ruling = rule_on(Stage::Rcpt, refusal.empty() ? "250 2.1.5 ok" : refusal, path->address);
  if (ruling.accepts()) {
    rcpts_.push_back(*path);
  } else {
    log({{"event", "refused"}, {"stage", "rcpt"}, {"rcpt", path->address}, {"reply", ruling.reply}});
  }
  return answer(ruling);
}

/// RFC 5321 section 4.1.1.11: parameters nobody announced are answered 555.
std::string ReceiverSession::refusal_of_parameters(const EnvelopeAddress& address, bool is_mail) {
  bool with_utf8 = has_parameter(is_mail ? address : mail_, "SMTPUTF8");
  if (has_octets_above_127(address.address) && !with_utf8) return "553 5.6.7 SMTPUTF8 is needed for this address";
  for (const std::string& parameter : address.parameters) {
    auto name = parameter.substr(0, parameter.find('='));
    std::string_view extension;
    if (is_mail && strcasecmp(name.c_str(), "SIZE") == 0) extension = "SIZE";
    if (is_mail && strcasecmp(name.c_str(), "BODY") == 0) extension = "8BITMIME";
    if (is_mail && strcasecmp(name.c_str(), "SMTPUTF8") == 0) extension = "SMTPUTF8";
    if (is_mail && (strcasecmp(name.c_str(), "RET") == 0 || strcasecmp(name.c_str(), "ENVID") == 0)) extension = "DSN";
    if (!is_mail && (strcasecmp(name.c_str(), "NOTIFY") == 0 || strcasecmp(name.c_str(), "ORCPT") == 0))
      extension = "DSN";
    if (extension.empty() || !esmtp_ || !announces(extension)) {
      note_violation(fmt::format("parameter {} not announced", name));
      return fmt::format("555 5.5.4 parameter {} not known", name);
    }
    if (extension == "SIZE") {
      std::size_t size = 0;
      std::from_chars(parameter.data() + 5, parameter.data() + parameter.size(), size);
      if (size > context_.max_bytes) return "552 5.3.4 message too large";
    }
  }
  return "";
}

bool ReceiverSession::on_data() {
  if (!in_transaction_ || in_chunks_) return reply("503 5.5.1 MAIL first");
  if (rcpts_.empty()) return reply("554 5.5.1 no valid recipients");
  Ruling ruling = rule_on(Stage::Data, "354 end with CRLF.CRLF");
  if (!ruling.accepts()) log({{"event", "refused"}, {"stage", "data"}, {"reply", ruling.reply}});
  if (!answer(ruling)) return false;
  if (!ruling.accepts()) {
    reset_transaction();
    return true;
  }
  content_.start();
  if (!channel_.buffer().empty()) note_violation("content sent before 354");
  bool asked = false;
  while (!content_.is_complete()) {
    if (channel_.buffer().empty() && !channel_.fill(context_.idle_timeout)) return false;
    if (!asked) {
      asked = true;
      Ruling during = rule_on(Stage::Content, "");
      if (during.over) return answer(during);
    }
    auto used = content_.feed_data(channel_.buffer());
    channel_.buffer().erase(0, used);
  }
  return on_end_of_data();
}

bool ReceiverSession::on_bdat(std::string_view argument) {
  std::size_t left = 0;
  auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), left);
  auto rest = argument.substr(static_cast<std::size_t>(end - argument.data()));
  bool is_last = starts_with_word(rest, " LAST");
  if (error != std::errc{} || (!rest.empty() && !is_last)) {
    reply("501 5.5.4 BDAT SIZE [LAST]");  // the chunk behind it cannot be told from commands
    return false;
  }
  if (!announces("CHUNKING")) note_violation("BDAT without CHUNKING");
  std::string refusal;
  if (!announces("CHUNKING")) refusal = "502 5.5.1 BDAT is not offered";
  if (refusal.empty() && !in_transaction_) refusal = "503 5.5.1 MAIL first";
  if (refusal.empty() && rcpts_.empty()) refusal = "554 5.5.1 no valid recipients";
  Ruling ruling{.reply = refusal};
  if (refusal.empty() && !in_chunks_) {
    ruling = rule_on(Stage::Data, "250 2.0.0 chunk taken");
    content_.start();
    in_chunks_ = true;
    chunks_refused_ = !ruling.accepts();
    if (chunks_refused_) log({{"event", "refused"}, {"stage", "data"}, {"reply", ruling.reply}});
  } else if (refusal.empty()) {
    ruling.reply = chunks_refused_ ? "503 5.5.1 refused already" : "250 2.0.0 chunk taken";
  }
  if (ruling.over) return answer(ruling);
  bool asked = false;
  while (left > 0) {
    if (channel_.buffer().empty() && !channel_.fill(context_.idle_timeout)) return false;
    if (!asked && ruling.accepts()) {
      asked = true;
      Ruling during = rule_on(Stage::Content, "");
      if (during.over) return answer(during);
    }
    auto taken = std::min(left, channel_.buffer().size());
    if (ruling.accepts()) content_.feed_chunk(std::string_view(channel_.buffer()).substr(0, taken));
    channel_.buffer().erase(0, taken);
    left -= taken;
  }
  if (ruling.accepts() && is_last) return on_end_of_data();
  if (is_last) reset_transaction();
  return answer(ruling);
}

bool ReceiverSession::on_end_of_data() {
  for (const std::string& remark : content_.remarks()) {
    bool allowed = (remark == "octets above 127" && has_parameter(mail_, "BODY=8BITMIME")) ||
                   (remark.starts_with("octets above 127") && has_parameter(mail_, "SMTPUTF8"));
    if (!allowed) note_violation(remark);
  }
  std::string normal = fmt::format("250 2.0.0 taken as {}-{}", connection_.number, messages_ + 1);
  if (content_.size() > context_.max_bytes) normal = "552 5.3.4 message too large";
  Ruling ruling = rule_on(Stage::Dot, normal);
  if (ruling.accepts()) {
    store_message(true);
  } else {
    if (ruling.store) store_message(false);
    log({{"event", "refused"}, {"stage", "dot"}, {"stored", ruling.store}, {"reply", ruling.reply}});
  }
  bool goes_on = answer(ruling);
  reset_transaction();
  if (!goes_on) return false;
  if (!ruling.accepts()) return true;
  Ruling after = rule_on(Stage::Done, "");
  return after.over ? answer(after) : true;
}

void ReceiverSession::store_message(bool answered) {
  ReceivedMessage message{.client = connection_.client,
                          .listen = connection_.listen,
                          .helo = helo_,
                          .esmtp = esmtp_,
                          .mail = mail_,
                          .rcpts = rcpts_,
                          .connection = connection_.number,
                          .message_on_connection = ++messages_,
                          .chunked = in_chunks_,
                          .answered = answered,
                          .violations = violations_,
                          .content = content_.take()};
  if (channel_.is_tls()) {
    message.tls_version = channel_.tls_version();
    message.tls_cipher = channel_.tls_cipher();
    message.tls_server_name = channel_.tls_server_name();
  }
  auto number = context_.store->keep(message);
  json::array rcpts;
  for (const EnvelopeAddress& rcpt : rcpts_) rcpts.emplace_back(rcpt.address);
  log({{"event", "accepted"}, {"n", number}, {"mail_from", mail_.address}, {"rcpts", rcpts}, {"answered", answered}});
}

void ReceiverSession::reset_transaction() {
  in_transaction_ = false;
  in_chunks_ = false;
  chunks_refused_ = false;
  mail_ = {};
  rcpts_.clear();
}

void ReceiverSession::note_violation(std::string_view what) {
  if (std::find(violations_.begin(), violations_.end(), what) != violations_.end()) return;
  violations_.emplace_back(what);
  log({{"event", "violation"}, {"what", what}});
}

ReceiverSession::Ruling ReceiverSession::rule_on(Stage stage, std::string normal, std::string_view rcpt) {
  auto scenario = context_.scenario();
  Ruling ruling{.reply = std::move(normal)};
  // A request that is wrong in itself is refused before any rule: a scenario plays providers, not other grammars.
  if (ruling.reply.starts_with('5')) return ruling;
  for (std::size_t next = 0;;) {
    Moment moment{.stage = stage,
                  .listen = connection_.listen,
                  .client = connection_.client,
                  .helo = helo_,
                  .mail = mail_.address,
                  .rcpts = {},
                  .message = messages_ + 1,
                  .connection = connection_.number_of_pair,
                  .open_connections = connection_.open_of_pair->load(),
                  .now = std::chrono::steady_clock::now()};
    if (stage == Stage::Rcpt) {
      moment.rcpts.push_back(rcpt);
    } else {
      moment.rcpts.assign(rcpts_.size(), {});
      std::transform(rcpts_.begin(), rcpts_.end(), moment.rcpts.begin(),
                     [](const EnvelopeAddress& path) { return std::string_view(path.address); });
    }
    auto index = scenario->decide(moment, next);
    if (!index) return ruling;
    const Rule& rule = scenario->rule(*index);
    log({{"event", "rule"}, {"name", rule.name}, {"stage", to_string(stage)}, {"rcpt", rcpt}});
    next = *index + 1;
    ruling.store = rule.store;
    ruling.reset = rule.reset;
    if (!rule.reply.empty()) {
      ruling.reply = rule.reply;
      replace_all(ruling.reply, "{client}", connection_.client.host());
      replace_all(ruling.reply, "{listen}", connection_.listen.host());
      replace_all(ruling.reply, "{helo}", helo_);
      replace_all(ruling.reply, "{mail}", mail_.address);
      replace_all(ruling.reply, "{rcpt}", rcpt);
    }
    switch (rule.action) {
      case Action::Accept:
      case Action::Reply:
        return ruling;
      case Action::Drop:
        ruling.reply.clear();
        [[fallthrough]];
      case Action::Close:
        ruling.over = true;
        break;
      case Action::HalfReply:
        ruling.over = ruling.half = true;
        break;
      case Action::Stall:
        if (channel_.wait(rule.stall)) continue;
        ended_by_ = "client during a stall";
        ruling.reply.clear();
        ruling.over = true;
        return ruling;
    }
    ended_by_ = "rule " + rule.name;
    return ruling;
  }
}

bool ReceiverSession::answer(const Ruling& ruling) {
  if (!ruling.reply.empty()) {
    std::string wire = wire_reply(ruling.reply);
    if (ruling.half) wire.resize(wire.size() / 2);
    if (!channel_.send(wire)) return false;
  }
  if (ruling.over && ruling.reset) channel_.close_with_reset();
  return !ruling.over;
}

bool ReceiverSession::reply(std::string_view text) {
  return channel_.send(wire_reply(text));
}

void ReceiverSession::log(json::object line) {
  line["time"] = rfc3339_now();
  line["connection"] = connection_.number;
  line["client"] = connection_.client.host();
  line["listen"] = connection_.listen.host();
  context_.store->log_line(json::serialize(line));
}

}  // namespace danki::support
