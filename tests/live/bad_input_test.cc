// What nobody should send and somebody will: bodies of any bytes and sizes, keys that vanish, disks that fill, files that
// were edited. Each ends in words or is handled, and every message is in the queue or in quarantine, once.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "base/digest.h"
#include "redis/adapter.h"
#include "redis/connection.h"
#include "redis/url.h"
#include "testing/redis_server.h"

namespace claw {
namespace {

using testing::RedisServer;
using Commands = std::vector<std::vector<std::string>>;

constexpr int kMessages = 2'000, kPoison = 100;
constexpr std::size_t kLarge = 100u << 20;

std::string body(int i) { return R"({"v":1,"transaction_id":)" + (i % 20 == 7 ? "x" + std::to_string(i) : "\"t" + std::to_string(i) + "\"") + "}"; }
std::string id_of(int i) { return std::to_string(1000 + i) + "-0"; }

// A stream whose group acknowledged what is valid and failed three times at every 20th.
void fill(const RedisServer& redis, const std::string& key, const std::vector<std::string>& more = {}) {
  Commands commands;
  for (int i = 0; i < kMessages; ++i) commands.push_back({"XADD", key, id_of(i), "payload", body(i)});
  for (std::size_t i = 0; i < more.size(); ++i) commands.push_back({"XADD", key, id_of(kMessages + static_cast<int>(i)), "payload", more[i]});
  commands.push_back({"XGROUP", "CREATE", key, "g", "0"});
  commands.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", std::to_string(kMessages + more.size()), "STREAMS", key, ">"});
  for (int i = 0; i < kMessages; ++i) commands.push_back(i % 20 == 7 ? std::vector<std::string>{"XCLAIM", key, "g", "c", "0", id_of(i), "RETRYCOUNT", "3"} : std::vector<std::string>{"XACK", key, "g", id_of(i)});
  redis.commands(commands);
}

std::string config_text(const RedisServer& redis) {
  return "agent: {data_dir: \"" + redis.dir() + "/agent\"}\nbrokers: {r: {kind: redis, url: \"" + redis.url() + "\"}}\n" +
         "tenants: {t: {queues: [{broker: r, match: \"s*\"}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
}

std::unique_ptr<Agent> agent_on(const RedisServer& redis) {
  auto agent = Agent::open(*parse_config(config_text(redis), "test.yaml"),
                           {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                            .open_broker = [](const BrokerConfig& b, Deadline d) { return redis::open_redis({.name = b.name, .url = b.url}, system_clock(), d); }, .after_journal = {}},
                           silent());
  EXPECT_TRUE(agent.ok()) << (agent.ok() ? "" : agent.error().message());
  return std::move(*agent);
}

// SHA-1 of every body of a stream, sorted: what it holds, whatever the bytes.
std::vector<std::string> contents(const RedisServer& redis, const std::string& key) {
  const std::string digests = redis.command({"EVAL", "local out = {} for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do for i = 1, #e[2], 2 do if e[2][i] == 'payload' then "
                                                     "out[#out + 1] = redis.sha1hex(e[2][i + 1]) end end end return table.concat(out, ' ')", "1", key});
  std::vector<std::string> all;
  for (std::size_t at = digests.find("\r\n") + 2; at + 40 <= digests.size(); at += 41) all.push_back(digests.substr(at, 40));
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<std::string> everywhere(const RedisServer& redis) {
  std::vector<std::string> all = contents(redis, "s"), set_aside = contents(redis, "{s}:quarantine");
  all.insert(all.end(), set_aside.begin(), set_aside.end());
  std::sort(all.begin(), all.end());
  return all;
}

struct Ran {
  std::string out;
  int status = 0;
};

// `before`: of the shell that runs it.
Ran run(const RedisServer& redis, const std::string& arguments, const std::string& before = "") {
  std::ofstream(redis.dir() + "/deployclaw.yaml") << config_text(redis);
  std::FILE* pipe = ::popen(("{ " + before + " exec " + CLAW_PROGRAM + " --config " + redis.dir() + "/deployclaw.yaml " + arguments + "; } 2>&1").c_str(), "r");
  Ran ran;
  for (int c; (c = std::fgetc(pipe)) != EOF;) ran.out.push_back(static_cast<char>(c));
  const int status = ::pclose(pipe);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

TEST(BadInput, bodies_of_any_bytes_are_looked_at_and_what_did_not_fail_stays) {
  const RedisServer redis;
  std::vector<std::string> odd = {"", std::string(1, '\0'), "\xff\xfe\xfd", "{\"v\":\"\xc3\x28\"}", std::string("{\"v\":1,\"transaction_id\":\"\0\"}", 27), std::string(10'000, '[') + std::string(10'000, ']')};
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "{\"v\":";
  odd.push_back(deep + "1" + std::string(10'000, '}'));
  std::string noise;
  for (int i = 0; i < 4'096; ++i) noise.push_back(static_cast<char>(i * 7'919 >> 3));
  odd.push_back(noise);
  fill(redis, "s", odd);
  const auto before = everywhere(redis);
  auto agent = agent_on(redis);
  const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->record.messages_removed, static_cast<std::uint64_t>(kPoison)) << record->reason;
  EXPECT_EQ(everywhere(redis), before);
  const auto back = agent->rollback(record->record.rollback_key, "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(contents(redis, "s"), before);
}

TEST(BadInput, a_poison_message_of_100_MiB_is_set_aside_and_brought_back) {
  const RedisServer redis;
  fill(redis, "s");
  const Deadline late = Deadline::in(system_clock(), Millis(180'000));
  auto connection = redis::Connection::open(redis::parse_url(redis.url())->seeds.front(), system_clock(), late);
  ASSERT_TRUE(connection.ok());
  const auto call = [&](const std::vector<std::string>& words) {
    const std::vector<std::string_view> views(words.begin(), words.end());
    auto reply = (*connection)->call(views, late);
    EXPECT_TRUE(reply.ok()) << reply.error().message();
    return reply.ok() ? reply->root().integer() : 0;
  };
  const auto bytes = [&](const std::string& key) { return static_cast<std::size_t>(call({"MEMORY", "USAGE", key, "SAMPLES", "0"})); };
  const std::string note(kLarge, 'a');
  call({"XADD", "s", id_of(kMessages), "payload", R"({"v":1,"note":")" + note + "\",\"transaction_id\":x7}"});
  call({"XGROUP", "SETID", "s", "g", "$"});
  call({"XCLAIM", "s", "g", "c", "0", id_of(kMessages), "RETRYCOUNT", "3", "FORCE", "JUSTID"});
  ASSERT_GT(bytes("s"), kLarge);
  auto agent = agent_on(redis);
  const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->record.messages_removed, static_cast<std::uint64_t>(kPoison + 1)) << record->reason;
  EXPECT_LT(bytes("s"), kLarge);
  EXPECT_GT(bytes("{s}:quarantine"), kLarge);
  const auto back = agent->rollback(record->record.rollback_key, "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(call({"XLEN", "s"}), kMessages + 1);
  EXPECT_GT(bytes("s"), kLarge);
}

TEST(BadInput, an_empty_queue_and_keys_of_other_types_are_no_trouble) {
  const RedisServer redis;
  redis.commands({{"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"}, {"SET", "s1", "text"}, {"HSET", "s2", "a", "b"}, {"ZADD", "s3", "1", "a"}, {"SADD", "s4", "a"}});
  auto agent = agent_on(redis);
  const auto seen = agent->detect_poison_messages({.tenant = "t", .queue = {}}, silent());
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->messages_seen, 0u);
  const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->record.messages_removed, 0u);
  EXPECT_EQ(redis.command({"GET", "s1"}), "$4\r\ntext\r\n");
}

TEST(BadInput, a_stream_with_a_million_pending_entries_is_looked_at_whole) {
  const RedisServer redis;
  for (int i = 0; i < 20; ++i)
    redis.command({"EVAL", "for i = 1, 50000 do redis.call('XADD', 's', '*', 'payload', '{\"v\":1,\"transaction_id\":\"t' .. i .. '\"}') end", "0"});
  redis.command({"XGROUP", "CREATE", "s", "g", "0"});
  for (int i = 0; i < 20; ++i) redis.command({"EVAL", "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', '50000', 'STREAMS', 's', '>') return 1", "0"});
  auto agent = agent_on(redis);
  const auto seen = agent->detect_poison_messages({.tenant = "t", .queue = {}}, silent());
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->messages_seen, 1'000'000u);
  EXPECT_TRUE(seen->findings.empty()) << seen->findings[0].explanation;
  const auto health = agent->analyze_queue_health("t");
  ASSERT_TRUE(health.ok()) << health.error().message();
}

// Deletes the key, or makes it another thing, as soon as the scan is under way.
class Meddler final : public Progress {
 public:
  Meddler(const RedisServer& redis, Commands deed) : redis_(redis), deed_(std::move(deed)) {}
  void stage(std::string_view) override {}
  void advance(std::uint64_t, std::uint64_t) override {
    if (!done_) redis_.commands(deed_);
    done_ = true;
  }
  void finish(const StageRecord&) override {}
  void note(std::string_view) override {}

 private:
  const RedisServer& redis_;
  Commands deed_;
  bool done_ = false;
};

TEST(BadInput, a_key_that_vanishes_or_turns_during_a_scan_is_its_end_or_a_clear_error) {
  for (const Commands& deed : {Commands{{"DEL", "s"}}, Commands{{"DEL", "s"}, {"SET", "s", "text"}}, Commands{{"DEL", "s"}, {"RPUSH", "s", "a"}}}) {
    const RedisServer redis;
    redis.command({"EVAL", "for i = 1, 20000 do redis.call('XADD', 's', '*', 'payload', '{\"v\":1}') end", "0"});
    auto agent = agent_on(redis);
    Meddler meddler(redis, deed);
    const auto seen = agent->detect_poison_messages({.tenant = "t", .queue = {}}, meddler);
    if (seen.ok()) {
      EXPECT_LE(seen->messages_seen, 20'000u);
    } else {
      EXPECT_NE(seen.error().message().find("WRONGTYPE"), std::string::npos) << seen.error().message();
    }
    EXPECT_EQ(deed.size() == 1 ? redis.command({"EXISTS", "s"}) : redis.command({"TYPE", "s"}), deed.size() == 1 ? ":0\r\n" : deed[1][0] == "SET" ? "+string\r\n" : "+list\r\n");
  }
}

TEST(BadInput, a_disk_that_fills_at_any_time_loses_nothing_and_is_named) {
  for (const int blocks : {8, 60, 100, 140, 180, 220}) {  // of 512 bytes, the largest size of any file
    const RedisServer redis;
    fill(redis, "s");
    const auto before = everywhere(redis);
    const Ran full = run(redis, "remediate --tenant t --yes", "trap '' XFSZ; ulimit -f " + std::to_string(blocks) + ";");
    EXPECT_LT(full.status, 128) << blocks << full.out;
    if (full.status != 0) {
      EXPECT_TRUE(full.out.find("full") != std::string::npos || full.out.find("too large") != std::string::npos || full.out.find("disk") != std::string::npos) << blocks << full.out;
    }
    EXPECT_EQ(everywhere(redis), before) << blocks << full.out;
    const Ran again = run(redis, "remediate --tenant t --yes");
    EXPECT_LT(again.status, 128) << blocks << again.out;
    EXPECT_EQ(everywhere(redis), before) << blocks << again.out;
    const Ran proof = run(redis, "audit verify");
    EXPECT_EQ(proof.status, 0) << blocks << full.out << again.out << proof.out;
  }
}

TEST(BadInput, a_snapshot_that_was_damaged_is_named_and_nothing_is_touched) {
  const RedisServer redis;
  fill(redis, "s");
  const Ran removed = run(redis, "remediate --tenant t --yes -o json --quiet");
  ASSERT_EQ(removed.status, 0) << removed.out;
  const std::string key = nlohmann::json::parse(removed.out)["remediation_record"]["rollback_key"];
  const auto before = std::pair(contents(redis, "s"), contents(redis, "{s}:quarantine"));
  std::size_t damaged = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(redis.dir() + "/agent/vault")) {
    if (entry.path().extension() != ".snap") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(300);
    const char byte = static_cast<char>(file.get());
    file.seekp(300);
    file.put(static_cast<char>(byte ^ 1));
    ++damaged;
  }
  ASSERT_GE(damaged, 1u);
  EXPECT_EQ(run(redis, "snapshots verify").status, 7);
  const Ran back = run(redis, "rollback " + key + " --yes");
  EXPECT_NE(back.status, 0) << back.out;
  EXPECT_LT(back.status, 128) << back.out;
  EXPECT_EQ(std::pair(contents(redis, "s"), contents(redis, "{s}:quarantine")), before) << back.out;
}

TEST(BadInput, a_plan_file_that_was_edited_is_refused_and_says_so) {
  const RedisServer redis;
  fill(redis, "s");
  const auto before = everywhere(redis);
  ASSERT_EQ(run(redis, "plan --tenant t --out " + redis.dir() + "/plan.json").status, 0);
  std::ifstream in(redis.dir() + "/plan.json");
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const auto edited = [&](std::string from, const std::string& to) {
    std::string other = text;
    const std::size_t at = other.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    other.replace(at, from.size(), to);
    return other;
  };
  for (const std::string& plan : {edited(id_of(7), id_of(8)), edited("\"t\"", "\"u\""), text.substr(0, text.size() / 2), std::string(), std::string("{}"), std::string(1'000, '[')}) {
    std::ofstream(redis.dir() + "/edited.json") << plan;
    const Ran ran = run(redis, "apply " + redis.dir() + "/edited.json --yes");
    EXPECT_NE(ran.status, 0) << plan.substr(0, 100);
    EXPECT_LT(ran.status, 128) << ran.out;
    EXPECT_FALSE(ran.out.empty());
    EXPECT_TRUE(contents(redis, "{s}:quarantine").empty());
  }
  EXPECT_EQ(everywhere(redis), before);
  EXPECT_EQ(run(redis, "apply " + redis.dir() + "/plan.json --yes").status, 0);
  EXPECT_EQ(everywhere(redis), before);
}

}  // namespace
}  // namespace claw
