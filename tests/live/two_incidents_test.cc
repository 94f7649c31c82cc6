// Two tenants on two brokers are in trouble at once: the worse is attended to first, both are mended, and a broker that dies under
// its execution takes nothing from the other.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "agent/agent.h"
#include "base/secret.h"
#include "redis/adapter.h"
#include "testing/redis_server.h"

namespace claw {
namespace {

constexpr int kMessages = 2'000, kPoisonEvery = 20;
constexpr std::uint64_t kPoison = kMessages / kPoisonEvery;

class TwoIncidents : public ::testing::Test {
 protected:
  void SetUp() override {
    for (testing::RedisServer* redis : {&first_, &second_}) {
      std::vector<std::vector<std::string>> commands;
      for (int i = 0; i < kMessages; ++i) {
        const std::string id = std::to_string(i);
        commands.push_back({"XADD", "q", std::to_string(1'000 + i) + "-0", "payload", i % kPoisonEvery == 7 ? R"({"transaction_id": )" + id + "x}" : R"({"transaction_id":")" + id + R"("})"});
      }
      commands.push_back({"XGROUP", "CREATE", "q", "g", "0"});
      commands.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", std::to_string(kMessages), "STREAMS", "q", ">"});
      for (int i = 0; i < kMessages; ++i) {
        const std::string id = std::to_string(1'000 + i) + "-0";
        if (i % kPoisonEvery == 7) commands.push_back({"XCLAIM", "q", "g", "c", "0", id, "RETRYCOUNT", "3"});
        else if (i % 2 == 0) commands.push_back({"XACK", "q", "g", id});
      }
      redis->commands(commands);
    }
  }
  // "worse" on the first broker (ten times over its limit), "bad" on the second.
  std::unique_ptr<Agent> open(std::function<void(std::string_view)> after_journal = {}) {
    const std::string text = "agent: {data_dir: \"" + first_.dir() + "/agent\"}\nbrokers:\n  one: {kind: redis, url: \"" + first_.url() + "\"}\n  two: {kind: redis, url: \"" + second_.url() +
                             "\"}\ntenants:\n  worse: {queues: [{broker: one, match: q}], skill: aggressive-drain, autonomy: act, sla: {max_backlog: 10}}\n"
                             "  bad: {queues: [{broker: two, match: q}], skill: aggressive-drain, autonomy: act, sla: {max_backlog: 100}}\n";
    auto config = parse_config(text, "test.yaml");
    EXPECT_TRUE(config.ok()) << config.error().message();
    auto agent = Agent::open(*config,
                             {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                              .open_broker = [](const BrokerConfig& b, Deadline deadline) { return redis::open_redis({.name = b.name, .url = b.url}, system_clock(), deadline); },
                              .after_journal = std::move(after_journal)},
                             silent());
    EXPECT_TRUE(agent.ok()) << agent.error().message();
    return std::move(*agent);
  }
  static void expect_drained(const testing::RedisServer& redis) {
    EXPECT_EQ(redis.command({"XLEN", "q"}), ":" + std::to_string(kMessages - kPoison) + "\r\n");
    EXPECT_EQ(redis.command({"XLEN", "{q}:quarantine"}), ":" + std::to_string(kPoison) + "\r\n");
  }

  static inline const std::vector<std::string> kDurable = {"--appendonly", "yes", "--appendfsync", "always"};  // a broker that forgets is another story
  testing::RedisServer first_{kDurable}, second_{kDurable};
};

TEST_F(TwoIncidents, the_worse_is_handled_first_and_both_end) {
  const auto agent = open();
  const auto done = agent->tick([](std::string_view) {}, silent());
  ASSERT_TRUE(done.ok()) << done.error().message();
  ASSERT_EQ(done->size(), 2u);
  EXPECT_EQ(done->at(0).tenant, "worse");
  EXPECT_EQ(done->at(1).tenant, "bad");
  for (const ExecutionRecord& record : *done) {
    EXPECT_EQ(record.state, "completed") << record.reason;
    EXPECT_EQ(record.record.messages_removed, kPoison);
  }
  expect_drained(first_);
  expect_drained(second_);
}

TEST_F(TwoIncidents, a_broker_that_dies_under_its_execution_takes_nothing_from_the_other) {
  {
    bool killed = false;
    const auto agent = open([&](std::string_view step) {
      if (step == "result-0" && !std::exchange(killed, true)) first_.kill();  // after the first wave of the worse one
    });
    const auto done = agent->tick([](std::string_view) {}, silent());
    ASSERT_TRUE(done.ok()) << done.error().message();
    ASSERT_EQ(done->size(), 2u);
    EXPECT_EQ(done->at(0).tenant, "worse");
    EXPECT_EQ(done->at(0).state, "held") << done->at(0).reason;
    EXPECT_EQ(done->at(1).tenant, "bad");
    EXPECT_EQ(done->at(1).state, "completed") << done->at(1).reason;
    expect_drained(second_);
  }
  first_.start();
  const auto agent = open();  // what was held is finished
  const auto records = agent->store().executions(10);
  ASSERT_TRUE(records.ok());
  for (const ExecutionRecord& record : *records) EXPECT_EQ(record.state, "completed") << record.tenant << ": " << record.reason;
  expect_drained(first_);
}

}  // namespace
}  // namespace claw
