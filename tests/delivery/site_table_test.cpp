#include "mta/delivery/site_table.hpp"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::delivery {
namespace {

using namespace std::chrono_literals;
using mail::MailClass;

constexpr TimePoint kNow{std::chrono::milliseconds(1'795'412'979'120)};
constexpr SteadyPoint kSteady{std::chrono::hours(1)};

struct SiteTableTest : ::testing::Test {
  /// A ready item; owned here.
  Item& item(const std::string& domain, MailClass klass = MailClass::Bulk, const std::string& tenant = "letters",
             const std::string& pool = "main") {
    mail::Envelope envelope;
    envelope.recipients.push_back({.address = {.local = "user", .domain = domain}, .orcpt = {}, .notify = 0});
    envelope.pool = pool;
    envelope.klass = klass;
    envelope.tenant = tenant;
    queue::MessageId id{++last_id};
    items.push_back(std::make_unique<Item>());
    Item& made = *items.back();
    made.id = last_id;
    made.entry = {.lane = {domain, klass, tenant}, .due = kNow, .id = id, .recipients = {0}};
    made.message = std::make_shared<queue::Message>(id, std::move(envelope));
    return made;
  }
  Item& ready(const std::string& domain, MailClass klass = MailClass::Bulk, const std::string& tenant = "letters",
              const std::string& pool = "main") {
    Item& made = item(domain, klass, tenant, pool);
    table.add(table.domain(domain), made, false);
    return made;
  }
  Site& bind(const std::string& domain, const std::string& site) {
    Site& found = table.site(site);
    table.bind(table.domain(domain), found);
    return found;
  }
  std::size_t ready_at(Site& site) { return site.ready(MailClass::Bulk) + site.ready(MailClass::Transactional); }

  SiteTable table;
  std::vector<std::unique_ptr<Item>> items;
  std::uint64_t last_id = 0;
};

TEST_F(SiteTableTest, TenantsTakeTurnsHoweverMuchOneHas) {
  Site& site = bind("a.example", "mx");
  for (int i = 0; i < 50; ++i) ready("a.example", MailClass::Bulk, "loud");
  for (int i = 0; i < 5; ++i) ready("a.example", MailClass::Bulk, "quiet");
  std::map<std::string, int> taken;
  for (int i = 0; i < 10; ++i) ++taken[table.take(site, "main", 0.1)->entry.lane.tenant];
  EXPECT_EQ(taken["loud"], 5);
  EXPECT_EQ(taken["quiet"], 5);
}

TEST_F(SiteTableTest, AnItemThatCameBackGoesFirst) {
  Site& site = bind("a.example", "mx");
  Item& first = ready("a.example");
  Item& second = ready("a.example");
  ASSERT_EQ(table.take(site, "main", 0.1), &first);
  table.add(table.domain("a.example"), first, true);
  EXPECT_EQ(table.take(site, "main", 0.1), &first);
  EXPECT_EQ(table.take(site, "main", 0.1), &second);
  EXPECT_EQ(table.take(site, "main", 0.1), nullptr);
}

TEST_F(SiteTableTest, BulkKeepsItsShareWhileTransactionalWaits) {
  Site& site = bind("a.example", "mx");
  for (double share : {0.0, 0.1, 0.25, 1.0}) {
    SCOPED_TRACE(share);
    for (int i = 0; i < 200; ++i) {
      ready("a.example", MailClass::Bulk);
      ready("a.example", MailClass::Transactional, "signup");
    }
    int bulk = 0;
    for (int i = 0; i < 100; ++i) {
      auto announced = table.next_class(site, "main", share);
      Item* taken = table.take(site, "main", share);
      ASSERT_NE(taken, nullptr);
      EXPECT_EQ(announced, taken->entry.lane.klass);
      bulk += taken->entry.lane.klass == MailClass::Bulk;
    }
    EXPECT_NEAR(bulk, 100 * share, 1);
    while (table.take(site, "main", share)) {
    }
  }
}

TEST_F(SiteTableTest, BulkAloneEarnsNoCreditForLater) {
  Site& site = bind("a.example", "mx");
  for (int i = 0; i < 100; ++i) ready("a.example", MailClass::Bulk);
  for (int i = 0; i < 50; ++i) table.take(site, "main", 0.1);
  for (int i = 0; i < 5; ++i) ready("a.example", MailClass::Transactional, "signup");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(table.take(site, "main", 0.1)->entry.lane.klass, MailClass::Transactional) << i;
}

TEST_F(SiteTableTest, MailForADomainWaitsUntilItIsBound) {
  Item& early = ready("a.example");
  Site& site = table.site("mx");
  EXPECT_EQ(table.take(site, "main", 0.1), nullptr);
  bind("a.example", "mx");
  EXPECT_EQ(ready_at(site), 1u);
  EXPECT_EQ(table.take(site, "main", 0.1), &early);
}

TEST_F(SiteTableTest, AChangeOfMxMovesWhatIsReadyAndNothingElse) {
  Site& old_site = bind("a.example", "old");
  bind("b.example", "old");
  for (int i = 0; i < 3; ++i) ready("a.example");
  ready("a.example", MailClass::Transactional, "signup", "launch");
  Item& stays = ready("b.example");
  Site& new_site = bind("a.example", "new");
  EXPECT_EQ(ready_at(old_site), 1u);
  EXPECT_EQ(ready_at(new_site), 4u);
  EXPECT_EQ(old_site.domains, 1u);
  EXPECT_EQ(new_site.domains, 1u);
  EXPECT_EQ(table.take(old_site, "main", 0.1), &stays);
  EXPECT_EQ(table.take(old_site, "main", 0.1), nullptr);
  for (int i = 0; i < 3; ++i) EXPECT_NE(table.take(new_site, "main", 0.1), nullptr);
  EXPECT_NE(table.take(new_site, "launch", 0.1), nullptr);
  EXPECT_EQ(ready_at(new_site), 0u);
}

TEST_F(SiteTableTest, PoolsDoNotTakeEachOthersMail) {
  Site& site = bind("a.example", "mx");
  Item& main = ready("a.example");
  Item& launch = ready("a.example", MailClass::Bulk, "letters", "launch");
  EXPECT_EQ(table.take(site, "launch", 0.1), &launch);
  EXPECT_EQ(table.take(site, "launch", 0.1), nullptr);
  EXPECT_EQ(table.take(site, "none", 0.1), nullptr);
  EXPECT_EQ(table.take(site, "main", 0.1), &main);
}

TEST_F(SiteTableTest, ARemovedItemIsNotTaken) {
  Site& site = bind("a.example", "mx");
  Item& only = ready("a.example", MailClass::Transactional, "signup");
  Item& one = ready("a.example");
  Item& other = ready("a.example");
  table.remove(one);
  table.remove(only);
  EXPECT_EQ(ready_at(site), 1u);
  EXPECT_EQ(table.domain("a.example").ready, 1u);
  EXPECT_EQ(table.take(site, "main", 0.1), &other);
  EXPECT_EQ(table.take(site, "main", 0.1), nullptr);
}

TEST_F(SiteTableTest, SweepsWhatNobodyNeeds) {
  Site& site = bind("a.example", "mx");
  table.domain("a.example").resolved_until = kSteady + 1min;
  Item& waiting = ready("a.example");
  table.sweep(kSteady + 2min);
  EXPECT_NE(table.find_domain("a.example"), nullptr) << "mail is ready";
  ASSERT_EQ(table.take(site, "main", 0.1), &waiting);
  site.in_flight = 1;
  table.sweep(kSteady + 2min);
  EXPECT_EQ(table.find_domain("a.example"), nullptr);
  EXPECT_NE(table.find_site("mx"), nullptr) << "in flight";
  site.in_flight = 0;
  site.paths["out01"] = std::make_unique<Path>();
  site.paths["out01"]->closed_until = kSteady + 5min;
  table.sweep(kSteady + 3min);
  EXPECT_NE(table.find_site("mx"), nullptr) << "its trouble is remembered";
  table.sweep(kSteady + 6min);
  EXPECT_EQ(table.find_site("mx"), nullptr);
}

}  // namespace
}  // namespace danki::delivery
