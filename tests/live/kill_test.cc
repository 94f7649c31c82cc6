// SIGKILL of the agent at every journal step, and again during recovery, on a real Redis: nothing lost, nothing twice.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "agent/agent.h"
#include "base/secret.h"
#include "redis/adapter.h"
#include "testing/redis_server.h"

namespace claw {
namespace {

constexpr int kMessages = 2'000;
constexpr int kPoisonEvery = 20;  // 100 poison in the stream, 100 in the list

std::string body(const char* queue, int i) {
  const std::string id = std::string(queue) + "_" + std::to_string(i);
  return i % kPoisonEvery == 7 ? R"({"v":1,"transaction_id": )" + id + R"(,"amount":5})" : R"({"v":1,"transaction_id":")" + id + R"(","amount":5})";
}

// A stream whose group read half (valid ones acknowledged, poison pending, delivered three times) and a list.
void fill(const testing::RedisServer& redis) {
  redis.command({"FLUSHALL"});
  for (int i = 0; i < kMessages; ++i) {
    redis.command({"XADD", "s", std::to_string(1000 + i) + "-0", "payload", body("s", i)});
    redis.command({"RPUSH", "l", body("l", i)});
  }
  redis.command({"XGROUP", "CREATE", "s", "g", "0"});
  redis.command({"XREADGROUP", "GROUP", "g", "c", "COUNT", std::to_string(kMessages - 100), "STREAMS", "s", ">"});
  for (int i = 0; i < kMessages - 100; ++i) {
    const std::string id = std::to_string(1000 + i) + "-0";
    if (i % kPoisonEvery == 7) redis.command({"XCLAIM", "s", "g", "c", "0", id, "RETRYCOUNT", "3"});
    else redis.command({"XACK", "s", "g", id});
  }
}

Config config_of(const testing::RedisServer& redis, const std::string& dir) {
  const std::string text = "agent: {data_dir: \"" + dir + "\"}\nbrokers: {r: {kind: redis, url: \"" + redis.url() + "\"}}\n" +
                           "tenants: {t: {queues: [{broker: r, match: s}, {broker: r, match: l}], skill: aggressive-drain,  sla: {max_backlog: 10}}}\n";
  Result<Config> config = parse_config(text, "test.yaml");
  EXPECT_TRUE(config.ok()) << config.error().message();
  return *config;
}

AgentDeps deps(std::function<void(std::string_view)> after_journal) {
  return {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
          .open_broker = [](const BrokerConfig& b, Deadline deadline) { return redis::open_redis({.name = b.name, .url = b.url}, system_clock(), deadline); },
          .after_journal = std::move(after_journal)};
}

// Runs `work` in a child that kills itself at its k-th journal step. True when it was killed.
bool killed_at(int k, const std::function<void(std::function<void(std::string_view)>)>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    int left = k;
    work([&left](std::string_view) {
      if (--left == 0) ::kill(::getpid(), SIGKILL);
    });
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

// How often each body stands in a raw reply.
std::map<std::string, int> bodies(const std::string& reply) {
  std::map<std::string, int> found;
  for (std::size_t at = reply.find("{\"v\":1"); at != std::string::npos; at = reply.find("{\"v\":1", at + 1))
    ++found[reply.substr(at, reply.find('}', at) + 1 - at)];
  return found;
}

// Every message is in exactly one of queue and quarantine; `removed`: poison is in quarantine, the rest in the queue.
void expect_conserved(const testing::RedisServer& redis, bool removed, const std::string& when) {
  for (const std::string name : {"s", "l"}) {
    const std::string raw = name == "s" ? redis.command({"XRANGE", "s", "-", "+"}) : redis.command({"LRANGE", "l", "0", "-1"});
    ASSERT_EQ(raw.find("deployclaw-removed-"), std::string::npos) << when;
    const auto queue = bodies(raw), quarantine = bodies(redis.command({"XRANGE", "{" + name + "}:quarantine", "-", "+"}));
    std::map<std::string, int> expected_queue, expected_quarantine;
    for (int i = 0; i < kMessages; ++i) ++(removed && i % kPoisonEvery == 7 ? expected_quarantine : expected_queue)[body(name.c_str(), i)];
    ASSERT_EQ(queue, expected_queue) << when;
    ASSERT_EQ(quarantine, expected_quarantine) << when;
  }
}

const auto kRemediate = [](const Config& config) {
  return [config](std::function<void(std::string_view)> hook) {
    auto agent = Agent::open(config, deps(std::move(hook)), silent());
    if (agent.ok()) static_cast<void>((*agent)->remediate("t", std::nullopt, "user:test", {}, silent()).ok());
  };
};

const auto kReopen = [](const Config& config) {
  return [config](std::function<void(std::string_view)> hook) { static_cast<void>(Agent::open(config, deps(std::move(hook)), silent()).ok()); };
};

TEST(Kill, at_every_journal_step_and_again_during_recovery_loses_and_doubles_nothing) {
  const testing::RedisServer redis;
  int step = 1;
  for (bool killed = true; killed; ++step) {
    ASSERT_LT(step, 100);
    const std::string dir = redis.dir() + "/agent-" + std::to_string(step), when = "step " + std::to_string(step);
    fill(redis);
    const Config config = config_of(redis, dir);
    killed = killed_at(step, kRemediate(config));
    killed_at(1 + step % 3, kReopen(config));  // the recovery is killed too, where it has as many steps
    auto agent = Agent::open(config, deps({}), silent());
    ASSERT_TRUE(agent.ok()) << when << " " << agent.error().message();
    const auto records = (*agent)->store().executions(10);
    ASSERT_TRUE(records.ok());
    ASSERT_EQ(records->size(), 1u) << when;
    const ExecutionRecord& record = records->front();
    ASSERT_TRUE(record.state == "completed" || record.state == "failed") << when << " " << record.state << " " << record.reason;
    expect_conserved(redis, record.state == "completed", when + " " + record.state);
    if (record.state != "completed") continue;

    const auto back = (*agent)->rollback(record.record.rollback_key, "user:test", silent());
    ASSERT_TRUE(back.ok()) << when << " " << back.error().message();
    ASSERT_EQ(back->outcome.restored, 200u) << when;
    expect_conserved(redis, false, when + " after rollback");
    const auto twice = (*agent)->rollback(record.record.rollback_key, "user:test", silent());
    ASSERT_TRUE(twice.ok()) << when;
    ASSERT_EQ(twice->outcome.restored, 0u) << when;
    const VerifyReport log = verify_log(system_disk(), dir + "/audit", (*agent)->audit().verifier_key());
    ASSERT_TRUE(log.ok) << when << " " << log.problem;
  }
  EXPECT_GT(step, 8) << "the journal has fewer steps than an execution must have";
}

TEST(Kill, at_every_step_of_a_rollback_restores_each_message_once) {
  const testing::RedisServer redis;
  for (int step = 1; step < 20; ++step) {
    const std::string dir = redis.dir() + "/agent-" + std::to_string(step);
    fill(redis);
    const Config config = config_of(redis, dir);
    std::string key;
    {
      auto agent = Agent::open(config, deps({}), silent());
      ASSERT_TRUE(agent.ok());
      const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
      ASSERT_TRUE(record.ok()) << record.error().message();
      ASSERT_EQ(record->record.messages_removed, 200u) << record->reason;
      key = record->record.rollback_key;
    }
    const bool killed = killed_at(step, [&](std::function<void(std::string_view)> hook) {
      auto agent = Agent::open(config, deps(std::move(hook)), silent());
      if (agent.ok()) static_cast<void>((*agent)->rollback(key, "user:test", silent()).ok());
    });
    auto agent = Agent::open(config, deps({}), silent());
    ASSERT_TRUE(agent.ok());
    ASSERT_TRUE((*agent)->rollback(key, "user:test", silent()).ok());
    expect_conserved(redis, false, "rollback step " + std::to_string(step));
    if (!killed) return;
  }
  FAIL() << "a rollback has more steps than expected";
}

}  // namespace
}  // namespace claw
