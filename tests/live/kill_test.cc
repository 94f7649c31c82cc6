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

// The whole of what stands in the queues, and how much is pending.
std::string standing(const testing::RedisServer& redis) {
  return redis.command({"XRANGE", "s", "-", "+"}) + redis.command({"LRANGE", "l", "0", "-1"}) + redis.command({"XPENDING", "s", "g"});
}

// Database 1 keeps the queues as they were after the removal.
void keep(const testing::RedisServer& redis) {
  for (const char* key : {"s", "l", "{s}:quarantine", "{l}:quarantine"}) ASSERT_EQ(redis.command({"COPY", key, key, "DB", "1"}), ":1\r\n");
}
void reset(const testing::RedisServer& redis) {
  redis.command({"FLUSHDB"});
  redis.command({"SWAPDB", "0", "1"});
  keep(redis);
}

void kill_at_every_step(RestoreOrder order) {
  const testing::RedisServer redis;
  const std::string first = redis.dir() + "/agent";
  fill(redis);
  const std::string before = standing(redis);
  std::string key;
  {
    auto agent = Agent::open(config_of(redis, first), deps({}), silent());
    ASSERT_TRUE(agent.ok());
    const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    ASSERT_EQ(record->record.messages_removed, 200u) << record->reason;
    key = record->record.rollback_key;
  }
  keep(redis);
  for (int step = 1; step < 100; ++step) {
    const std::string dir = first + "-" + std::to_string(step), when = std::string(name(order)) + ", step " + std::to_string(step);
    std::filesystem::copy(first, dir, std::filesystem::copy_options::recursive);
    reset(redis);
    const Config config = config_of(redis, dir);
    const bool killed = killed_at(step, [&](std::function<void(std::string_view)> hook) {
      auto agent = Agent::open(config, deps(std::move(hook)), silent());
      if (agent.ok()) static_cast<void>((*agent)->rollback(key, "user:test", silent(), order).ok());
    });
    killed_at(1 + step % 5, kReopen(config));  // what goes on with it is killed too
    auto agent = Agent::open(config, deps({}), silent());
    ASSERT_TRUE(agent.ok()) << when;
    if (step > 1) expect_conserved(redis, false, when + ", after the start that went on with it");
    const auto again = (*agent)->rollback(key, "user:test", silent(), order);
    ASSERT_TRUE(again.ok()) << when;
    expect_conserved(redis, false, when);
    ASSERT_EQ(again->outcome.failed + again->outcome.from_vault + again->outcome.foreign, 0u) << when;
    ASSERT_EQ(redis.command({"KEYS", "*deployclaw-*"}), "*0\r\n") << when;
    if (order == RestoreOrder::exact) {
      ASSERT_EQ(standing(redis), before) << when;
    }
    ASSERT_EQ(redis.command({"XPENDING", "s", "g"}).substr(0, 7), "*4\r\n:95") << when;
    if (killed) continue;
    EXPECT_GT(step, order == RestoreOrder::exact ? 12 : 7) << "a rollback has fewer steps than it must have";
    return;
  }
  FAIL() << "a rollback has more steps than expected";
}

TEST(Kill, at_every_step_of_a_rollback_in_exact_order_restores_each_message_once) { kill_at_every_step(RestoreOrder::exact); }
TEST(Kill, at_every_step_of_a_rollback_in_tail_order_restores_each_message_once) { kill_at_every_step(RestoreOrder::tail); }

// Somebody deletes the quarantine between removal and rollback.
TEST(Kill, at_every_step_of_a_rollback_after_the_quarantine_was_lost_brings_it_back_from_the_vault_once) {
  const testing::RedisServer redis;
  fill(redis);
  const std::string before = standing(redis), first = redis.dir() + "/agent";
  std::string key;
  {
    auto agent = Agent::open(config_of(redis, first), deps({}), silent());
    ASSERT_TRUE(agent.ok());
    key = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent())->record.rollback_key;
  }
  keep(redis);
  for (int step = 1; step < 100; ++step) {
    const std::string dir = first + "-" + std::to_string(step), when = "step " + std::to_string(step);
    std::filesystem::copy(first, dir, std::filesystem::copy_options::recursive);
    reset(redis);
    redis.command({"DEL", "{s}:quarantine"});
    redis.command({"XTRIM", "{l}:quarantine", "MAXLEN", "40"});
    const Config config = config_of(redis, dir);
    std::uint64_t from_vault = 0;
    const bool killed = killed_at(step, [&](std::function<void(std::string_view)> hook) {
      auto agent = Agent::open(config, deps(std::move(hook)), silent());
      if (agent.ok()) static_cast<void>((*agent)->rollback(key, "user:test", silent()).ok());
    });
    auto agent = Agent::open(config, deps({}), silent());
    ASSERT_TRUE(agent.ok()) << when;
    const auto back = (*agent)->rollback(key, "user:test", silent());
    ASSERT_TRUE(back.ok()) << when << back.error().message();
    from_vault = back->outcome.from_vault;
    expect_conserved(redis, false, when);
    ASSERT_EQ(standing(redis), before) << when;
    if (killed) continue;
    EXPECT_EQ(from_vault, 160u);
    EXPECT_GT(step, 12);
    // Again, with nothing in quarantine: they are known to be back, and do not come twice.
    const auto twice = (*agent)->rollback(key, "user:test", silent());
    ASSERT_TRUE(twice.ok());
    EXPECT_EQ(twice->outcome.restored, 0u);
    expect_conserved(redis, false, "twice");
    return;
  }
  FAIL() << "a rollback has more steps than expected";
}

}  // namespace
}  // namespace claw
