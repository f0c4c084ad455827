#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// HTTP as far as the API cares: what was asked and what is answered, without sockets.
namespace danki::admin {

struct Request {
  std::string method;  ///< "GET"
  std::string target;  ///< as on the request line: "/v1/queue/messages?limit=10"
  std::string body;
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::string allow;  ///< with 405: the methods that this path takes
  /// Makes the body when it is sent, where set: on the admin's thread, not on that of the room which answered.
  std::function<std::string()> render;
  std::shared_ptr<void> hold;  ///< given back when the body is sent: a place among the large answers
};

/// {"error": "..."}
Response error_response(int status, std::string_view text);

/// A request target, taken apart and percent-decoded.
struct Target {
  std::vector<std::string> segments;         ///< of the path, without empty ones
  std::map<std::string, std::string> query;  ///< the last one of a name wins
};

/// nullopt when it is not an absolute path, an escape is cut short, or it has more than 64 parts.
std::optional<Target> parse_target(std::string_view target);

}  // namespace danki::admin
