#include "broker/claims.h"

#include <gtest/gtest.h>

namespace claw {
namespace {

const BrokerName kBroker = "b";

TEST(ClaimsOnABroker, a_queue_is_its_one_claimants_by_name_by_glob_or_by_the_tenant_in_its_name) {
  const std::vector<Claim> claims = {{"ada", {.broker = kBroker, .match = "orders"}}, {"bob", {.broker = kBroker, .match = "pay:*"}}, {"", {.broker = kBroker, .match = "queue:{tenant}"}}};
  const Claims index(kBroker, claims);
  EXPECT_EQ((*index.owner_of("orders"))->tenant, "ada");
  EXPECT_EQ((*index.owner_of("pay:eu"))->tenant, "bob");
  EXPECT_EQ((*index.owner_of("queue:acme"))->tenant, "acme");
  EXPECT_EQ((*index.owner_of("queue:acme"))->claim, &claims[2]);
  EXPECT_FALSE(*index.owner_of("queue:"));
  EXPECT_FALSE(*index.owner_of("orders2"));
}

TEST(ClaimsOnABroker, what_two_tenants_claim_is_a_conflict_that_names_both) {
  const std::vector<Claim> claims = {{"ada", {.broker = kBroker, .match = "orders"}}, {"ada", {.broker = kBroker, .match = "ord*"}}, {"bob", {.broker = kBroker, .match = "*x"}}};
  const Claims index(kBroker, claims);
  EXPECT_EQ((*index.owner_of("orders"))->claim, &claims[0]) << "one tenant may say it twice";
  const auto both = index.owner_of("ordx");
  ASSERT_FALSE(both.ok());
  EXPECT_EQ(both.error().code, Code::conflict);
  EXPECT_NE(both.error().message().find("ada and bob"), std::string::npos) << both.error().message();
}

}  // namespace
}  // namespace claw
