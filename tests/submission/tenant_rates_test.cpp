#include "mta/submission/tenant_rates.hpp"

#include "mta/submission/options.hpp"

#include <gtest/gtest.h>

namespace danki::submission {
namespace {

using namespace std::chrono_literals;

TEST(TenantRates, LetsABurstThroughAndThenTheRate) {
  TenantRates rates;
  const TenantOptions tenant{.name = "a", .rate_per_second = 2, .rate_burst = 3};
  SteadyPoint now{1h};
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(rates.take(tenant, now));
  EXPECT_EQ(rates.take(tenant, now), 500ms);
  now += 499ms;
  EXPECT_EQ(rates.take(tenant, now), 1ms);
  now += 1ms;
  EXPECT_FALSE(rates.take(tenant, now));
  now += 1h;
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(rates.take(tenant, now)) << "never more than the burst";
  EXPECT_TRUE(rates.take(tenant, now));
  rates.give_back(tenant, 100);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(rates.take(tenant, now));
  EXPECT_TRUE(rates.take(tenant, now));
}

TEST(TenantRates, KnowsTenantsWithoutOne) {
  TenantRates rates;
  const TenantOptions tenant{.name = "a"};
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(rates.take(tenant, SteadyPoint{}));
  rates.give_back(tenant, 5);
}

}  // namespace
}  // namespace danki::submission
