// An alert on its way out: by the agent, through the store, to a real HTTP receiver that checks the signature.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/agent.h"
#include "base/digest.h"
#include "http/server.h"
#include "notify/outbox.h"
#include "testing/fake_broker.h"
#include "testing/sim_clock.h"

namespace claw {
namespace {

using Json = nlohmann::json;

struct Receiver {
  std::mutex mutex;
  std::vector<http::Request> got;
  std::atomic<int> refuse = 0;  // so many are answered with 500
  std::unique_ptr<http::Server> server;

  explicit Receiver(const std::string& dir) {
    auto started = http::Server::start("127.0.0.1:0", dir + "/receiver.sock", [this](const http::Request& request) {
      const std::lock_guard lock(mutex);
      got.push_back(request);
      return http::Response{.status = refuse-- > 0 ? 500 : 200, .body = "{}"};
    }, system_clock(), {});
    EXPECT_TRUE(started.ok()) << started.error().message();
    server = std::move(*started);
  }
  std::vector<http::Request> wait_for(std::size_t count) {
    for (int i = 0; i < 600; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (got.size() >= count) return got;
      }
      std::this_thread::sleep_for(Millis(10));
    }
    const std::lock_guard lock(mutex);
    return got;
  }
};

class Notifications : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "claw-notify-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir = pattern;
    receiver = std::make_unique<Receiver>(dir);
    ::setenv("CLAW_TEST_HOOK_SECRET", "shared", 1);
    const std::string text = "agent: {id: night-watch, data_dir: \"" + dir + "/data\"}\nbrokers: {b: {kind: redis, url: \"redis://127.0.0.1:1/0\"}}\n"
                             "notifications:\n  hook: {kind: webhook, url: \"http://" + receiver->server->address() + "/hook\", secret: {env: CLAW_TEST_HOOK_SECRET}}\n"
                             "  pager: {kind: pagerduty, url: \"http://" + receiver->server->address() + "/pager\", routing_key: {env: CLAW_TEST_HOOK_SECRET}}\n"
                             "tenants:\n  t: {tier: critical, notify: [hook], queues: [{broker: b, match: q}], sla: {max_backlog: 10}, autonomy: observe}\n";
    const auto parsed = parse_config(text, "test.yaml");
    ASSERT_TRUE(parsed.ok()) << parsed.error().message();
    config = *parsed;
    fill(50);
  }
  void TearDown() override { std::filesystem::remove_all(dir); }

  void fill(int count) {
    world->with([&](testing::FakeWorld& w) {
      w.queues["q"].entries.clear();
      for (int i = 0; i < count; ++i) w.add("q", "{}");
    });
  }
  std::unique_ptr<Agent> open() {
    auto agent = Agent::open(config, {.disk = system_disk(), .clock = clock, .random = system_random(),
                                      .open_broker = [this](const BrokerConfig& b, Deadline) -> Result<std::unique_ptr<Broker>> {
                                        if (down) return make_error(Code::denied, "connect", "nobody listens");
                                        return std::unique_ptr<Broker>(std::make_unique<testing::FakeBroker>(b.name, world, [this](std::string_view) { return down ? Status(make_error(Code::denied, "call", "gone")) : Status{}; }));
                                      }},
                             silent());
    EXPECT_TRUE(agent.ok()) << agent.error().message();
    return std::move(*agent);
  }
  void ticks(Agent& agent, int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(agent.tick([&](std::string_view line) { log.emplace_back(line); }, silent()).ok());
      clock.advance(Millis(10'000));
    }
  }

  std::string dir;
  Config config;
  testing::SimClock clock;
  std::shared_ptr<Guarded<testing::FakeWorld>> world = std::make_shared<Guarded<testing::FakeWorld>>();
  std::unique_ptr<Receiver> receiver;
  std::vector<std::string> log;
  bool down = false;
};

TEST_F(Notifications, are_told_once_when_trouble_lasts_and_once_when_it_is_over_and_again_until_delivered) {
  receiver->refuse = 1;
  {
    const auto agent = open();
    ticks(*agent, 5);
    EXPECT_EQ(log, std::vector<std::string>{"t: breach of backlog: 50 against 10 (over by 400%)"}) << "in the log once";
  }
  std::vector<std::string> events;
  const auto agent = open();  // it stopped before anything was sent
  {
    const notify::Outbox outbox(agent->config(), agent->store(), system_disk(), clock, [&](std::string_view line) { events.emplace_back(line); });
    ASSERT_EQ(receiver->wait_for(1).size(), 1u);
    ticks(*agent, 3);
    const auto got = receiver->wait_for(2);
    ASSERT_EQ(got.size(), 2u) << "refused once, taken the second time";
    EXPECT_EQ(got[0].header("x-deployclaw-delivery"), got[1].header("x-deployclaw-delivery"));
    for (const http::Request& request : got) {
      EXPECT_EQ(request.target, "/hook") << "this tenant is not the pager's";
      const std::string signed_text = std::string(request.header("x-deployclaw-timestamp")) + "." + request.body;
      EXPECT_EQ(request.header("x-deployclaw-signature"), "v1=" + hex(view(hmac_sha256("shared", signed_text))));
      const Json body = Json::parse(request.body);
      EXPECT_EQ(body["event"], "open");
      EXPECT_EQ(body["agent"], "night-watch");
      EXPECT_EQ(body["alert"]["tenant"], "t");
      EXPECT_EQ(body["alert"]["severity"], "critical");
      EXPECT_EQ(body["alert"]["summary"], "t: backlog 50 against 10 (over by 400%)");
    }
    fill(5);
    ticks(*agent, 10);
    const auto all = receiver->wait_for(3);
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(Json::parse(all[2].body)["event"], "close");
    EXPECT_EQ(log.back(), "t: within its SLA again");
    ticks(*agent, 10);
  }
  EXPECT_EQ(receiver->wait_for(3).size(), 3u);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0].find("notification hook"), std::string::npos) << events[0];
  EXPECT_NE(events[0].find("answered 500, expected 2xx"), std::string::npos) << events[0];
  EXPECT_TRUE(agent->store().notices(clock.now() + std::chrono::days(9), 10)->empty());
}

TEST_F(Notifications, a_broker_that_cannot_be_asked_is_told_to_every_route_and_closes_no_alert_of_its_tenants) {
  const auto agent = open();
  const notify::Outbox outbox(agent->config(), agent->store(), system_disk(), clock, [](std::string_view) {});
  ticks(*agent, 5);
  ASSERT_EQ(receiver->wait_for(1).size(), 1u);
  down = true;
  ticks(*agent, 12);
  const auto got = receiver->wait_for(3);
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(Json::parse(got[1].target == "/hook" ? got[1].body : got[2].body)["alert"]["id"], "broker:b");
  const Json page = Json::parse(got[1].target == "/pager" ? got[1].body : got[2].body);
  EXPECT_EQ(page["event_action"], "trigger");
  EXPECT_EQ(page["dedup_key"], "deployclaw/night-watch/broker:b");
  EXPECT_EQ(page["routing_key"], "shared");
  EXPECT_EQ(agent->store().alerts()->size(), 2u) << "what is known of the tenant stays as it was";
}

TEST_F(Notifications, the_brake_wakes_nobody) {
  const auto agent = open();
  ticks(*agent, 1);
  std::ofstream(dir + "/data/brake") << "";
  ticks(*agent, 12);
  EXPECT_TRUE(agent->store().alerts()->empty());
  EXPECT_EQ(std::count_if(log.begin(), log.end(), [](const std::string& line) { return line.find("brake") != std::string::npos; }), 1) << "said once";
}

}  // namespace
}  // namespace claw
