#include "policy/policy.h"

#include <gtest/gtest.h>

#include <random>

#include <functional>

namespace claw {
namespace {

Plan plan_of(std::size_t messages, std::uint64_t seen) {
  Plan plan;
  plan.tenant = "t";
  plan.messages_seen = seen;
  plan.poison = messages;
  plan.bytes = 1'000;
  plan.expires = WallTime(Millis(1'000'000));
  plan.requester = "agent";
  plan.queues.push_back({.queue = {"b", "q"}, .entries = seen, .quarantine = "q:quarantine", .poison = messages, .messages = std::vector<PlannedMessage>(messages)});
  return plan;
}

Facts calm() {
  Facts facts;
  facts.autonomy = Autonomy::act;
  facts.disk_free = 1'000'000;
  facts.now = WallTime(Millis(500'000));
  return facts;
}

TEST(Judge, allows_a_small_plan_of_a_tenant_that_lets_the_agent_act) { EXPECT_TRUE(judge(plan_of(10, 1'000), calm()).allowed()); }

TEST(Judge, names_each_reason_against_a_plan) {
  struct Case {
    Refusal refusal;
    std::function<void(Plan&, Facts&)> spoil;
  };
  const std::vector<Case> cases = {
      {Refusal::brake_on, [](Plan&, Facts& f) { f.brake_on = true; }},
      {Refusal::outage, [](Plan&, Facts& f) { f.outage = "every consumer fails"; }},
      {Refusal::nothing_to_do, [](Plan& p, Facts&) { p = plan_of(0, 1'000); p.expires = WallTime(Millis(1'000'000)); }},
      {Refusal::too_much_poison, [](Plan& p, Facts&) { p = plan_of(401, 1'000); }},
      {Refusal::over_blast_radius, [](Plan& p, Facts&) { p = plan_of(101, 1'000); }},
      {Refusal::over_blast_radius, [](Plan& p, Facts&) { p.limits.max_messages = 9; }},
      {Refusal::over_blast_radius, [](Plan& p, Facts&) { p.bytes = p.limits.max_bytes + 1; }},
      {Refusal::other_execution, [](Plan&, Facts& f) { f.other_execution = true; }},
      {Refusal::plan_expired, [](Plan&, Facts& f) { f.now = WallTime(Millis(1'000'001)); }},
      {Refusal::autonomy, [](Plan&, Facts& f) { f.autonomy = Autonomy::observe; }},
      {Refusal::needs_approval, [](Plan&, Facts& f) { f.autonomy = Autonomy::propose; }},
      {Refusal::self_approval, [](Plan&, Facts& f) { f.approver = "agent"; }},
      {Refusal::breaker_open, [](Plan&, Facts& f) { f.open_breaker = "b: open"; }},
      {Refusal::cooling_down, [](Plan&, Facts& f) { f.last_execution_end = f.now - kCooldown + Millis(1); }},
      {Refusal::cooling_down, [](Plan&, Facts& f) { f.last_execution_end = f.now - kCooldown; f.cooldown = kCooldown * 2; }},
      {Refusal::needs_approval, [](Plan&, Facts& f) { f.approvals = 1; }},
      {Refusal::disk_room, [](Plan& p, Facts& f) { f.disk_free = p.bytes * 2 - 1; }},
  };
  for (const Case& c : cases) {
    Plan plan = plan_of(10, 1'000);
    Facts facts = calm();
    c.spoil(plan, facts);
    const Verdict verdict = judge(plan, facts);
    EXPECT_EQ(verdict.refusal, c.refusal) << verdict.reason;
    EXPECT_FALSE(verdict.reason.empty()) << name(c.refusal);
  }
}

TEST(Judge, the_cooldown_doubles_with_each_execution_of_the_day_and_ends_at_a_day) {
  EXPECT_EQ(cooldown_after(Millis(0), 1), kCooldown);
  EXPECT_EQ(cooldown_after(kCooldown * 3, 1), kCooldown * 3);
  EXPECT_EQ(cooldown_after(kCooldown, 3), kCooldown * 4);
  EXPECT_EQ(cooldown_after(kCooldown, 1'000'000), kLongestCooldown);
}

// What may be carried out, said a second time and independently: no combination of plan, limits and facts gets past it.
TEST(Judge, never_allows_more_than_the_strictest_limit_says) {
  std::mt19937_64 random(20'261'128);
  const auto below = [&](std::uint64_t most) { return random() % (most + 1); };
  int allowed = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t seen = 1 + below(2'000);
    Plan plan = plan_of(below(std::min<std::uint64_t>(seen, below(3) == 0 ? 1'000 : 80)), seen);
    plan.bytes = below(3'000);
    plan.poison = plan.queues[0].poison = plan.total() + below(20);
    const Limits engine;
    Limits wild{.max_messages = below(2'000), .max_queue_bps = static_cast<std::int64_t>(below(20'000)), .max_bytes = below(4'000), .refuse_above_bps = static_cast<std::int64_t>(below(20'000)),
                .confidence_bps = static_cast<std::int64_t>(below(10'000))};
    plan.limits = wild.tightened(engine);
    Facts facts = calm();
    facts.brake_on = below(9) == 0;
    facts.by_person = below(2) == 0;
    facts.autonomy = static_cast<Autonomy>(below(2));
    if (below(3) == 0) facts.approver = below(1) == 0 ? "agent" : "user:ada";
    facts.approvals = static_cast<std::int64_t>(below(1));
    facts.disk_free = below(10'000);
    facts.other_execution = below(9) == 0;
    facts.now = WallTime(Millis(static_cast<std::int64_t>(below(1'100'000))));
    if (below(2) == 0) facts.last_execution_end = facts.now - Millis(static_cast<std::int64_t>(below(4'000'000)));
    if (!judge(plan, facts).allowed()) continue;
    ++allowed;
    const double share = static_cast<double>(plan.queues[0].poison) * 10'000 / static_cast<double>(seen);
    ASSERT_LE(plan.total(), std::min<std::uint64_t>({engine.max_messages, wild.max_messages}));
    ASSERT_LE(plan.bytes, std::min(engine.max_bytes, wild.max_bytes));
    ASSERT_LE(share, static_cast<double>(std::min(engine.max_queue_bps, wild.max_queue_bps)));
    ASSERT_LE(share, static_cast<double>(std::min(engine.refuse_above_bps, wild.refuse_above_bps)));
    ASSERT_GE(plan.limits.confidence_bps, engine.confidence_bps);
    ASSERT_GT(plan.total(), 0u);
    ASSERT_FALSE(facts.brake_on || facts.other_execution);
    ASSERT_LE(facts.now, plan.expires);
    ASSERT_GE(facts.disk_free, plan.bytes * 2);
    if (facts.by_person) continue;
    ASSERT_NE(facts.approver, plan.requester);
    ASSERT_TRUE(!facts.approver.empty() || (facts.autonomy == Autonomy::act && facts.approvals == 0));
    ASSERT_TRUE(!facts.last_execution_end || facts.now - *facts.last_execution_end >= kCooldown);
  }
  EXPECT_GT(allowed, 500) << "a test in which nothing is allowed shows nothing";
}

TEST(Judge, shares_are_of_all_that_qualified_not_of_the_part_a_plan_takes) {
  Plan plan = plan_of(50, 1'000);
  plan.queues[0].poison = plan.poison = 101;
  EXPECT_EQ(judge(plan, calm()).refusal, Refusal::over_blast_radius);
  plan.queues[0].poison = plan.poison = 401;
  EXPECT_EQ(judge(plan, calm()).refusal, Refusal::too_much_poison);
}

TEST(Judge, the_limits_themselves_are_allowed) {
  EXPECT_TRUE(judge(plan_of(100, 1'000), calm()).allowed());
  Facts facts = calm();
  facts.now = WallTime(Millis(1'000'000));
  facts.last_execution_end = facts.now - kCooldown;
  EXPECT_TRUE(judge(plan_of(10, 1'000), facts).allowed());
}

TEST(Judge, another_persons_approval_is_consent_and_ones_own_is_not) {
  Facts facts = calm();
  facts.autonomy = Autonomy::propose;
  facts.approver = "user:bob";
  EXPECT_TRUE(judge(plan_of(10, 1'000), facts).allowed());
  Plan own = plan_of(10, 1'000);
  own.requester = "user:bob";
  EXPECT_EQ(judge(own, facts).refusal, Refusal::self_approval);
}

TEST(Evaluate, ranks_breaches_worst_first_and_weighs_them_by_tier) {
  Tenant tenant;
  tenant.id = "t";
  tenant.tier = Tier::batch;
  tenant.sla.max_backlog = 100;
  tenant.sla.max_age = Millis(1'000);
  QueueView queue;
  queue.id = {"b", "q"};
  queue.backlog = 300;           // 200% over
  queue.oldest_age = Millis(1'500);  // 50% over
  const TenantHealth health = evaluate(tenant, std::vector<QueueView>{queue}, {});
  ASSERT_EQ(health.breaches.size(), 2u);
  EXPECT_EQ(health.breaches[0].what, "backlog");
  EXPECT_EQ(health.breaches[0].over_bps, 20'000);
  EXPECT_EQ(health.breaches[1].what, "age");
  EXPECT_EQ(health.severity_bps, 5'000);
}

TEST(Evaluate, an_unknown_rate_breaches_nothing) {
  Tenant tenant;
  tenant.sla.min_throughput = 200;
  tenant.sla.drain_within = Millis(1'000);
  QueueView queue;
  queue.backlog = 10;
  EXPECT_TRUE(evaluate(tenant, std::vector<QueueView>{queue}, {}).breaches.empty());
}

TEST(Recovery, is_unknown_from_one_sample_and_never_from_a_growing_backlog) {
  const MonoTime start{};
  const RateSample first{start, 100, 0}, later{start + Millis(2'000), 60, 50}, grown{start + Millis(2'000), 160, 50};
  EXPECT_EQ(estimate_recovery(std::vector{first}, 25.0).throughput_bps, -1);
  const RecoveryEstimate falls = estimate_recovery(std::vector{first, later}, 50.0);
  EXPECT_EQ(falls.throughput_bps, 5'000);
  EXPECT_EQ(falls.full_recovery, Millis(3'000));
  EXPECT_EQ(estimate_recovery(std::vector{first, grown}, 50.0).full_recovery, std::nullopt);
  EXPECT_EQ(estimate_recovery(std::vector{first, later}, std::nullopt).throughput_bps, -1);
}

TEST(Recovery, what_is_usual_is_what_consumers_did_in_their_better_times) {
  const MonoTime start{};
  std::vector<RateSample> history;
  std::uint64_t acknowledged = 0;
  for (int i = 0; i < 20; ++i) {  // 100/s, then a long stall with a message now and then
    acknowledged += i < 8 ? 1'000 : i % 4 == 0 ? 1 : 0;
    history.push_back({start + Millis(10'000) * i, 0, acknowledged});
  }
  EXPECT_EQ(usual_rate(history), 100.0);
  EXPECT_EQ(usual_rate(std::span(history).first(3)), std::nullopt);
  EXPECT_EQ(usual_rate({}), std::nullopt);
}

TEST(Recovery, downtime_is_unknown_when_an_input_is) {
  EXPECT_EQ(downtime_prevented(100, std::nullopt, 4), std::nullopt);
  EXPECT_EQ(downtime_prevented(100, 2.0, 0), std::nullopt);
  EXPECT_EQ(downtime_prevented(100, 2.0, 4), Millis(50'000));
}

}  // namespace
}  // namespace claw
