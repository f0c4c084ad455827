// danki.toml as a whole: what is accepted, and which line is blamed for what is not.
#include "tests/config/config_folder.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::config {
namespace {

using namespace std::chrono_literals;
using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

std::string reference_configuration() {
  std::ifstream in(std::string(DANKI_SOURCE_DIR) + "/tests/corpus/config/danki.toml");
  std::stringstream all;
  all << in.rdbuf();
  std::string text = all.str();
  for (auto at = text.find("KEYS/"); at != std::string::npos; at = text.find("KEYS/")) text.erase(at, 5);
  return text;
}

std::string line_of(const std::string& text, const std::string& what) {
  auto at = text.find(what);
  return std::to_string(1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

std::string dkim_key(const std::string& domain, const std::string& selector) {
  return "[[dkim]]\ndomain = \"" + domain + "\"\nselector = \"" + selector +
         "\"\nkey_file = \"example.com.s2026a.pem\"";
}

TEST(Load, ReadsEveryKeyOfTheReferenceConfiguration) {
  Folder folder;
  auto loaded = folder.load(reference_configuration());
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->hostname, "relay1.example.com");
  EXPECT_EQ(loaded->data_dir, "/var/lib/danki");
  EXPECT_EQ(loaded->spool.directory, "/var/lib/danki/spool");
  EXPECT_EQ(loaded->events.directory, "/var/lib/danki/events");
  ASSERT_EQ(loaded->submission.listeners.size(), 1u);
  const submission::ListenerOptions& listener = loaded->submission.listeners[0];
  EXPECT_EQ(listener.address.port(), 587);
  EXPECT_EQ(listener.tls, submission::ListenerTls::StartTls);
  EXPECT_NE(listener.tls_context, nullptr);
  EXPECT_TRUE(listener.require_auth);
  const submission::TenantOptions& tenant = loaded->submission.tenants.at("signup");
  EXPECT_EQ(tenant.klass, mail::MailClass::Transactional);
  EXPECT_EQ(tenant.password_hashes.size(), 1u);
  EXPECT_THAT(tenant.pools, ElementsAre("launch"));
  EXPECT_THAT(tenant.domains, ElementsAre("example.com", ".example.com"));
  EXPECT_NEAR(tenant.rate_per_second, 50000.0 / 3600, 1e-9);
  EXPECT_EQ(tenant.rate_burst, 50000);
  const delivery::SourceOptions& source = loaded->delivery.sources.at("out01");
  EXPECT_EQ(source.address->to_string(), "10.0.0.11");
  EXPECT_EQ(source.public_address->to_string(), "203.0.113.11");
  EXPECT_EQ(source.ehlo, "out01.example.com");
  EXPECT_THAT(loaded->delivery.pools.at("main").sources, ElementsAre("out01", "out02"));
  EXPECT_THAT(loaded->delivery.pools.at("main").standby, ElementsAre("out03"));
  ASSERT_NE(loaded->keys, nullptr);
  EXPECT_TRUE(loaded->keys->has_key("example.com"));
  ASSERT_EQ(loaded->delivery.routes.size(), 1u);
  EXPECT_EQ(loaded->delivery.routes[0].next_hop, "127.0.0.1:2526");
  EXPECT_THAT(loaded->submission.routed_domains, ElementsAre("*.test"));
  ASSERT_EQ(loaded->delivery.shaping.size(), 1u);
  const delivery::ShapingOptions& shaping = loaded->delivery.shaping[0];
  EXPECT_EQ(shaping.connections.value, 20u);
  EXPECT_EQ(shaping.messages_per_connection.value, 100u);
  EXPECT_EQ(shaping.rate.value, (delivery::Rate{600, 1min}));
  EXPECT_EQ(shaping.recipients_per_transaction.value, 50u);
  EXPECT_EQ(shaping.tls.value, delivery::TlsPolicy::Opportunistic);
  EXPECT_THAT(loaded->delivery.bulk_retries, ElementsAre(5min, 10min, 20min, 40min, 80min, 160min, 4h));
  EXPECT_EQ(loaded->submission.bulk_expiry, 72h);
  EXPECT_EQ(loaded->delivery.shutdown_grace, 60s);
  EXPECT_FALSE(loaded->delivery.send_unsigned);
  EXPECT_THAT(loaded->dns.servers, ElementsAre("127.0.0.1:53"));
  EXPECT_EQ(loaded->admin.socket, "/run/danki/admin.sock");
}

TEST(Load, NamesTheKeysWithoutEffectAndOnlyThose) {
  Folder folder;
  const std::string text = reference_configuration();
  std::vector<std::string> named;
  for (const std::string& warning : folder.warnings(text)) {
    EXPECT_THAT(warning, HasSubstr(": has no effect yet"));
    auto key = warning.find(": ") + 2;
    named.push_back(warning.substr(key, warning.find(": ", key) - key));
  }
  std::sort(named.begin(), named.end());
  EXPECT_THAT(named, ElementsAre("auth.gate", "delivery.eightbit", "shaping.address_family", "shaping.chunking",
                                 "shaping.connection_rate", "shaping.one_domain_per_transaction", "shaping.per",
                                 "shaping.rate", "tenant.weight"));
  EXPECT_THAT(folder.warnings(text),
              ::testing::Contains(StartsWith("danki.toml:" + line_of(text, "eightbit") + ":12: delivery.eightbit: ")));
  EXPECT_THAT(folder.warnings(std::string(kMinimal)), IsEmpty());
}

TEST(Load, AcceptsTheTablesOfLaterRoomsAndNamesTheirKeys) {
  Folder folder;
  EXPECT_THAT(
      folder.warnings(with_more(R"([reputation]
mode = "advise"
[dnsbl]
[[dnsbl.watch]]
zone = "bl.example"
[[warmup.plan]]
source = "out01"
[[webhook]]
url = "https://example.com"
[alerts]
[[alert]]
[bounce]
[suppression])")),
      ::testing::UnorderedElementsAre(
          "danki.toml:20:1: reputation.mode: has no effect yet", "danki.toml:23:1: dnsbl.watch.zone: has no effect yet",
          "danki.toml:25:1: warmup.plan.source: has no effect yet", "danki.toml:27:1: webhook.url: has no effect yet",
          ::testing::HasSubstr(": alerts: has no effect yet"), ::testing::HasSubstr(": alert: has no effect yet"),
          ::testing::HasSubstr(": bounce: has no effect yet"),
          ::testing::HasSubstr(": suppression: has no effect yet")));
  EXPECT_THAT(folder.problems(with_more("[webhook]")),
              ElementsAre(HasSubstr(":19:2: webhook: must be written [[webhook]]")));
}

TEST(Load, BlamesTheLineOfEachMistake) {
  struct Case {
    std::string name, text, want;
  };
  Folder folder;
  const std::string hash = "password_hash = [\"hunter2\"]";
  const std::vector<Case> cases = {
      {"unknown key", with_line(2, "hostname = \"relay1.example.com\"\nhostnam = 1"),
       "danki.toml:3:1: node.hostnam: unknown key; allowed are data_dir, hostname"},
      {"unknown table", with_more("[nodes]"), ":19:2: nodes: unknown key; allowed are admin, "},
      {"wrong type", with_line(2, "hostname = 5"), "danki.toml:2:12: node.hostname: must be a string"},
      {"required key missing", with_line(2, ""), "danki.toml:1:1: node.hostname: is missing"},
      {"no host name", with_line(2, "hostname = \"a..b\""), "danki.toml:2:12: node.hostname: \"a..b\" is no host name"},
      {"syntax", with_line(2, "hostname = relay1"), "danki.toml:2:"},
      {"key twice", with_line(2, "hostname = \"a\"\nhostname = \"b\""), "danki.toml:3:"},
      {"single written double", with_line(1, "[[node]]"), ": node: must be written [node]"},
      {"double written single", with_line(4, "[listener]"), "danki.toml:4:1: listener: must be written [[listener]]"},
      {"no port", with_line(5, "address = \"127.0.0.1\""),
       "danki.toml:5:11: listener.address: \"127.0.0.1\" is no address with port"},
      {"port too large", with_line(5, "address = \"127.0.0.1:65536\""), "danki.toml:5:11: listener.address: "},
      {"IPv6 without brackets", with_line(5, "address = \"::1:25\""), "danki.toml:5:11: listener.address: "},
      {"word not allowed", with_line(6, "tls = \"ssl\""),
       "danki.toml:6:7: listener.tls: \"ssl\" is not allowed here; allowed are none, starttls, implicit"},
      {"TLS without certificate", with_line(6, "tls = \"starttls\"\nprivate_key = \"key.pem\""),
       "danki.toml:4:1: listener.certificate: is missing"},
      {"certificate not there",
       with_line(6, "tls = \"implicit\"\ncertificate = \"nowhere.pem\"\nprivate_key = \"key.pem\""),
       "danki.toml:7:15: listener.certificate: certificate nowhere.pem"},
      {"no network", with_line(7, "trusted_networks = [\"127.0.0.1\",\n  \"10.0.0.0/33\"]"),
       "danki.toml:8:3: listener.trusted_networks: \"10.0.0.0/33\" is no network"},
      {"trusted without tenant", with_line(8, ""),
       "danki.toml:7:20: listener.trusted_networks: needs tenant_for_trusted"},
      {"tenant unknown", with_line(8, "tenant_for_trusted = \"web\""),
       "danki.toml:8:22: listener.tenant_for_trusted: there is no [[tenant]] named \"web\""},
      {"proxy is trusted", with_line(7, "trusted_networks = [\"127.0.0.0/8\"]\nproxy_protocol_from = [\"127.9.9.9\"]"),
       "danki.toml:7:20: listener.trusted_networks: holds an address of proxy_protocol_from"},
      {"nobody may send", with_line(7, "") /* and the tenant's line */, "danki.toml:6:7: listener.tls: is \"none\""},
      {"listener twice",
       with_more("[[listener]]\naddress = \"127.0.0.1:2525\"\ntls = \"none\"\nauth_without_tls = true"),
       "danki.toml:20:11: listener.address: 127.0.0.1 port 2525 is already the address of another listener, at "
       "danki.toml:5:11"},
      {"not true or false", with_line(7, "require_auth = \"yes\"\ntrusted_networks = [\"::1\"]"),
       "danki.toml:7:16: listener.require_auth: must be true or false"},
      {"plain password", with_line(10, "name = \"app\"\n" + hash),
       "danki.toml:11:18: tenant.password_hash: is no crypt(5) hash"},
      {"pool unknown", with_line(11, "pool = \"mian\""),
       "danki.toml:11:8: tenant.pool: there is no [[pool]] named \"mian\""},
      {"second pool unknown", with_line(11, "pool = \"main\"\npools = [\"main\", \"launch\"]"),
       "danki.toml:12:18: tenant.pools: there is no [[pool]] named \"launch\""},
      {"no domains", with_line(12, ""), "danki.toml:9:1: tenant.domains: is missing or empty"},
      {"bad domain", with_line(12, "domains = [\"example.com\", \"@example.com\"]"),
       "danki.toml:12:27: tenant.domains: \"@example.com\" is no domain"},
      {"rate without unit", with_line(12, "domains = [\"example.com\"]\nrate = \"500\""),
       "danki.toml:13:8: tenant.rate: \"500\" is no rate"},
      {"rate as number", with_line(12, "domains = [\"example.com\"]\nrate = 500"),
       "danki.toml:13:8: tenant.rate: must be a rate"},
      {"weight nan", with_line(12, "domains = [\"example.com\"]\nweight = nan"),
       "danki.toml:13:10: tenant.weight: must be a number"},
      {"tenant twice", with_more("[[tenant]]\nname = \"app\"\npool = \"main\"\ndomains = [\"example.com\"]"),
       "danki.toml:20:8: tenant.name: app is already the name of another tenant, at danki.toml:10:8"},
      {"name with NUL", with_more("[[pool]]\nname = \"a\\u0000b\"\nsources = [\"out01\"]"),
       "danki.toml:20:8: pool.name: must not hold control characters"},
      {"bad address", with_line(15, "address = \"10.0.0.256\""),
       "danki.toml:15:11: source.address: \"10.0.0.256\" is no IPv4 or IPv6 address"},
      {"families mixed", with_line(15, "address = \"10.0.0.1\"\npublic_address = \"2001:db8::1\""),
       "danki.toml:16:18: source.public_address: is of another family"},
      {"source twice", with_more("[[source]]\nname = \"out01\"\naddress = \"any\""),
       "danki.toml:20:8: source.name: out01 is already the name of another source, at danki.toml:14:8"},
      {"source unknown", with_line(18, "sources = [\"out01\", \"out2\"]"),
       "danki.toml:18:21: pool.sources: there is no [[source]] named \"out2\""},
      {"source in pool twice", with_line(18, "sources = [\"out01\"]\nstandby = [\"out01\"]"),
       "danki.toml:19:12: pool.standby: \"out01\" is already listed at danki.toml:18:12"},
      {"empty pool", with_line(18, "sources = []"), "danki.toml:18:11: pool.sources: is missing or empty"},
      {"list of numbers", with_line(18, "sources = [\"out01\", 2]"),
       "danki.toml:18:21: pool.sources: must hold strings only"},
      {"key not there", with_more("[[dkim]]\ndomain = \"example.com\"\nselector = \"s\"\nkey_file = \"no.pem\""),
       "danki.toml:22:12: dkim.key_file: no.pem"},
      {"selector twice",
       with_more("[[dkim]]\ndomain = \"example.com\"\nselector = \"s\"\nkey_file = \"example.com.s2026a.pem\"\n"
                 "[[dkim]]\ndomain = \"Example.COM\"\nselector = \"s\"\nkey_file = \"example.com.s2026a.pem\""),
       "danki.toml:25:12: dkim.selector: s of example.com is already used at danki.toml:21:12"},
      {"selector of other characters", with_more(dkim_key("example.com", "s1;d=evil")),
       "danki.toml:21:12: dkim.selector: \"s1;d=evil\" is no selector"},
      {"selector with a dot at the end", with_more(dkim_key("example.com", "a.b.")),
       "danki.toml:21:12: dkim.selector: \"a.b.\" is no selector"},
      {"selector not in ASCII", with_more(dkim_key("example.com", "例")),
       "danki.toml:21:12: dkim.selector: \"例\" is no selector"},
      {"selector too long for DNS",
       with_more(dkim_key("example.com", std::string(60, 'a') + "." + std::string(60, 'b') + "." +
                                             std::string(60, 'c') + "." + std::string(60, 'd'))),
       "danki.toml:21:12: dkim.selector: is too long"},
      {"key of an address", with_more(dkim_key("[192.0.2.1]", "s")),
       "danki.toml:20:10: dkim.domain: \"[192.0.2.1]\" is an address"},
      {"key of no domain", with_more(dkim_key("example..com", "s")),
       "danki.toml:20:10: dkim.domain: \"example..com\" is no domain"},
      {"next hop", with_more("[[route]]\nmatch = \"*.test\"\nnext_hop = \"127.0.0.1:x\""),
       "danki.toml:21:12: route.next_hop: "},
      {"route twice",
       with_more("[[route]]\nmatch = \"a.test\"\nnext_hop = \"127.0.0.1\"\n[[route]]\nmatch = \"A.test\"\nnext_hop = "
                 "\"127.0.0.2\""),
       "danki.toml:23:9: route.match: \"a.test\" has its route at danki.toml:20:9 already"},
      {"shaping of an unknown source", with_more("[[shaping]]\nsource = \"out9\"\nconnections = 1"),
       "danki.toml:20:10: shaping.source: there is no [[source]] named \"out9\""},
      {"no connections at all", with_more("[[shaping]]\nconnections = 0"),
       "danki.toml:20:15: shaping.connections: must be a whole number from 1 to 1000000, or \"none\""},
      {"duration without unit", with_more("[delivery]\nbulk_expiry = \"3\""),
       "danki.toml:20:15: delivery.bulk_expiry: \"3\" is no duration; write a number and ms, s, m, h or d, like "
       "\"5m\""},
      {"duration out of range", with_more("[delivery]\nshutdown_grace = \"2h\""),
       "danki.toml:20:18: delivery.shutdown_grace: \"2h\" is out of range; allowed are \"0ms\" to \"1h\""},
      {"one bad step", with_more("[delivery]\nbulk_retries = [\"5m\",\n\"ten minutes\"]"),
       "danki.toml:21:1: delivery.bulk_retries: \"ten minutes\" is no duration"},
      {"no steps", with_more("[delivery]\nbulk_retries = []"),
       "danki.toml:20:16: delivery.bulk_retries: must name at least one step"},
      {"share above one", with_more("[delivery]\nbulk_share = 1.5"),
       "danki.toml:20:14: delivery.bulk_share: must be a number from 0 to 1"},
      {"gate", with_more("[auth]\ngate = \"on\""),
       "danki.toml:20:8: auth.gate: \"on\" is not allowed here; allowed are reject, warn, off"},
      {"DNS server", with_more("[dns]\nservers = [\"127.0.0.1:53\", \"ns1\"]"),
       "danki.toml:20:28: dns.servers: \"ns1\" is no server"},
      {"TCP without token", with_more("[admin]\nlisten = \"127.0.0.1:8025\""),
       "danki.toml:20:10: admin.listen: needs token_file"},
      {"token not there", with_more("[admin]\nlisten = \"127.0.0.1:8025\"\ntoken_file = \"token\""),
       "danki.toml:21:14: admin.token_file: token"},
      {"file mode", with_more("[admin]\nsocket_mode = \"0999\""),
       "danki.toml:20:15: admin.socket_mode: \"0999\" is no file mode"},
      {"size without unit", with_more("[limits]\nmessage_size = \"25\""),
       "danki.toml:20:16: limits.message_size: \"25\" is no size; write a number and B, KiB, MiB or GiB"},
      {"size out of range", with_more("[limits]\nmessage_size = \"1KiB\""),
       "danki.toml:20:16: limits.message_size: \"1KiB\" is out of range; allowed are \"64KiB\" to \"1GiB\""},
      {"fewer than 100 recipients", with_more("[limits]\nrecipients = 99"),
       "danki.toml:20:14: limits.recipients: 99 is out of range; allowed are 100 to 100000"},
      {"memory below one message", with_more("[limits]\nmessage_size = \"64MiB\"\nmemory = \"95MiB\""),
       "danki.toml:21:10: limits.memory: messages of message_size (64MiB) need a memory of at least \"97MiB\""},
      {"memory below one message of the default size", with_more("[limits]\nmemory = \"52MiB\""),
       "danki.toml:20:10: limits.memory: messages of message_size (35MiB) need a memory of at least \"53MiB\""},
      {"message beyond the default memory", with_more("[limits]\nmessage_size = \"1GiB\""),
       "danki.toml:20:16: limits.message_size: messages of message_size (1024MiB) need a memory of at least"},
      {"single table twice in one file", with_more("[node]\nhostname = \"b.example\""), "danki.toml:19:"},
      {"include not there", "include = \"conf.d\"\n" + std::string(kMinimal), "danki.toml:1:11: include: conf.d: "},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    // The line with tenant_for_trusted alone would be a warning only: without networks it goes too.
    std::string text = c.name == "nobody may send"
                           ? c.text.substr(0, c.text.find("tenant_for")) + c.text.substr(c.text.find("[[tenant]]"))
                           : c.text;
    std::vector<std::string> problems = folder.problems(text);
    ASSERT_FALSE(problems.empty());
    EXPECT_THAT(problems, ElementsAre(HasSubstr(c.want)));
  }
}

TEST(Load, TellsEveryProblemAtOnceAndNoSecret) {
  Folder folder;
  std::vector<std::string> problems =
      folder.problems(with_line(10, "name = \"app\"\npassword_hash = [\"hunter2\"]\nclas = \"bulk\"\nrate = \"5\"") +
                      "[dns]\ntimeout = 3\n");
  EXPECT_THAT(problems, ::testing::UnorderedElementsAre(
                            HasSubstr(":11:18: tenant.password_hash"), HasSubstr(":12:1: tenant.clas"),
                            HasSubstr(":13:8: tenant.rate"), HasSubstr(": dns.timeout: must be a duration")));
  for (const std::string& problem : problems) EXPECT_THAT(problem, Not(HasSubstr("hunter2")));
}

TEST(Load, NeedsOneOfEachTable) {
  Folder folder;
  EXPECT_THAT(folder.problems(""), ::testing::UnorderedElementsAre(HasSubstr("danki.toml:1:1: node: is missing"),
                                                                   HasSubstr("danki.toml:1:1: listener: is missing"),
                                                                   HasSubstr("danki.toml:1:1: tenant: is missing"),
                                                                   HasSubstr("danki.toml:1:1: source: is missing"),
                                                                   HasSubstr("danki.toml:1:1: pool: is missing")));
  auto missing = config::load(folder.file("nowhere.toml"));
  ASSERT_FALSE(missing);
  EXPECT_THAT(folder.shorten(missing.error().lines), ElementsAre(HasSubstr("nowhere.toml: cannot be read")));
}

TEST(Load, WarnsOfWhatWouldSurprise) {
  struct Case {
    std::string name, text, want;
  };
  Folder folder;
  for (const Case& c :
       {Case{"nobody can be it", with_more("[[tenant]]\nname = \"web\"\npool = \"main\"\ndomains = [\"example.com\"]"),
             "danki.toml:20:8: tenant.password_hash: is missing, and no listener trusts a network as \"web\""},
        Case{"idle source", with_more("[[source]]\nname = \"out02\"\naddress = \"10.0.0.2\""),
             "danki.toml:20:8: source.name: \"out02\" is in no [[pool]]"},
        Case{"one address for two",
             with_line(15,
                       "address = \"10.0.0.2\"\n[[source]]\nname = \"out02\"\naddress = \"10.0.0.2\"\n[[pool]]\nname = "
                       "\"b\"\nsources = [\"out02\"]"),
             "danki.toml:18:11: source.address: 10.0.0.2 is also the address of \"out01\""},
        Case{"certificate without TLS", with_line(6, "tls = \"none\"\ncertificate = \"fullchain.pem\""),
             "danki.toml:7:15: listener.certificate: is not used: tls is \"none\""}}) {
    SCOPED_TRACE(c.name);
    EXPECT_THAT(folder.warnings(c.text), ElementsAre(HasSubstr(c.want)));
  }
}

TEST(Load, AddsUpTheFilesOfTheIncludedFolder) {
  Folder folder;
  const std::string main_file = "include = \"conf.d\"\n" + std::string(kMinimal);
  folder.write("conf.d/20-b.toml",
               "[[source]]\nname = \"out03\"\naddress = \"10.0.0.3\"\n[[pool]]\nname = \"b\"\nsources = [\"out02\", "
               "\"out03\"]\n");
  folder.write("conf.d/10-a.toml", "[[source]]\nname = \"out02\"\naddress = \"10.0.0.2\"\n[log]\nlevel = \"warn\"\n");
  folder.write("conf.d/notes.txt", "no TOML\n");
  folder.write("conf.d/.#10-a.toml", "an editor's\n");
  auto loaded = folder.load(main_file);
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->delivery.sources.size(), 3u);
  EXPECT_EQ(loaded->log_level, log::Level::Warn);

  folder.write("conf.d/30-c.toml", "[log]\nlevel = \"info\"\n[[source]]\nname = \"out01\"\naddress = \"any\"\n");
  EXPECT_THAT(folder.problems(main_file),
              ::testing::UnorderedElementsAre("conf.d/30-c.toml:1:1: log: stands in two files; it may stand in one",
                                              "conf.d/30-c.toml:4:8: source.name: out01 is already the name of another "
                                              "source, at danki.toml:15:8"));
  folder.write("conf.d/30-c.toml", "include = \"more\"\n");
  EXPECT_THAT(folder.problems(main_file),
              ElementsAre("conf.d/30-c.toml:1:1: include: may stand in the main file only"));
}

TEST(Load, StartsRelativePathsAtTheFilesFolder) {
  Folder folder;
  auto loaded = folder.load(with_more(
      "[admin]\nsocket = \"admin.sock\"\n[events]\ndirectory = \"log/events\"\n[log]\nfile = \"dankid.log\""));
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->data_dir, folder.file("data"));
  EXPECT_EQ(loaded->admin.socket, folder.file("admin.sock"));
  EXPECT_EQ(loaded->events.directory, folder.file("log/events"));
  EXPECT_EQ(loaded->log_file, folder.file("dankid.log"));
}

TEST(Load, KnowsItsOwnAddressesByTheListenersOnPort25) {
  Folder folder;
  auto own = [&](const std::string& text) {
    auto loaded = folder.load(text);
    EXPECT_TRUE(loaded) << loaded.error().to_string();
    std::vector<std::string> texts;
    if (loaded) {
      for (const auto& address : loaded->delivery.own_addresses) texts.push_back(address.to_string());
    }
    return texts;
  };
  EXPECT_THAT(own(std::string(kMinimal)), IsEmpty());
  EXPECT_THAT(own(with_line(5, "address = \"192.0.2.1:25\"")), ElementsAre("192.0.2.1"));
  std::string everywhere = with_line(5, "address = \"0.0.0.0:25\"");
  everywhere.replace(everywhere.find("\"any\""), 5, "\"10.0.0.1\"\npublic_address = \"203.0.113.1\"");
  EXPECT_THAT(own(everywhere), ElementsAre("10.0.0.1", "203.0.113.1"));
}

TEST(Load, TakesSelectorsOfSeveralLabelsAsTheyAreWritten) {  // RFC 6376 section 3.1
  Folder folder;
  auto loaded = folder.load(with_more(dkim_key("Example.COM", "2026.Mail_a-1")));
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->dkim.at(0).domain, "example.com");
  EXPECT_EQ(loaded->dkim.at(0).selector, "2026.Mail_a-1");
  EXPECT_TRUE(folder.load(with_more("[limits]\nmemory = \"53MiB\"")));
}

TEST(Load, NormalisesNamesAndNetworks) {
  Folder folder;
  std::string text = with_line(7, "trusted_networks = [\"::ffff:10.1.2.3/104\", \"2001:DB8::1\"]");
  text.replace(text.find("domains = [\"example.com\"]"), 25, "domains = [\"Example.COM\", \".例え.jp\"]");
  auto loaded = folder.load(text);
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  const auto& networks = loaded->submission.listeners[0].trusted_networks;
  ASSERT_EQ(networks.size(), 2u);
  EXPECT_EQ(std::get<boost::asio::ip::network_v4>(networks[0]).to_string(), "10.0.0.0/8");
  EXPECT_EQ(std::get<boost::asio::ip::network_v6>(networks[1]).to_string(), "2001:db8::1/128");
  EXPECT_THAT(loaded->submission.tenants.at("app").domains, ElementsAre("example.com", ".xn--r8jz45g.jp"));
}

}  // namespace
}  // namespace danki::config
