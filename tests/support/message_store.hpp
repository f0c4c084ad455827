#pragma once

#include "tests/support/sockets.hpp"

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace danki::support {

struct EnvelopeAddress {
  std::string address;                  ///< without < and >; empty: the null reverse-path
  std::vector<std::string> parameters;  ///< as written: "BODY=8BITMIME"
};

/// An accepted message with all that the session told about it.
struct ReceivedMessage {
  Endpoint client;
  Endpoint listen;
  std::string helo;
  bool esmtp = false;
  EnvelopeAddress mail;
  std::vector<EnvelopeAddress> rcpts;
  uint64_t connection = 0;             ///< number of the connection since the receiver started
  uint64_t message_on_connection = 0;  ///< from 1
  std::string tls_version;             ///< empty: no TLS
  std::string tls_cipher;
  std::string tls_server_name;
  bool chunked = false;
  bool answered = true;  ///< false: a rule kept the client from hearing that it was taken
  std::vector<std::string> violations;
  std::string content;
};

/// Writes <n>.eml and <n>.json into a folder, each complete when it appears and the .json last, and lines of JSON to a
/// log. Safe to use from several threads.
class MessageStore {
 public:
  /// Goes on behind the highest number already in `folder`, which is made if need be; either path may be empty. Throws.
  MessageStore(std::string folder, const std::string& log_path);

  /// The message's number. Throws std::system_error.
  uint64_t keep(const ReceivedMessage& message);
  void log_line(std::string_view json);

 private:
  std::string folder_;
  Descriptor log_;
  std::mutex mutex_;  ///< guards number_
  uint64_t number_ = 0;
};

std::string rfc3339_now();

}  // namespace danki::support
