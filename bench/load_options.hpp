#pragma once

#include <string>
#include <vector>

namespace danki::bench {

struct LoadOptions {
  std::string host = "127.0.0.1";
  int port = 2525;
  int sessions = 20;
  int threads = 1;
  long count = 1000;
  double seconds = 0;            ///< take no new message after this long; 0: until `count`
  double timeout_seconds = 600;  ///< end the whole run after this long, whatever is open
  double rate = 0;               ///< messages per second over all sessions; 0: as fast as answered
  long size = 4096;              ///< bytes of content, header section included
  int domains = 50;
  std::string domain_pattern = "d{:02}.test";
  std::string local_part = "user";
  int rcpts_per_message = 1;
  bool same_domain = false;  ///< all recipients of a message in one domain
  std::string from = "news@example.com";
  std::string from_header;          ///< default: `from`
  std::vector<std::string> header;  ///< further header lines, without line end
  std::string helo = "load.example.com";
  std::string auth;  ///< user:password, sent as AUTH PLAIN
  std::string run;   ///< first half of each sequence token
  bool pipelining = false;
  bool connection_per_message = false;
  int retry = 0;
  int retry_delay_ms = 100;
  std::string acked_path;
  bool latency = false;
  bool json = false;
};

}  // namespace danki::bench
