#include "mta/submission/server.hpp"

#include "mta/submission/accepted_events.hpp"
#include "tests/net/dns_builder.hpp"
#include "tests/net/scripted_dns.hpp"
#include "tests/net/test_certificate.hpp"
#include "tests/queue/fault_file_system.hpp"
#include "tests/submission/raw_client.hpp"
#include "tests/submission/talk.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include <crypt.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace danki::submission {
namespace {

using namespace std::chrono_literals;
using test::RawClient;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kMessage =
    "From: a@example.com\r\nDate: Mon, 23 Nov 2026 05:49:39 +0000\r\nMessage-ID: <x@y>\r\n\r\nhello\r\n";
const std::string kEnvelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@routed.test>\r\n";

class NoObjections final : public Ports {
 public:
  std::string refuse_from_domain(const std::string&, const std::string&) override { return ""; }
  std::string refuse_recipient(const std::string&, const mail::Address&) override { return ""; }
};

/// "gone" does not exist, "null" accepts no mail, "silent" never answers, all else has an MX host.
std::vector<std::string> answer_mx(const net::test::AskedQuestion& question) {
  using namespace net::test;
  if (question.name.starts_with("silent")) return {};
  DnsReply reply{.id = question.id, .question_name = question.name, .question_type = net::DnsType::Mx};
  if (question.name.starts_with("gone")) {
    reply.rcode = 3;
    reply.authorities = {record("example", net::DnsType::Soa, 300, soa_rdata("ns.example", 300))};
  } else {
    const std::string rdata =
        question.name.starts_with("null") ? u16(0) + std::string(1, '\0') : u16(10) + wire_name("mx.example");
    reply.answers = {record(question.name, net::DnsType::Mx, 300, rdata)};
  }
  return {reply.octets()};
}

/// The real time, and what a test adds to it.
class ShiftedClock final : public Clock {
 public:
  TimePoint now() const override { return real_.now() + shift_.load(); }
  SteadyPoint steady() const override { return real_.steady() + shift_.load(); }
  void advance(Duration by) { shift_ = shift_.load() + by; }

 private:
  SystemClock real_;
  std::atomic<Duration> shift_{Duration(0)};
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kSlackBytes = 64u << 20;  // freed memory is kept in quarantine, and every octet has a shadow
#else
constexpr std::size_t kSlackBytes = 0;
#endif

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() : faults_(folder_.path() / "attic") {
    options_ = test::standard_options();
    options_.tenants["signup"].password_hashes = {crypt("secret", "$5$rounds=1000$saltsalt$")};
    options_.routed_domains = {"*.test", "routed.test"};
    ListenerOptions listener;
    listener.address = {boost::asio::ip::make_address("127.0.0.1"), 0};
    listener.tls = ListenerTls::None;
    listener.auth_without_tls = true;
    options_.listeners = {listener};
  }
  ~ServerTest() override {
    if (server_) server_->stop(0ms);
    if (resolver_) resolver_->stop();
    server_.reset();
    if (spool_) spool_->close();
    threads_.stop();
  }

  ListenerOptions& listener() { return options_.listeners.front(); }

  void start() {
    queue::SpoolOptions spool_options;
    spool_options.directory = folder_.path() / "spool";
    spool_options.disk_reserve_bytes = 1 << 20;
    spool_options.reserve_file_bytes = 1 << 20;
    auto spool = queue::Spool::open(spool_options, clock_, faults_.env.get());
    ASSERT_TRUE(spool) << spool.error().message();
    spool_ = std::move(*spool);
    spool_->on_stored([this](const std::vector<queue::Accepted>& batch) { record_accepted(batch, *events_, clock_); });
    spool_->on_accepted([this](std::vector<queue::Accepted> batch) {
      std::lock_guard lock(mutex_);
      for (const auto& accepted : batch) {
        accepted_.push_back(accepted.message);
        events_->append({.type = events::Type::Signed, .id = accepted.message->id.to_string()});
      }
    });
    events::EventOptions event_options;
    event_options.directory = folder_.path() / "events";
    auto events = events::EventLog::open(event_options, clock_);
    ASSERT_TRUE(events) << events.error().message();
    events_ = std::move(*events);
    net::DnsOptions dns;
    dns.servers = {dns_.address()};
    resolver_ = std::make_unique<net::Resolver>(threads_.context(0).get_executor(), dns, clock_);
    server_ = std::make_unique<Server>(threads_, *spool_, *events_, *resolver_, ports_, clock_,
                                       std::make_shared<const Options>(options_));
    const auto started = server_->start();
    ASSERT_TRUE(started) << started.error().message();
    threads_.start();
  }

  std::uint16_t port(std::size_t listener = 0) const { return server_->addresses()[listener].port(); }
  RawClient connect(const std::string& from = "127.0.0.1") { return RawClient(port(), from); }
  RawClient authenticated() {
    RawClient client = connect();
    EXPECT_TRUE(client.ehlo_and_auth());
    return client;
  }
  std::string submit(RawClient& client, const std::string& content = kMessage) {
    client.send(kEnvelope + "DATA\r\n");
    client.reply();
    client.reply();
    if (const std::string go = client.reply(); !go.starts_with("354")) return go;
    client.send(content + ".\r\n");
    return client.reply();
  }
  /// All that clients were told of: they hear before the spool's sink does.
  std::vector<queue::MessagePtr> accepted() {
    const auto known = [this] {
      std::lock_guard lock(mutex_);
      return accepted_;
    };
    EXPECT_TRUE(eventually([&] { return !server_ || known().size() >= server_->stats().messages; }));
    return known();
  }
  bool eventually(const std::function<bool()>& condition) {
    for (const auto end = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < end;) {
      if (condition()) return true;
      std::this_thread::yield();
    }
    return false;
  }

  net::test::TempFolder folder_;
  queue::testing::FaultEnv faults_;
  ShiftedClock clock_;
  Options options_;
  NoObjections ports_;
  net::test::ScriptedDns dns_{answer_mx};
  IoThreads threads_{"io", 2};
  std::unique_ptr<queue::Spool> spool_;
  std::unique_ptr<events::EventLog> events_;
  std::unique_ptr<net::Resolver> resolver_;
  std::unique_ptr<Server> server_;
  mutable std::mutex mutex_;
  std::vector<queue::MessagePtr> accepted_;
};

TEST_F(ServerTest, PutsAMessageIntoTheSpoolBeforeItSays250) {
  start();
  RawClient client = authenticated();
  client.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@routed.test>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n");
  for (const char* want : {"250 2.1.0", "250 2.1.5", "250 2.1.5", "354"}) EXPECT_THAT(client.reply(), StartsWith(want));
  client.send(kMessage + ".\r\n");
  const std::string said = client.reply();
  ASSERT_THAT(said, StartsWith("250 2.0.0 queued as "));
  const auto id = queue::MessageId::parse(said.substr(20));
  ASSERT_TRUE(id);
  const auto content = spool_->read_content(*id);
  ASSERT_TRUE(content);
  EXPECT_THAT(*content, StartsWith("Received: from client.example ([127.0.0.1])"));
  EXPECT_THAT(*content, EndsWith("\r\n" + kMessage));
  const auto stored = spool_->show(*id);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->envelope.recipients.size(), 2u);
  EXPECT_EQ(stored->envelope.size, content->size());
  EXPECT_THAT(client.command("QUIT"), StartsWith("221 2.0.0"));
  EXPECT_TRUE(client.is_closed());

  EXPECT_TRUE(eventually([&] { return accepted().size() == 1; }));
  events_->flush();
  std::ifstream log(folder_.path() / "events" / "events.log");
  std::vector<std::string> lines;
  for (std::string line; std::getline(log, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], HasSubstr("\"event\":\"accepted\""));
  EXPECT_THAT(lines[0], HasSubstr("\"id\":\"" + id->to_string() + "\""));
  EXPECT_THAT(lines[0], HasSubstr("\"to\":\"b@routed.test\""));
  EXPECT_THAT(lines[0], HasSubstr("\"class\":\"transactional\",\"from\":\"a@example.com\""));
  EXPECT_THAT(lines[1], HasSubstr("\"to\":\"c@x.test\""));
  EXPECT_THAT(lines[2], HasSubstr("\"event\":\"signed\""));  // who hears of the message speaks after it
  const Stats stats = server_->stats();
  EXPECT_EQ(stats.messages, 1u);
  EXPECT_EQ(stats.recipients, 2u);
}

TEST_F(ServerTest, DropsWhatWasInjectedBehindStarttls) {  // RFC 3207 section 6
  const net::test::TestCertificate certificate(folder_, "relay.example.com");
  listener().tls = ListenerTls::StartTls;
  listener().auth_without_tls = false;
  listener().tls_context = net::server_tls_context(certificate.certificate_file, certificate.key_file).value();
  start();
  RawClient client = connect();
  client.reply();
  EXPECT_THAT(client.command("EHLO client.example"), Not(HasSubstr("AUTH")));
  client.send("STARTTLS\r\nEHLO injected.example\r\nNOOP\r\n");
  EXPECT_THAT(client.reply(), StartsWith("220 2.0.0"));
  // The injected commands are neither answered nor remembered.
  ASSERT_TRUE(client.start_tls());
  EXPECT_EQ(client.code("MAIL FROM:<a@example.com>"), "503 5.5.1");
  EXPECT_THAT(client.command("EHLO client.example"), HasSubstr("AUTH PLAIN LOGIN"));
  EXPECT_EQ(client.code("AUTH PLAIN AHNpZ251cABzZWNyZXQ="), "235 2.7.0");
  EXPECT_THAT(submit(client), StartsWith("250 2.0.0"));
  EXPECT_THAT(*accepted().front()->content(), HasSubstr("with ESMTPSA id"));
}

TEST_F(ServerTest, SpeaksImplicitTls) {
  const net::test::TestCertificate certificate(folder_, "relay.example.com");
  listener().tls = ListenerTls::Implicit;
  listener().auth_without_tls = false;
  listener().tls_context = net::server_tls_context(certificate.certificate_file, certificate.key_file).value();
  start();
  RawClient client = connect();
  ASSERT_TRUE(client.start_tls());
  ASSERT_TRUE(client.ehlo_and_auth());
  std::string large = kMessage;
  for (int i = 0; i < 20'000; ++i) large += std::string(70, 'x') + "\r\n";
  EXPECT_THAT(submit(client, large), StartsWith("250 2.0.0"));
  EXPECT_THAT(*accepted().front()->content(), EndsWith(large));
}

TEST_F(ServerTest, StopsGuessingClients) {
  options_.limits.auth_failures = 2;
  start();
  RawClient client = connect();
  client.reply();
  client.command("EHLO client.example");
  EXPECT_EQ(client.code("AUTH PLAIN AHNpZ251cAB3cm9uZw=="), "535 5.7.8");
  EXPECT_EQ(client.code("AUTH PLAIN AHNpZ251cAB3cm9uZw=="), "535 5.7.8");
  EXPECT_EQ(client.code("AUTH PLAIN AHNpZ251cABzZWNyZXQ="), "421 4.7.0");
  EXPECT_TRUE(client.is_closed());
  RawClient other = connect("127.0.0.2");
  EXPECT_TRUE(other.ehlo_and_auth());
  EXPECT_EQ(server_->stats().auth_failures, 2u);
}

TEST_F(ServerTest, HangsUpOnIdleAndSlowClients) {
  options_.limits.idle = 200ms;
  start();
  RawClient idle = connect();
  EXPECT_THAT(idle.reply(), StartsWith("220"));
  EXPECT_EQ(idle.reply().substr(0, 9), "421 4.4.2");
  EXPECT_TRUE(idle.is_closed());

  // One octet after the other is no excuse: the line as a whole has the time.
  RawClient slow = connect();
  slow.reply();
  const std::string line = "NOOP " + std::string(1000, 'x');
  std::size_t sent = 0;
  while (sent < line.size() && !slow.has_input(20ms)) slow.send(line.substr(sent++, 1));
  EXPECT_LT(sent, 100u);
  EXPECT_EQ(slow.reply().substr(0, 9), "421 4.4.2");

  // In a content the time is between two reads, so this client is slow but good.
  RawClient patient = authenticated();
  patient.send(kEnvelope + "DATA\r\n");
  for (int i = 0; i < 3; ++i) patient.reply();
  for (const char c : kMessage + ".\r\n") {
    patient.send({&c, 1});
    patient.has_input(5ms);
  }
  EXPECT_THAT(patient.reply(), StartsWith("250 2.0.0"));
}

TEST_F(ServerTest, GivesAContentHalfAnHourInAll) {
  start();
  RawClient client = authenticated();
  client.send(kEnvelope + "DATA\r\n");
  for (int i = 0; i < 3; ++i) client.reply();
  client.send(kMessage);
  // Never idle for the five minutes that would be too long by themselves.
  for (int i = 0; i < 20 && !client.has_input(10ms); ++i) {
    client.send("x");
    clock_.advance(100s);
  }
  EXPECT_EQ(client.reply().substr(0, 9), "421 4.4.2");
  EXPECT_TRUE(client.is_closed());
}

TEST_F(ServerTest, LimitsSessions) {
  options_.limits.sessions = 3;
  options_.limits.sessions_per_client = 2;
  start();
  std::vector<RawClient> clients;
  clients.push_back(connect());
  EXPECT_THAT(clients.back().reply(), StartsWith("220"));
  clients.push_back(connect());
  EXPECT_THAT(clients.back().reply(), StartsWith("220"));
  RawClient third = connect();
  EXPECT_EQ(third.reply().substr(0, 9), "421 4.3.2");
  EXPECT_TRUE(third.is_closed());
  clients.push_back(connect("127.0.0.2"));
  EXPECT_THAT(clients.back().reply(), StartsWith("220"));
  EXPECT_EQ(connect("127.0.0.3").reply().substr(0, 9), "421 4.3.2");
  EXPECT_THAT(clients.front().command("QUIT"), StartsWith("221"));
  EXPECT_TRUE(eventually([&] { return server_->stats().sessions == 2; }));
  EXPECT_THAT(connect("127.0.0.3").reply(), StartsWith("220"));
}

std::string proxy_header(const std::string& client) {
  in_addr address{};
  inet_pton(AF_INET, client.c_str(), &address);
  std::string text("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C", 16);
  text.append(reinterpret_cast<const char*>(&address), 4);
  return text + std::string("\x7F\0\0\1\x12\x34\0\x19", 8);
}

TEST_F(ServerTest, JudgesTheClientBehindAProxy) {
  listener().proxy_protocol_from = {boost::asio::ip::make_network_v4("127.0.0.5/32")};
  listener().trusted_networks = {boost::asio::ip::make_network_v4("192.0.2.0/24"),
                                 boost::asio::ip::make_network_v4("127.0.0.5/32")};
  listener().tenant_for_trusted = "signup";
  options_.limits.sessions_per_client = 1;
  start();
  RawClient trusted = connect("127.0.0.5");
  trusted.send(proxy_header("192.0.2.7") + "EHLO client.example\r\n");
  EXPECT_THAT(trusted.reply(), StartsWith("220"));
  trusted.reply();
  EXPECT_THAT(submit(trusted), StartsWith("250 2.0.0"));
  EXPECT_THAT(*accepted().front()->content(), HasSubstr("([192.0.2.7])"));

  RawClient same_client = connect("127.0.0.5");
  same_client.send(proxy_header("192.0.2.7"));
  EXPECT_EQ(same_client.reply().substr(0, 9), "421 4.3.2");

  RawClient stranger = connect("127.0.0.5");
  stranger.send(proxy_header("198.51.100.1"));
  stranger.reply();
  stranger.command("EHLO client.example");
  EXPECT_EQ(stranger.code("MAIL FROM:<a@example.com>"), "530 5.7.0");

  // The proxy's own address is trusted by mistake; what speaks for itself is nobody all the same.
  RawClient health_check = connect("127.0.0.5");
  health_check.send(std::string("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16));
  health_check.reply();
  health_check.command("EHLO client.example");
  EXPECT_EQ(health_check.code("MAIL FROM:<a@example.com>"), "530 5.7.0");

  RawClient without_header = connect("127.0.0.5");
  without_header.send("EHLO client.example\r\n");
  EXPECT_TRUE(without_header.is_closed());

  // From elsewhere a header is no header.
  RawClient liar = connect("127.0.0.6");
  EXPECT_THAT(liar.reply(), StartsWith("220"));
  liar.send(proxy_header("192.0.2.8"));
  EXPECT_THAT(liar.reply(), StartsWith("500 5.5.2"));
}

TEST_F(ServerTest, WaitsForFileDescriptorsWithoutSpinning) {
  start();
  RawClient before = authenticated();
  RawClient waiting(RawClient::Unconnected{});
  struct Limit {
    Limit() { getrlimit(RLIMIT_NOFILE, &normal); }
    ~Limit() { set(normal.rlim_cur); }
    int set(rlim_t most) {
      rlimit changed = normal;
      changed.rlim_cur = most;
      return setrlimit(RLIMIT_NOFILE, &changed);
    }
    rlimit normal{};
  } files;
  const int lowest_free = ::dup(STDIN_FILENO);
  ::close(lowest_free);
  const auto cpu_used = [] {
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  };
  ASSERT_EQ(files.set(static_cast<rlim_t>(lowest_free)), 0);
  waiting.connect_to(port());  // by the kernel alone
  const auto begin = cpu_used();
  EXPECT_FALSE(waiting.has_input(1s)) << "file descriptors were left";
  EXPECT_LT(cpu_used() - begin, 300ms);
  EXPECT_EQ(before.code("NOOP"), "250 2.0.0");
  ASSERT_EQ(files.set(files.normal.rlim_cur), 0);
  EXPECT_THAT(waiting.reply(), StartsWith("220"));
  EXPECT_TRUE(connect().ehlo_and_auth());
}

TEST_F(ServerTest, LooksUpRecipientDomainsAndWaitsASecondAtMost) {
  start();
  RawClient client = authenticated();
  client.send(
      "MAIL FROM:<a@example.com>\r\nRCPT TO:<a@gone.example>\r\nRCPT TO:<a@null.example>\r\n"
      "RCPT TO:<a@good.example>\r\nRCPT TO:<a@[192.0.2.1]>\r\nRCPT TO:<a@gone.test>\r\n");
  for (const char* want : {"250 2.1.0", "550 5.1.2", "556 5.1.10", "250 2.1.5", "250 2.1.5", "250 2.1.5"}) {
    EXPECT_THAT(client.reply(), StartsWith(want));
  }
  const int asked = dns_.questions();
  EXPECT_EQ(client.code("RCPT TO:<b@gone.example>"), "550 5.1.2");
  EXPECT_EQ(dns_.questions(), asked);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(client.code("RCPT TO:<a@silent.example>"), "250 2.1.5");
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, 900ms);
  EXPECT_LE(took, 3s);
}

TEST_F(ServerTest, EncodesLongLinesBesideItsOtherWork) {
  listener().long_lines = LongLines::Encode;
  start();
  RawClient client = authenticated();
  std::string large;
  while (large.size() < (8u << 20)) large += std::string(2000, 'x') + "\r\n";
  EXPECT_THAT(submit(client, kMessage + large), StartsWith("250 2.0.0"));
  EXPECT_THAT(*accepted().front()->content(), HasSubstr("\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"));
  EXPECT_THAT(submit(client, "Subject: " + std::string(2000, 'x') + "\r\n" + kMessage), StartsWith("550 5.6.0"));
  EXPECT_THAT(submit(client), StartsWith("250 2.0.0"));
}

TEST_F(ServerTest, PassesOnThatTheSpoolCannotWrite) {
  start();
  RawClient client = authenticated();
  faults_.files->set_fault([](queue::testing::FaultFileSystem::Operation operation, const std::string& path) {
    const bool is_log_sync =
        operation == queue::testing::FaultFileSystem::Operation::Sync && queue::testing::FaultFileSystem::is_log(path);
    return is_log_sync ? rocksdb::IOStatus::IOError("injected") : rocksdb::IOStatus::OK();
  });
  EXPECT_THAT(submit(client), StartsWith("451 4.3.0"));
  EXPECT_TRUE(accepted().empty());
  faults_.files->clear_fault();
  EXPECT_TRUE(eventually([&] { return submit(client).starts_with("250 2.0.0"); }));
  EXPECT_EQ(server_->stats().messages, accepted().size());
}

TEST_F(ServerTest, ForgetsAMessageThatWasBrokenOff) {
  start();
  {
    RawClient client = authenticated();
    client.send(kEnvelope + "DATA\r\n" + kMessage);
    client.finish_sending();
    EXPECT_TRUE(eventually([&] { return server_->stats().sessions == 0; }));
  }
  EXPECT_TRUE(accepted().empty());
  RawClient client = authenticated();
  EXPECT_THAT(submit(client), StartsWith("250"));
  EXPECT_TRUE(eventually([&] { return accepted().size() == 1; }));
}

TEST_F(ServerTest, EndsSessionsInWordsAndFinishesThoseAtTheSpool) {
  start();
  RawClient idle = connect();
  idle.reply();
  RawClient in_content = authenticated();
  in_content.send(kEnvelope + "DATA\r\n");
  for (int i = 0; i < 3; ++i) in_content.reply();
  RawClient past_the_end = authenticated();
  faults_.files->hold_syncs();
  past_the_end.send(kEnvelope + "DATA\r\n");
  for (int i = 0; i < 3; ++i) past_the_end.reply();
  past_the_end.send(kMessage + ".\r\n");
  faults_.files->wait_for_held_sync();

  auto stopped = std::async(std::launch::async, [&] { server_->stop(20s); });
  EXPECT_EQ(idle.reply().substr(0, 9), "421 4.3.2");
  EXPECT_TRUE(idle.is_closed());
  EXPECT_EQ(in_content.reply().substr(0, 9), "421 4.3.2");
  EXPECT_FALSE(past_the_end.has_input(50ms));
  faults_.files->release_syncs();
  EXPECT_THAT(past_the_end.reply(), StartsWith("250 2.0.0"));
  EXPECT_EQ(past_the_end.reply().substr(0, 9), "421 4.3.2");
  stopped.get();
  EXPECT_TRUE(eventually([&] { return accepted().size() == 1; }));
  EXPECT_THROW(connect(), std::runtime_error);
}

TEST_F(ServerTest, DoesNotWaitForTheSpoolBeyondItsGrace) {
  start();
  RawClient client = authenticated();
  faults_.files->hold_syncs();
  client.send(kEnvelope + "DATA\r\n");
  for (int i = 0; i < 3; ++i) client.reply();
  client.send(kMessage + ".\r\n");
  faults_.files->wait_for_held_sync();
  server_->stop(50ms);
  EXPECT_TRUE(client.is_closed());
  server_.reset();  // the answer comes when nobody is left to hear it
  faults_.files->release_syncs();
  EXPECT_TRUE(eventually([&] { return accepted().size() == 1; }));
}

TEST_F(ServerTest, ReloadsWithoutDroppingASession) {
  start();
  RawClient before = authenticated();
  const std::uint16_t old_port = port();

  Options bad = options_;
  bad.listeners.push_back(bad.listeners.front());
  bad.listeners.back().address = {boost::asio::ip::make_address("192.0.2.1"), 2525};  // not ours
  const auto refused = server_->reload(std::make_shared<const Options>(bad));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("192.0.2.1:2525"));
  EXPECT_EQ(server_->addresses().size(), 1u);

  Options next = options_;
  next.hostname = "other.example.com";
  next.tenants["signup"].password_hashes = {crypt("changed", "$5$rounds=1000$saltsalt$")};
  next.listeners.push_back(next.listeners.front());
  next.listeners.back().address = {boost::asio::ip::make_address("127.0.0.7"), 0};
  ASSERT_TRUE(server_->reload(std::make_shared<const Options>(next)));
  ASSERT_EQ(server_->addresses().size(), 2u);
  EXPECT_EQ(port(0), old_port);
  RawClient on_new(port(1), "127.0.0.1", "127.0.0.7");
  EXPECT_THAT(on_new.reply(), StartsWith("220 other.example.com"));
  on_new.command("EHLO client.example");
  EXPECT_EQ(on_new.code("AUTH PLAIN AHNpZ251cABzZWNyZXQ="), "535 5.7.8") << "a remembered password is forgotten";
  EXPECT_THAT(submit(before), StartsWith("250 2.0.0"));

  next.listeners.erase(next.listeners.begin());
  ASSERT_TRUE(server_->reload(std::make_shared<const Options>(next)));
  EXPECT_TRUE(eventually([&] {
    try {
      RawClient(old_port).reply();
      return false;
    } catch (const std::runtime_error&) {
      return true;
    }
  }));
  EXPECT_THAT(submit(before), StartsWith("250 2.0.0"));
}

TEST_F(ServerTest, MovesAListenerToAllAddressesAndBack) {
  listener().address.address(boost::asio::ip::make_address("0.0.0.0"));  // a port that is free on all of them
  start();
  const std::uint16_t fixed = port();
  const auto move_to = [&](const char* address) {
    Options next = options_;
    next.listeners.front().address = {boost::asio::ip::make_address(address), fixed};
    return server_->reload(std::make_shared<const Options>(next));
  };
  for (const char* address : {"127.0.0.1", "0.0.0.0", "127.0.0.1", "0.0.0.0", "127.0.0.2"}) {
    SCOPED_TRACE(address);
    const auto moved = move_to(address);
    ASSERT_TRUE(moved) << moved.error().message();
    ASSERT_EQ(server_->addresses().size(), 1u);
    EXPECT_EQ(server_->addresses()[0].address().to_string(), address);
  }
  Options both = options_;
  both.listeners.push_back(listener());
  both.listeners[0].address = {boost::asio::ip::make_address("127.0.0.2"), fixed};
  both.listeners[1].address = {boost::asio::ip::make_address("0.0.0.0"), fixed};
  EXPECT_FALSE(server_->reload(std::make_shared<const Options>(both))) << "the first would take the second's clients";
  ASSERT_TRUE(move_to("127.0.0.1"));
  EXPECT_THAT(connect().reply(), StartsWith("220 "));
}

TEST_F(ServerTest, TellsItsAddressesWhileAReloadWaitsForAPort) {
  start();
  const std::uint16_t taken = port();
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor other(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  Options next = options_;
  next.listeners.front().address = other.local_endpoint();
  auto refused = std::async(std::launch::async, [&] { return server_->reload(std::make_shared<const Options>(next)); });
  std::size_t looks = 0;
  for (; refused.wait_for(1ms) != std::future_status::ready; ++looks) {
    EXPECT_EQ(server_->addresses().front().port(), taken);
  }
  EXPECT_FALSE(refused.get());
  EXPECT_GT(looks, 10u) << "the reload tries for a second; a look that waited for it would be the last";
}

TEST_F(ServerTest, RefusesAnAddressInUse) {
  start();
  Options again = options_;
  again.listeners.front().address.port(port());
  Server second(threads_, *spool_, *events_, *resolver_, ports_, clock_, std::make_shared<const Options>(again));
  const auto started = second.start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message(), HasSubstr(std::to_string(port())));
}

TEST_F(ServerTest, KeepsEverySessionsMailApart) {
  start();
  constexpr int kSessions = 8, kMessages = 50;
  std::vector<std::thread> threads;
  std::atomic<int> queued{0};
  for (int s = 0; s < kSessions; ++s) {
    threads.emplace_back([&, s] {
      RawClient client = connect("127.0.0." + std::to_string(s + 1));
      if (!client.ehlo_and_auth()) return;
      // Pipelined by chunks on even sessions, in lock-step on odd ones.
      std::string all;
      for (int m = 0; m < kMessages; ++m) {
        const std::string content = kMessage + std::to_string(s) + "/" + std::to_string(m) + "\r\n";
        if (s % 2 == 1) {
          queued += submit(client, content).starts_with("250 2.0.0 queued");
        } else {
          all += kEnvelope + "BDAT " + std::to_string(content.size()) + " LAST\r\n" + content;
        }
      }
      client.send(all);
      for (int m = 0; s % 2 == 0 && m < 3 * kMessages; ++m) queued += client.reply().starts_with("250 2.0.0 queued");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(queued, kSessions * kMessages);
  std::map<std::string, int> seen;
  for (const auto& message : accepted()) {
    const auto content = spool_->read_content(message->id);
    ASSERT_TRUE(content);
    ++seen[content->substr(content->find("hello\r\n") + 7)];
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kSessions * kMessages));
}

TEST_F(ServerTest, RefusesATenMegabyteHeaderInLittleMemory) {
  start();
  RawClient client = authenticated();
  client.send(kEnvelope + "DATA\r\n");
  for (int i = 0; i < 3; ++i) client.reply();
  const std::size_t before = resident_bytes();
  std::string block;
  for (int i = 0; i < 1000; ++i) block += "X-Filler: " + std::string(88, 'x') + "\r\n";
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(client.send(block));
  client.send("\r\nbody\r\n.\r\n");
  EXPECT_THAT(client.reply(), StartsWith("552 5.3.4"));
  EXPECT_LT(resident_bytes(), before + (8u << 20) + kSlackBytes);
  EXPECT_THAT(submit(client), StartsWith("250 2.0.0"));
}

TEST_F(ServerTest, EndsASessionOfAHundredThousandRecipients) {
  start();
  RawClient client = authenticated();
  EXPECT_EQ(client.code("MAIL FROM:<a@example.com>"), "250 2.1.0");
  const std::size_t before = resident_bytes();
  std::thread sender([&] {
    std::string block;
    for (int i = 0; i < 1000; ++i) block += "RCPT TO:<user@routed.test>\r\n";
    for (int i = 0; i < 100 && client.send(block); ++i) {
    }
  });
  int taken = 0, refused = 0;
  std::string code;
  do {
    code = client.reply().substr(0, 9);
    taken += code == "250 2.1.5";
    refused += code == "452 4.5.3";
  } while (code == "250 2.1.5" || code == "452 4.5.3");
  sender.join();
  EXPECT_THAT(code, testing::AnyOf("421 4.7.0", ""));  // what the client has not read when we close it may never read
  EXPECT_EQ(taken, 1000);
  EXPECT_LE(refused, 10'020);
  EXPECT_LT(resident_bytes(), before + (4u << 20) + kSlackBytes);
  EXPECT_TRUE(eventually([&] { return server_->stats().sessions == 0; }));
}

TEST_F(ServerTest, HoldsSilentConnectionsCheaply) {
  constexpr std::size_t kConnections = 2000;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_max < 2 * kConnections + 200) GTEST_SKIP() << "too few file descriptors";
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  options_.limits.sessions_per_client = kConnections + 10;
  start();
  std::vector<RawClient> clients;
  clients.reserve(kConnections);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_THAT(clients.emplace_back(connect()).reply(), StartsWith("220"));
  const std::size_t before = resident_bytes();
  for (std::size_t i = 100; i < kConnections; ++i) {
    ASSERT_THAT(clients.emplace_back(connect()).reply(), StartsWith("220"));
  }
  const std::size_t each = (resident_bytes() - before) / (kConnections - 100);
  RecordProperty("bytes_per_silent_connection", static_cast<int>(each));
  std::printf("%zu octets for a silent connection, the test's own client included\n", each);
  EXPECT_LT(each, kSlackBytes == 0 ? 6'000u : 30'000u);
  EXPECT_TRUE(eventually([&] { return server_->stats().sessions == kConnections; }));
  RawClient client = authenticated();
  EXPECT_THAT(submit(client), StartsWith("250 2.0.0"));
}

}  // namespace
}  // namespace danki::submission
