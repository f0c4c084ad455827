// What the rooms ask of each other through the daemon, by real configurations.
#include "mta/daemon/daemon_ports.hpp"
#include "mta/daemon/reloader.hpp"
#include "mta/daemon/signals.hpp"
#include "tests/dkim/test_keys.hpp"
#include "tests/fakes/clock.hpp"

#include <csignal>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::daemon {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct PortsTest : ::testing::Test {
  PortsTest() { keys.write("key.pem", dkim::test::ed25519_key()); }
  std::shared_ptr<const config::Config> load(const std::string& more, const std::string& dsn = "sender") {
    auto file = keys.path() / "danki.toml";
    std::ofstream(file) << R"([node]
hostname = "relay.example.com"
data_dir = "data"
[[listener]]
address = "127.0.0.1:2525"
tls = "none"
trusted_networks = ["127.0.0.1"]
tenant_for_trusted = "app"
[[tenant]]
name = "app"
pool = "main"
domains = ["example.com"]
dsn = ")" + dsn + R"("
[[source]]
name = "out01"
address = "any"
[[pool]]
name = "main"
sources = ["out01"]
[[dkim]]
domain = "example.com"
selector = "s1"
key_file = "key.pem"
)" << more;
    auto loaded = config::load(file);
    if (!loaded) throw std::runtime_error(loaded.error().to_string());
    return std::make_shared<const config::Config>(std::move(*loaded));
  }
  std::optional<queue::NewMessage> report(const CurrentConfig& current, mail::MailClass klass) {
    mail::Envelope envelope;
    envelope.reverse_path = {.local = "b", .domain = "example.com"};
    envelope.recipients.push_back({.address = {.local = "u", .domain = "a.example"}, .orcpt = {}, .notify = 0});
    envelope.tenant = "app";
    envelope.klass = klass;
    queue::Message message(queue::MessageId{5}, envelope);
    mail::DsnRecipient failed;
    failed.recipient = envelope.recipients[0];
    failed.action = mail::DsnRecipient::Action::Failed;
    failed.status = {5, 0, 0};
    DeliveryPorts ports(current, clock);
    return ports.compose_dsn(message, "Subject: x\r\n\r\n", {failed});
  }

  dkim::test::KeyFolder keys;
  fakes::FakeClock clock;
};

TEST_F(PortsTest, AFromDomainWithoutKeyIsRefusedUnlessUnsignedMailIsAllowed) {
  CurrentConfig current(load(""));
  SubmissionPorts ports(current);
  EXPECT_EQ(ports.refuse_from_domain("app", "example.com"), "");
  EXPECT_THAT(ports.refuse_from_domain("app", "other.example"), HasSubstr("no DKIM key for other.example"));
  current.set(load("[auth]\nmissing_key = \"send_unsigned\"\n"));
  EXPECT_EQ(ports.refuse_from_domain("app", "other.example"), "") << "a reload is obeyed at once";
}

TEST_F(PortsTest, ReportsLiveAsLongAsTheirClassAndOnlyWhereTheTenantWantsThem) {
  CurrentConfig current(load("[delivery]\ntransactional_expiry = \"2h\"\nbulk_expiry = \"50h\"\n"));
  auto transactional = report(current, mail::MailClass::Transactional);
  ASSERT_TRUE(transactional);
  EXPECT_EQ(transactional->envelope.expires_at, clock.now() + 2h);
  auto bulk = report(current, mail::MailClass::Bulk);
  ASSERT_TRUE(bulk);
  EXPECT_EQ(bulk->envelope.expires_at, clock.now() + 50h);
  current.set(load("", "event"));
  EXPECT_FALSE(report(current, mail::MailClass::Bulk));
}

TEST_F(PortsTest, NamesTheTablesThatAReloadLeavesAsTheyWere) {
  auto old = load("");
  EXPECT_THAT(needs_restart(*old, *load("[delivery]\nbulk_expiry = \"1d\"\n[limits]\nrecipients = 500\n")), IsEmpty());
  EXPECT_THAT(
      needs_restart(*old, *load("[dns]\nservers = [\"127.0.0.1\"]\n[admin]\nsocket = \"a.sock\"\n[events]\n"
                                "retain = \"1d\"\n[log]\nlevel = \"debug\"\n[limits]\nbody_memory = \"8MiB\"\n")),
      ElementsAre("dns", "admin", "events", "log", "limits (spool)"));
}

TEST(MainLoop, WakesForWorkOfOtherThreads) {
  MainLoop loop;
  std::thread other([&] { loop.request([] {}); });
  EXPECT_EQ(loop.wait(), MainLoop::Wake::Request);
  EXPECT_EQ(loop.take().size(), 1u);
  EXPECT_TRUE(loop.take().empty());
  other.join();
}

TEST(MainLoop, TellsReloadFromStop) {
  MainLoop loop;
  for (auto [signal, want] :
       {std::pair{SIGHUP, MainLoop::Wake::Reload}, {SIGTERM, MainLoop::Wake::Stop}, {SIGINT, MainLoop::Wake::Stop}}) {
    raise(signal);
    EXPECT_EQ(loop.wait(), want);
  }
}

}  // namespace
}  // namespace danki::daemon
