#include "skill/trigger.h"

#include <gtest/gtest.h>

namespace claw::skill {
namespace {

MonoTime at(int second) { return MonoTime(Seconds(second)); }

TenantHealth breached(std::int64_t bps) {
  TenantHealth health;
  if (bps > 0) health.breaches.push_back({.queue = {}, .what = "backlog", .limit = "1", .actual = "2", .over_bps = bps});
  return health;
}

TEST(Trigger, a_condition_must_hold_at_every_look_for_its_time) {
  Protocol protocol;
  protocol.trigger = {{.metric = Metric::sla_breach_bps, .op = Comparison::gt, .value = 0, .held = Seconds(60)}};
  TriggerWatch watch;
  EXPECT_FALSE(watch.met(protocol, breached(1), at(0)));
  EXPECT_FALSE(watch.met(protocol, breached(1), at(59)));
  EXPECT_TRUE(watch.met(protocol, breached(1), at(60)));
  EXPECT_FALSE(watch.met(protocol, breached(0), at(61)));
  EXPECT_FALSE(watch.met(protocol, breached(1), at(62))) << "it begins anew";
  EXPECT_TRUE(watch.met(protocol, breached(1), at(122)));
}

TEST(Trigger, any_of_its_conditions_is_enough_and_none_is_never_met) {
  Protocol protocol;
  TriggerWatch nothing;
  EXPECT_FALSE(nothing.met(protocol, breached(99'999), at(0)));
  protocol.trigger = {{.metric = Metric::sla_breach_bps, .op = Comparison::gt, .value = 0, .held = Seconds(60)},
                      {.metric = Metric::redelivered_bps, .op = Comparison::gte, .value = 5'000, .held = Seconds(0)}};
  TriggerWatch watch;
  TenantHealth health = breached(1);
  EXPECT_FALSE(watch.met(protocol, health, at(0))) << "what is not known is not met";
  health.redelivered_bps = 5'000;
  EXPECT_TRUE(watch.met(protocol, health, at(1)));
}

}  // namespace
}  // namespace claw::skill
