#include "policy/alerts.h"

#include <gtest/gtest.h>

namespace claw {
namespace {

using std::chrono::seconds;

TenantHealth sick() { return {.id = "t", .tier = Tier::critical, .severity_bps = 100, .breaches = {{.queue = {}, .what = "backlog", .limit = "10", .actual = "20", .over_bps = 10'000}}}; }
TenantHealth well() { return {.id = "t"}; }
WallTime at(int s) { return WallTime(seconds(1'000 + s)); }

TEST(AlertsOfTenants, open_once_when_trouble_lasts_and_close_once_when_it_is_over_for_good) {
  Alerts alerts;
  int opened = 0, closed = 0;
  for (int s = 0; s < 400; s += 2) {
    const bool bad = (s >= 20 && s < 100) || (s >= 130 && s < 200);  // 30 s of calm in between are not the end
    const TenantHealth health = bad ? sick() : well();
    const auto change = alerts.update({&health, 1}, {}, {}, at(s));
    for (const Alert& a : change.opened) {
      ++opened;
      EXPECT_EQ(s, 50) << "half a minute after it began";
      EXPECT_EQ(a.severity, "critical");
      EXPECT_EQ(a.since, at(20));
      EXPECT_EQ(a.summary, "t: backlog 20 against 10 (over by 100%)");
    }
    closed += static_cast<int>(change.closed.size());
    if (!change.closed.empty()) {
      EXPECT_EQ(s, 260);
    }
  }
  EXPECT_EQ(opened, 1);
  EXPECT_EQ(closed, 1);
}

TEST(AlertsOfTenants, a_blip_and_a_burst_that_heals_wake_nobody) {
  Alerts alerts;
  for (int s = 0; s < 600; s += 2) {
    TenantHealth health = s % 60 < 20 ? sick() : well();
    if (s > 300) health = sick(), health.heals_in = Millis(50'000);
    const auto change = alerts.update({&health, 1}, {}, {}, at(s));
    EXPECT_TRUE(change.opened.empty()) << s;
    EXPECT_TRUE(change.closed.empty()) << s;
  }
}

TEST(AlertsOfTenants, a_broker_that_cannot_be_asked_is_one_alert_of_everybody) {
  Alerts alerts;
  Alerts::Change change;
  for (int s = 0; s <= 40; s += 2) {
    auto now = alerts.update({}, {{"redis", "nobody listens"}}, {}, at(s));
    if (!now.opened.empty()) change = now;
  }
  ASSERT_EQ(change.opened.size(), 1u);
  EXPECT_EQ(change.opened[0].id, "broker:redis");
  EXPECT_TRUE(change.opened[0].tenant.empty());
}

TEST(AlertsOfTenants, what_was_open_before_a_restart_is_not_opened_again) {
  Alerts alerts;
  alerts.restore({.id = "tenant:t", .tenant = "t", .severity = "critical", .summary = "t: …", .details = {}, .since = at(0)});
  const TenantHealth bad = sick();
  for (int s = 0; s <= 100; s += 2) EXPECT_TRUE(alerts.update({&bad, 1}, {}, {}, at(s)).opened.empty());
  const TenantHealth good = well();
  for (int s = 102; s <= 400; s += 2) EXPECT_TRUE(alerts.update({&good, 1}, {}, {"t"}, at(s)).closed.empty()) << "its broker does not answer: nothing is known";
  std::size_t closed = 0;
  for (int s = 402; s <= 500; s += 2) closed += alerts.update({&good, 1}, {}, {}, at(s)).closed.size();
  EXPECT_EQ(closed, 1u);
}

}  // namespace
}  // namespace claw
