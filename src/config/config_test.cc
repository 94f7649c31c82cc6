#include "config/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/disk.h"

namespace claw {
namespace {

constexpr const char* kWhole = R"(agent: {id: a, data_dir: ./d, listen: "127.0.0.1:7433"}
brokers:
  r: {kind: redis, url: "redis://127.0.0.1:6379/0"}
tenants:
  t:
    tier: critical
    queues: [{broker: r, match: "orders:t"}]
    sla: {max_backlog: 10, max_age: 5m, drain_within: 15m, min_throughput: 200/s}
    autonomy: act
    confidence: 0.95
)";

std::string error_of(const std::string& text) {
  const auto config = parse_config(text, "deployclaw.yaml");
  return config.ok() ? "" : config.error().message();
}

std::string changed(std::string_view from, std::string_view to) {
  std::string text = kWhole;
  text.replace(text.find(from), from.size(), to);
  return text;
}

TEST(Config, the_contracts_example_is_read_as_written) {
  const auto config = parse_config(kWhole, "deployclaw.yaml");
  ASSERT_TRUE(config.ok()) << config.error().message();
  const Tenant& tenant = *config->tenant("t");
  EXPECT_EQ(tenant.tier, Tier::critical);
  EXPECT_EQ(tenant.sla.max_backlog, 10u);
  EXPECT_EQ(tenant.sla.max_age, Millis(300'000));
  EXPECT_EQ(tenant.sla.min_throughput, 200.0);
  EXPECT_EQ(tenant.autonomy, Autonomy::act);
  EXPECT_EQ(tenant.confidence_bps, 9'500);
}

TEST(Config, an_error_names_file_line_key_and_what_was_expected) {
  struct Case {
    const char *from, *to, *line, *key;
  };
  for (const Case& c : {Case{"tier: critical", "tier: crucial", ":6", "tier"}, {"max_age: 5m", "max_age: 5 minutes", ":8", "max_age"}, {"autonomy: act", "autonomie: act", ":9", "autonomie"},
                        {"confidence: 0.95", "confidence: 95", ":10", "confidence"}, {"kind: redis", "kind: kafka", ":3", "kind"}, {"broker: r,", "broker: q,", ":7", "broker"},
                        {"max_backlog: 10", "max_backlog: ten", ":8", "max_backlog"}}) {
    const std::string error = error_of(changed(c.from, c.to));
    EXPECT_NE(error.find(std::string("deployclaw.yaml") + c.line), std::string::npos) << c.to << ": " << error;
    EXPECT_NE(error.find(c.key), std::string::npos) << error;
  }
  EXPECT_NE(error_of(changed("autonomy: act", "tier: batch")), "") << "a key twice";
  EXPECT_NE(error_of(changed("url:", "password: hunter2, url:")).find("password"), std::string::npos) << "a secret in clear";
  EXPECT_EQ(error_of(changed("url:", "password: hunter2, url:")).find("hunter2"), std::string::npos) << "and it is not repeated";
}

TEST(Config, a_queue_that_two_tenants_claim_is_an_error) {
  EXPECT_NE(error_of(std::string(kWhole) + "  u: {tier: batch, queues: [{broker: r, match: \"orders:t\"}], sla: {max_backlog: 5}}\n"), "");
}

TEST(Config, routes_of_notifications_are_what_their_kind_needs_and_tenants_name_them) {
  const std::string routes = "notifications:\n  hook: {kind: webhook, url: \"https://h/x\", secret: {env: A}}\n  chat: {kind: slack, url: {file: /run/u}}\n"
                             "  pd: {kind: pagerduty, routing_key: {env: B}}\n  am: {kind: alertmanager, url: \"http://127.0.0.1:9093\"}\n";
  const auto config = parse_config(routes + changed("autonomy: act", "autonomy: act\n    notify: [pd, hook]"), "c.yaml");
  ASSERT_TRUE(config.ok()) << config.error().message();
  ASSERT_EQ(config->routes.size(), 4u);
  EXPECT_EQ(*config->tenants[0].notify, (std::vector<std::string>{"pd", "hook"}));
  EXPECT_NE(error_of(routes + changed("autonomy: act", "autonomy: act\n    notify: [nobody]")).find("unknown notification 'nobody'"), std::string::npos);
  const auto one = [](const std::string& route) { return error_of("notifications: {r: " + route + "}\n" + kWhole); };
  EXPECT_NE(one("{kind: fax, url: \"http://x\"}").find("expected webhook, slack, pagerduty or alertmanager"), std::string::npos);
  EXPECT_NE(one("{kind: webhook}").find("expected a url"), std::string::npos);
  EXPECT_NE(one("{kind: webhook, url: \"ftp://x\"}").find("http://"), std::string::npos);
  EXPECT_NE(one("{kind: pagerduty}").find("expected a routing_key"), std::string::npos);
  EXPECT_NE(one("{kind: slack, url: {env: U}, secret: {env: S}}").find("is not for slack"), std::string::npos);
  EXPECT_NE(one("{kind: webhook, url: \"http://x\", secret: hunter2}").find("not written in clear"), std::string::npos);
}

TEST(Config, the_text_that_init_writes_is_good) { EXPECT_TRUE(parse_config(default_config_text(), "deployclaw.yaml").ok()) << error_of(default_config_text()); }

TEST(Config, a_file_and_a_secret_behind_symbolic_links_are_read) {
  char dir[] = "/tmp/claw-config-XXXXXX";
  ASSERT_NE(::mkdtemp(dir), nullptr);
  const std::string base = dir;
  std::ofstream(base + "/real.yaml") << kWhole;
  std::ofstream(base + "/real.secret") << "s3cret\n";
  ::chmod((base + "/real.secret").c_str(), 0600);
  std::filesystem::create_symlink("real.yaml", base + "/deployclaw.yaml");
  std::filesystem::create_symlink("real.secret", base + "/secret");
  EXPECT_TRUE(load_config(system_disk(), base + "/deployclaw.yaml").ok());
  const auto secret = resolve({.kind = SecretRef::Kind::file, .name = base + "/secret"}, system_disk());
  ASSERT_TRUE(secret.ok()) << secret.error().message();
  EXPECT_EQ(secret->reveal(), "s3cret");
  ::chmod((base + "/real.secret").c_str(), 0644);
  EXPECT_FALSE(resolve({.kind = SecretRef::Kind::file, .name = base + "/secret"}, system_disk()).ok()) << "others may read it";
  EXPECT_FALSE(load_config(system_disk(), base + "/none.yaml").ok());
  std::filesystem::remove_all(base);
}

TEST(Config, what_may_be_restarted_is_a_list_of_words) {
  const std::string rest = "brokers: {r: {kind: redis, url: \"redis://127.0.0.1:1/0\"}}\n";
  const auto good = parse_config(rest + "restarts: {w: {command: [/bin/true, 'x@{tenant}'], user: nobody, timeout: 5s}}\n", "c.yaml");
  ASSERT_TRUE(good.ok()) << good.error().message();
  ASSERT_EQ(good->restarts.size(), 1u);
  EXPECT_EQ(good->restarts[0].command, (std::vector<std::string>{"/bin/true", "x@{tenant}"}));
  EXPECT_EQ(good->restarts[0].user, "nobody");
  EXPECT_EQ(good->restarts[0].timeout, Millis(5'000));
  for (const char* bad : {"{command: systemctl restart x}", "{command: []}", "{command: [systemctl, restart]}", "{command: ['/opt/{tenant}/run']}", "{command: [/bin/true], timeout: 1h}", "{user: root}",
                          "{command: [/bin/true], shell: yes}", "{command: [[/bin/true]]}"})
    EXPECT_NE(error_of(rest + "restarts: {w: " + bad + "}\n").find("deployclaw.yaml:2: restarts.w"), std::string::npos) << bad << ": " << error_of(rest + "restarts: {w: " + bad + "}\n");
}

}  // namespace
}  // namespace claw
