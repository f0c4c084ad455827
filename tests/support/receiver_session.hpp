#pragma once

#include "tests/support/channel.hpp"
#include "tests/support/content_reader.hpp"
#include "tests/support/message_store.hpp"
#include "tests/support/scenario.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

namespace danki::support {

/// What all sessions of the receiver share.
struct ReceiverContext {
  std::string hostname = "mx.test";
  std::size_t max_bytes = 50 * 1024 * 1024;
  std::chrono::milliseconds idle_timeout{300'000};
  bool chunking = false;
  TlsContext tls;  ///< empty: no TLS
  std::unique_ptr<MessageStore> store;

  std::shared_ptr<Scenario> scenario() {
    std::lock_guard lock(mutex);
    return current_scenario;
  }
  std::mutex mutex;
  std::shared_ptr<Scenario> current_scenario;  ///< guarded by mutex; shared with the sessions that look at it
};

/// Who a session talks to, and the numbers that rules look at.
struct ReceiverConnection {
  Endpoint listen;
  Endpoint client;
  bool implicit_tls = false;
  uint64_t number = 0;                                  ///< since the receiver started
  uint64_t number_of_pair = 0;                          ///< of this client to this listener
  std::shared_ptr<std::atomic<uint64_t>> open_of_pair;  ///< shared by the sessions of the pair
};

/// One SMTP session, run by a thread of its own.
class ReceiverSession {
 public:
  ReceiverSession(ReceiverContext& context, ReceiverConnection connection, Channel channel);
  void run();

 private:
  /// What a stage comes to: the scenario's word or the normal one.
  struct Ruling {
    std::string reply;
    bool over = false;
    bool half = false;
    bool reset = false;
    bool store = false;
    bool accepts() const { return !over && !reply.empty() && (reply[0] == '2' || reply[0] == '3'); }
  };

  bool converse();
  bool next_line(std::string& line);
  bool command(const std::string& line);
  bool on_greeting(std::string_view argument, bool extended);
  bool on_starttls();
  bool on_mail(std::string_view argument);
  bool on_rcpt(std::string_view argument);
  bool on_data();
  bool on_bdat(std::string_view argument);
  bool on_end_of_data();
  std::string refusal_of_parameters(const EnvelopeAddress& address, bool is_mail);
  std::string ehlo_reply();
  bool announces(std::string_view extension);
  void reset_transaction();
  void note_violation(std::string_view what);
  void store_message(bool answered);

  Ruling rule_on(Stage stage, std::string normal, std::string_view rcpt = {});
  bool answer(const Ruling& ruling);
  bool reply(std::string_view text);
  void log(boost::json::object line);

  ReceiverContext& context_;
  ReceiverConnection connection_;
  Channel channel_;
  std::string helo_;
  bool esmtp_ = false;
  bool in_transaction_ = false;
  bool in_chunks_ = false;
  bool chunks_refused_ = false;
  EnvelopeAddress mail_;
  std::vector<EnvelopeAddress> rcpts_;
  ContentReader content_;
  uint64_t messages_ = 0;
  std::vector<std::string> violations_;
  std::string ended_by_ = "client";
};

}  // namespace danki::support
