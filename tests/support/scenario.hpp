#pragma once

#include "tests/support/sockets.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// How the bundled receiver behaves: rules read from a scenario file. docs/testing-receiver.md describes the format.
namespace danki::support {

/// Where in a session a rule may step in. Content: while the content arrives; Done: after the 250 was sent.
enum class Stage { Connect, Ehlo, Helo, StartTls, Mail, Rcpt, Data, Content, Dot, Done };
std::string_view to_string(Stage stage);

enum class Action { Accept, Reply, Close, Drop, Stall, HalfReply };

/// Ends included.
struct Range {
  uint64_t first = 0;
  uint64_t last = std::numeric_limits<uint64_t>::max();
  bool holds(uint64_t value) const { return first <= value && value <= last; }
};

/// IPv4 as IPv4-mapped IPv6, ends included.
struct AddressRange {
  std::array<uint8_t, 16> first{};
  std::array<uint8_t, 16> last{};
};

struct Rate {
  double per_second = 0;
  double burst = 1;
};

enum class RateScope { Client, Listen, ClientAndListen, All };

struct Rule {
  std::string name;
  Stage stage = Stage::Rcpt;
  Action action = Action::Accept;

  std::vector<AddressRange> listen;
  std::vector<AddressRange> client;
  std::vector<std::string> helo;  ///< globs without regard to case, as the two below
  std::vector<std::string> mail;
  std::vector<std::string> rcpt;
  Range message;
  Range connection;
  Range open_connections;
  Range attempt;
  std::chrono::steady_clock::duration after{0};
  std::optional<std::chrono::steady_clock::duration> before;
  std::optional<std::chrono::steady_clock::duration> greylist;
  std::optional<Rate> above_rate;
  RateScope rate_scope = RateScope::Client;
  uint64_t times = 0;  ///< 0: always
  uint64_t every = 1;

  std::string reply;  ///< lines separated by '\n', the code in front of the first
  std::optional<std::chrono::steady_clock::duration> stall;  ///< empty: until the client leaves
  bool store = false;
  bool reset = false;
};

/// What a rule may look at.
struct Moment {
  Stage stage;
  const Endpoint& listen;
  const Endpoint& client;
  std::string_view helo;
  std::string_view mail;
  std::vector<std::string_view> rcpts;  ///< at Rcpt: the one in question; later: those accepted
  uint64_t message;                     ///< number of the transaction on this connection if it succeeds; from 1
  uint64_t connection;                  ///< of this client to this listener, from 1
  uint64_t open_connections;            ///< of this client to this listener, this one included
  std::chrono::steady_clock::time_point now;
};

/// Which extensions a listener does not announce, or announces in addition.
struct Announcement {
  std::vector<AddressRange> listen;  ///< empty: all
  std::vector<std::string> without;
  std::vector<std::string> with;
};

/// The rules with what they remember (greylists, rates, counts). Safe to use from several threads.
class Scenario {
 public:
  Scenario() = default;
  /// Throws std::runtime_error "file:line:column: what is wrong".
  explicit Scenario(const std::string& path);

  /// The index of the first rule from `from` on that applies now, which counts as its use; nothing: behave normally.
  std::optional<std::size_t> decide(const Moment& moment, std::size_t from);
  const Rule& rule(std::size_t index) const { return rules_[index]; }
  bool announces(std::string_view extension, const Endpoint& listen, bool by_default) const;

 private:
  struct Bucket {
    double tokens;
    std::chrono::steady_clock::time_point filled_at;
  };
  struct Memory {
    uint64_t matched = 0;
    uint64_t used = 0;
    std::map<std::string, std::chrono::steady_clock::time_point> first_seen;
    std::map<std::string, Bucket> buckets;
    std::map<std::string, uint64_t> attempts;
  };

  bool matches(const Rule& rule, Memory& memory, const Moment& moment);

  std::vector<Rule> rules_;
  std::vector<Announcement> announcements_;
  std::chrono::steady_clock::time_point started_at_ = std::chrono::steady_clock::now();
  std::mutex mutex_;              ///< guards memories_
  std::vector<Memory> memories_;  ///< one per rule
};

}  // namespace danki::support
