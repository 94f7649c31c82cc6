#include "remedy/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace claw::remedy {
namespace {

Observation observed(std::size_t poison, std::size_t rare) {
  Observation o;
  o.tenant = "t";
  QueueView view;
  view.id = {"b", "q"};
  view.entries = 10'000;
  o.queues.push_back(view);
  o.messages_seen = 10'000;
  o.bytes_seen = 3'000'000;
  const auto finding = [&](const char* path, double lower, std::size_t count, std::uint64_t from) {
    Finding f;
    f.signature = {"malformed_json", path, "malformed JSON"};
    f.count = count;
    f.confidence = lower;
    f.lower_bound = lower;
    o.findings.push_back(f);
    std::vector<PoisonRef> refs;
    for (std::uint64_t i = 0; i < count; ++i) refs.push_back({.key = {from + i, 0}, .queue = 0, .attempts = 3});
    o.members.push_back(refs);
  };
  finding("transaction_id", 0.99, poison, 0);
  finding("amount", 0.96, rare, 5'000);
  finding("note", 0.9499, 50, 9'000);
  return o;
}

Plan planned(const Observation& o) {
  return make_plan({.observation = o, .skill = "aggressive-drain", .detector = "1", .limits = {},
                    .quarantine_name = [](const QueueId& id) { return id.name + ":quarantine"; }});
}

TEST(Planner, takes_only_what_reaches_the_confidence) {
  const Plan plan = planned(observed(300, 2));
  EXPECT_EQ(plan.signatures.size(), 2u);
  EXPECT_EQ(plan.total(), 302u);
}

TEST(Planner, names_every_message_once) {
  const Plan plan = planned(observed(300, 2));
  std::set<std::string> ids;
  for (const PlannedMessage& m : plan.queues[0].messages) EXPECT_TRUE(ids.insert(m.id).second) << m.id;
}

TEST(Planner, an_empty_selection_is_an_empty_plan) {
  Observation o = observed(300, 2);
  for (Finding& f : o.findings) f.lower_bound = 0.5;
  EXPECT_EQ(planned(o).total(), 0u);
  EXPECT_TRUE(waves_of(planned(o)).empty());
}

TEST(Waves, canary_has_one_of_each_signature_and_waves_cover_everything_once) {
  for (const std::size_t poison : {1u, 2u, 50u, 300u, 5000u}) {
    const Plan plan = planned(observed(poison, 2));
    const std::vector<Wave> waves = waves_of(plan);
    std::set<std::uint32_t> signatures;
    const Slice& canary = waves.front().front();
    EXPECT_EQ(canary.first, 0u);
    for (std::size_t i = 0; i < canary.count; ++i) signatures.insert(plan.queues[0].messages[i].signature);
    EXPECT_EQ(signatures.size(), 2u);
    EXPECT_LE(canary.count, std::max<std::size_t>(2, (poison + 2) / 100 + 1));
    std::size_t next = 0;
    for (const Wave& wave : waves)
      for (const Slice& slice : wave) {
        EXPECT_EQ(slice.first, next);
        next += slice.count;
      }
    EXPECT_EQ(next, plan.total());
  }
}

TEST(Planner, takes_the_worst_blockers_first_and_counts_those_that_wait) {
  Observation o = observed(300, 2);
  for (std::size_t i = 0; i < 300; ++i) o.members[0][i].attempts = i >= 200 && i < 220 ? 5 : 0;
  o.members[1][0].attempts = o.members[1][1].attempts = 1;
  PlanInputs inputs{.observation = o, .skill = "aggressive-drain", .protocol = "", .detector = "1", .limits = {}, .quarantine_name = [](const QueueId& id) { return id.name; }};
  inputs.limits.max_messages = 30;
  const Plan plan = make_plan(inputs);
  EXPECT_EQ(plan.total(), 30u);
  EXPECT_EQ(plan.poison, 302u);
  EXPECT_EQ(plan.waiting(), 272u);
  std::set<std::uint64_t> taken, expected = {5'000, 5'001};
  for (const PlannedMessage& m : plan.queues[0].messages) taken.insert(m.key.high);
  for (std::uint64_t i = 200; i < 220; ++i) expected.insert(i);  // five attempts
  for (std::uint64_t i = 0; i < 8; ++i) expected.insert(i);      // then the head of the queue
  EXPECT_EQ(taken, expected);
  EXPECT_EQ(plan_hash(make_plan(inputs)), plan_hash(plan));
}

TEST(Planner, shares_the_limit_out_between_queues_and_names_none_that_gets_nothing) {
  Observation o = observed(10, 2);
  QueueView other;
  other.id = {"b", "r"};
  other.entries = 10'000;
  o.queues.push_back(other);
  for (std::uint64_t i = 0; i < 10; ++i) o.members[0].push_back({.key = {i, 0}, .queue = 1, .attempts = 3});
  PlanInputs inputs{.observation = o, .skill = "aggressive-drain", .protocol = "", .detector = "1", .limits = {}, .quarantine_name = [](const QueueId& id) { return id.name; }};
  inputs.limits.max_messages = 6;
  const Plan plan = make_plan(inputs);
  ASSERT_EQ(plan.queues.size(), 2u);
  EXPECT_EQ(plan.queues[0].messages.size(), 3u);
  EXPECT_EQ(plan.queues[1].messages.size(), 3u);
  EXPECT_EQ(plan.queues[0].poison, 12u);
  inputs.limits.max_messages = 1;
  const Plan one = make_plan(inputs);
  ASSERT_EQ(one.queues.size(), 1u);
  EXPECT_EQ(one.waiting(), 21u);
}

TEST(Planner, same_observation_same_hash) {
  EXPECT_EQ(plan_hash(planned(observed(300, 2))), plan_hash(planned(observed(300, 2))));
}

}  // namespace
}  // namespace claw::remedy
