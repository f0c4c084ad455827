#pragma once

#include "base/result.hpp"

#include <chrono>
#include <string>

namespace danki::cli {

struct HttpReply {
  int status = 0;
  std::string body;
};

/// Asks the daemon over its unix socket, one connection a question. Blocks.
class HttpClient {
 public:
  explicit HttpClient(std::string socket, std::chrono::seconds limit = std::chrono::seconds(60));

  /// `target` as on the request line. The error is about the connection; a refusal is a reply.
  Result<HttpReply> get(const std::string& target);
  Result<HttpReply> post(const std::string& target, const std::string& json);

  const std::string& socket() const { return socket_; }

 private:
  Result<HttpReply> ask(bool is_post, const std::string& target, const std::string& body);

  std::string socket_;
  std::chrono::seconds limit_;
};

}  // namespace danki::cli
