// The enemy of the main job: real Redis servers whose owners, consumers, plan files and neighbours do what they should not.
// Whatever they do, each message is in the queue or in quarantine, once, and nothing that a plan does not name is touched.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>

#include "agent/agent.h"
#include "base/secret.h"
#include "base/text.h"
#include "redis/adapter.h"
#include "testing/redis_server.h"

namespace claw {
namespace {

using testing::RedisServer;
using Hook = std::function<void(std::string_view)>;

std::string valid(int i) { return R"({"v":1,"transaction_id":")" + std::to_string(i) + R"("})"; }
std::string poison(int i) { return R"({"v":1,"transaction_id": x)" + std::to_string(i) + "}"; }
std::string id_of(int i) { return std::to_string(1000 + i) + "-0"; }
bool is_poison(int i) { return i % 20 == 7; }
std::string body(int i) { return is_poison(i) ? poison(i) : valid(i); }

// A stream of `count` messages, every 20th poison; group g acknowledged what is valid and failed three times at the poison.
void fill_stream(const RedisServer& redis, const std::string& key, int count) {
  std::vector<std::vector<std::string>> commands;
  for (int i = 0; i < count; ++i) commands.push_back({"XADD", key, id_of(i), "payload", body(i)});
  commands.push_back({"XGROUP", "CREATE", key, "g", "0"});
  commands.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", std::to_string(count), "STREAMS", key, ">"});
  for (int i = 0; i < count; ++i)
    commands.push_back(is_poison(i) ? std::vector<std::string>{"XCLAIM", key, "g", "c", "0", id_of(i), "RETRYCOUNT", "3"} : std::vector<std::string>{"XACK", key, "g", id_of(i)});
  redis.commands(commands);
}

void fill_list(const RedisServer& redis, const std::string& key, int count) {
  std::vector<std::vector<std::string>> commands;
  for (int i = 0; i < count; ++i) commands.push_back({"RPUSH", key, body(i)});
  redis.commands(commands);
}

struct Setting {
  std::string tenants = "t: {queues: [{broker: r, match: s}, {broker: r, match: l}], skill: aggressive-drain, sla: {max_backlog: 10}}";
  std::string dir = "agent";
  std::string user = "";
  std::string password = "";
};

std::unique_ptr<Agent> agent_on(const RedisServer& redis, const Setting& setting = {}, Hook hook = {}) {
  const std::string text = "agent: {data_dir: \"" + redis.dir() + "/" + setting.dir + "\"}\nbrokers: {r: {kind: redis, url: \"" + redis.url() + "\"}}\ntenants: {" + setting.tenants + "}\n";
  Result<Config> config = parse_config(text, "test.yaml");
  EXPECT_TRUE(config.ok()) << (config.ok() ? "" : config.error().message());
  auto agent = Agent::open(*config,
                           {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                            .open_broker = [setting](const BrokerConfig& b, Deadline d) {
                              return redis::open_redis({.name = b.name, .url = b.url, .user = setting.user, .password = Secret(setting.password)}, system_clock(), d);
                            },
                            .after_journal = std::move(hook)},
                           silent());
  EXPECT_TRUE(agent.ok()) << (agent.ok() ? "" : agent.error().message());
  return std::move(*agent);
}

ExecutionRecord remediate(Agent& agent) {
  auto record = agent.remediate("t", std::nullopt, "user:test", {}, silent());
  EXPECT_TRUE(record.ok()) << (record.ok() ? "" : record.error().message());
  return record.ok() ? *record : ExecutionRecord{};
}

// How often each of our bodies stands in a raw reply.
std::map<std::string, int> bodies(const std::string& reply) {
  std::map<std::string, int> found;
  for (std::size_t at = reply.find("{\"v\":1"); at != std::string::npos; at = reply.find("{\"v\":1", at + 1)) ++found[reply.substr(at, reply.find('}', at) + 1 - at)];
  return found;
}

std::map<std::string, int> stream(const RedisServer& redis, const std::string& key) { return bodies(redis.command({"XRANGE", key, "-", "+"})); }
std::map<std::string, int> list(const RedisServer& redis, const std::string& key) { return bodies(redis.command({"LRANGE", key, "0", "-1"})); }

std::map<std::string, int> numbered(int count, bool with_valid, bool with_poison) {
  std::map<std::string, int> all;
  for (int i = 0; i < count; ++i)
    if (is_poison(i) ? with_poison : with_valid) ++all[body(i)];
  return all;
}

std::map<std::string, int> sum(std::map<std::string, int> a, const std::map<std::string, int>& b) {
  for (const auto& [text, times] : b) a[text] += times;
  return a;
}

TEST(Hostile, two_agents_with_data_directories_of_their_own_never_mistake_each_others_quarantine_for_theirs) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  auto first = agent_on(redis, {.dir = "first"});
  const ExecutionRecord one = remediate(*first);
  ASSERT_EQ(one.record.messages_removed, 100u) << one.reason;
  // A second agent (or the same one after its data directory was lost) meets new poison in the same queue.
  std::vector<std::vector<std::string>> more;
  for (int i = 10000; i < 12000; ++i) more.push_back({"XADD", "s", id_of(i), "payload", body(i)});
  more.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", "3000", "STREAMS", "s", ">"});
  for (int i = 10000; i < 12000; ++i)
    more.push_back(is_poison(i) ? std::vector<std::string>{"XCLAIM", "s", "g", "c", "0", id_of(i), "RETRYCOUNT", "3"} : std::vector<std::string>{"XACK", "s", "g", id_of(i)});
  redis.commands(more);
  auto second = agent_on(redis, {.dir = "second"});
  const ExecutionRecord two = remediate(*second);
  EXPECT_EQ(two.state, "completed") << two.reason;
  EXPECT_EQ(two.record.messages_removed, 100u);
  // Each puts back its own and nothing else.
  const auto back = second->rollback(two.record.rollback_key, "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->outcome.restored, 100u);
  EXPECT_EQ(stream(redis, "{s}:quarantine"), numbered(2000, false, true));
}

TEST(Hostile, a_list_removal_that_is_finished_after_a_crash_takes_no_twin_of_what_it_took_before) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  fill_list(redis, "l", 2000);
  const Setting setting;
  bool armed = true;
  {
    auto agent = agent_on(redis, setting, [&](std::string_view step) {
      if (!armed || step != "intent-0") return;
      armed = false;
      redis.command({"SET", "{s}:quarantine", "x"});  // the list's part of the canary is moved, the stream's is not
    });
    const ExecutionRecord held = remediate(*agent);
    EXPECT_EQ(held.state, "held") << held.reason;
  }
  EXPECT_EQ(stream(redis, "{l}:quarantine").size(), 1u);
  // Somebody sends every poison message once more.
  std::vector<std::vector<std::string>> twins = {{"DEL", "{s}:quarantine"}};
  for (const auto& [text, times] : numbered(2000, false, true)) twins.push_back({"LPUSH", "l", text});
  redis.commands(twins);
  auto agent = agent_on(redis, setting);
  const auto records = agent->store().executions(1);
  ASSERT_TRUE(records.ok());
  EXPECT_EQ(records->front().state, "completed") << records->front().reason;
  EXPECT_EQ(list(redis, "l"), numbered(2000, true, true)) << "one of each pair stays";
  EXPECT_EQ(stream(redis, "{l}:quarantine"), numbered(2000, false, true));
}

TEST(Hostile, a_user_who_may_not_finish_a_move_does_not_begin_it) {
  for (const std::string right : {"lrem", "lset", "xdel", "xack", "xadd"}) {
    const RedisServer redis;
    fill_stream(redis, "s", 2000);
    fill_list(redis, "l", 2000);
    redis.command({"ACL", "SETUSER", "agent", "on", ">pw", "~*", "&*", "+@all", "-" + right});
    auto agent = agent_on(redis, {.user = "agent", .password = "pw"});
    const ExecutionRecord record = remediate(*agent);
    EXPECT_NE(record.state, "completed") << right;
    EXPECT_NE(record.reason.find("perm"), std::string::npos) << right << ": " << record.reason;
    EXPECT_EQ(redis.command({"LRANGE", "l", "0", "-1"}).find("deployclaw-removed"), std::string::npos) << right << ": a consumer would take our mark for a message";
    EXPECT_EQ(sum(stream(redis, "s"), stream(redis, "{s}:quarantine")), numbered(2000, true, true)) << right;
    EXPECT_EQ(sum(list(redis, "l"), stream(redis, "{l}:quarantine")), numbered(2000, true, true)) << right;
  }
}

TEST(Hostile, entries_of_a_stream_that_was_made_anew_under_the_same_ids_are_not_the_planned_ones) {
  for (const bool after_snapshot : {false, true}) {
    const RedisServer redis;
    fill_stream(redis, "s", 2000);
    const auto remake = [&] {
      std::vector<std::vector<std::string>> commands = {{"DEL", "s"}};
      for (int i = 0; i < 2000; ++i) commands.push_back({"XADD", "s", id_of(i), "payload", valid(i)});
      commands.push_back({"XGROUP", "CREATE", "s", "g", "0"});
      commands.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", "2000", "STREAMS", "s", ">"});
      redis.commands(commands);
    };
    auto agent = agent_on(redis, {}, [&](std::string_view step) {
      if (after_snapshot && step == "snapshot-0") remake();
    });
    const auto proposal = agent->plan("t", std::nullopt, "user:test", silent());
    ASSERT_TRUE(proposal.ok());
    if (!after_snapshot) remake();
    const auto record = agent->execute_safe_drain(proposal->plan, "user:test", silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    EXPECT_EQ(record->record.messages_removed, 0u) << after_snapshot;
    EXPECT_EQ(stream(redis, "{s}:quarantine").size(), 0u) << after_snapshot;
    std::map<std::string, int> all;
    for (int i = 0; i < 2000; ++i) ++all[valid(i)];
    EXPECT_EQ(stream(redis, "s"), all) << after_snapshot;
  }
}

TEST(Hostile, a_queue_that_is_gone_or_of_another_type_by_now_costs_nothing_and_ends) {
  const std::vector<std::vector<std::vector<std::string>>> deeds = {
      {{"DEL", "s"}, {"DEL", "l"}},
      {{"RENAME", "s", "s2"}, {"RENAME", "l", "l2"}},
      {{"DEL", "s"}, {"DEL", "l"}, {"SET", "s", "now a string"}, {"HSET", "l", "now", "a hash"}},
      {{"RENAME", "s", "x"}, {"RENAME", "l", "s"}, {"RENAME", "x", "l"}},
      {{"XTRIM", "s", "MAXLEN", "0"}, {"LTRIM", "l", "1", "0"}},
      {{"XGROUP", "DESTROY", "s", "g"}, {"XGROUP", "CREATE", "s", "h", "0"}},
  };
  for (std::size_t d = 0; d < deeds.size(); ++d) {
    for (const std::string when : {"planned", "intent-1"}) {
      const RedisServer redis;
      fill_stream(redis, "s", 2000);
      fill_list(redis, "l", 2000);
      const auto count = [&] {
        std::map<std::string, int> all;
        for (const char* key : {"s", "s2", "l", "l2", "{s}:quarantine", "{l}:quarantine"}) all = sum(sum(all, stream(redis, key)), list(redis, key));
        return all;
      };
      std::map<std::string, int> quarantined;
      const auto meddle = [&] {
        redis.commands(deeds[d]);
        quarantined = count();
      };
      std::string key;
      {
        auto agent = agent_on(redis, {}, [&](std::string_view step) {
          if (step == when) meddle();
        });
        const auto proposal = agent->plan("t", std::nullopt, "user:test", silent());
        ASSERT_TRUE(proposal.ok());
        ASSERT_EQ(proposal->plan.total(), 200u);
        if (when == "planned") meddle();
        const auto record = agent->execute_safe_drain(proposal->plan, "user:test", silent());
        ASSERT_TRUE(record.ok()) << d << when << record.error().message();
        key = record->record.rollback_key;
        SCOPED_TRACE(std::to_string(d) + " " + when + ": " + record->state + " " + record->reason);
        EXPECT_EQ(count(), quarantined) << "what was there after the deed is there still, once";
      }
      auto agent = agent_on(redis);  // a held execution holds up no start
      ASSERT_NE(agent, nullptr);
      if (!key.empty()) static_cast<void>(agent->rollback(key, "user:test", silent()).ok());  // onto another type it says no
      EXPECT_EQ(count(), quarantined) << d << when << " after rollback";
    }
  }
}

TEST(Hostile, a_quarantine_that_somebody_else_made_or_filled_is_left_as_it_is) {
  const std::vector<std::vector<std::vector<std::string>>> deeds = {
      {{"SET", "{s}:quarantine", "x"}, {"SET", "{l}:quarantine", "x"}},
      {{"XADD", "{s}:quarantine", "18446744073709551615-18446744073709551613", "a", "b"}, {"XADD", "{l}:quarantine", "18446744073709551615-18446744073709551613", "a", "b"}},
      {{"XADD", "{s}:quarantine", "*", "exec", "queue_remediation_1"}, {"XADD", "{l}:quarantine", "*", "exec", "queue_remediation_1", "n", "0", "id", "x", "groups", "", "", "forged"}},
  };
  for (std::size_t d = 0; d < deeds.size(); ++d) {
    const RedisServer redis;
    fill_stream(redis, "s", 2000);
    fill_list(redis, "l", 2000);
    redis.commands(deeds[d]);
    auto agent = agent_on(redis);
    const ExecutionRecord record = remediate(*agent);
    SCOPED_TRACE(std::to_string(d) + ": " + record.state + " " + record.reason);
    EXPECT_EQ(redis.command({"LRANGE", "l", "0", "-1"}).find("deployclaw-removed"), std::string::npos);
    EXPECT_EQ(sum(stream(redis, "s"), stream(redis, "{s}:quarantine")), numbered(2000, true, true));
    EXPECT_EQ(sum(list(redis, "l"), stream(redis, "{l}:quarantine")), numbered(2000, true, true));
    if (record.record.rollback_key.empty()) continue;
    static_cast<void>(agent->rollback(record.record.rollback_key, "user:test", silent()).ok());
    EXPECT_EQ(sum(stream(redis, "s"), stream(redis, "{s}:quarantine")), numbered(2000, true, true));
    EXPECT_EQ(sum(list(redis, "l"), stream(redis, "{l}:quarantine")), numbered(2000, true, true));
  }
}

TEST(Hostile, ids_at_the_end_of_their_range_are_read_removed_and_never_lost) {
  const RedisServer redis;
  std::vector<std::vector<std::string>> commands;
  const auto id = [](int i) { return "4611686018427387903-" + std::to_string(18446744073709551615ull - 1999 + static_cast<unsigned>(i)); };
  for (int i = 0; i < 2000; ++i) commands.push_back({"XADD", "s", id(i), "payload", body(i)});
  commands.push_back({"XGROUP", "CREATE", "s", "g", "0"});
  commands.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", "2000", "STREAMS", "s", ">"});
  for (int i = 0; i < 2000; ++i)
    commands.push_back(is_poison(i) ? std::vector<std::string>{"XCLAIM", "s", "g", "c", "0", id(i), "RETRYCOUNT", "3"} : std::vector<std::string>{"XACK", "s", "g", id(i)});
  redis.commands(commands);
  auto agent = agent_on(redis);
  const ExecutionRecord record = remediate(*agent);
  EXPECT_EQ(record.record.messages_removed, 100u) << record.reason;
  EXPECT_EQ(stream(redis, "s"), numbered(2000, true, false));
  static_cast<void>(agent->rollback(record.record.rollback_key, "user:test", silent()).ok());  // no id is left for the tail
  EXPECT_EQ(sum(stream(redis, "s"), stream(redis, "{s}:quarantine")), numbered(2000, true, true));
}

TEST(Hostile, a_long_list_with_very_many_poison_messages_is_drained_to_the_last) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  fill_list(redis, "l", 60'000);  // 3,000 poison
  auto agent = agent_on(redis);
  const auto proposal = agent->plan("t", std::nullopt, "user:test", silent());
  ASSERT_TRUE(proposal.ok());
  const auto record = agent->execute_safe_drain(proposal->plan, "user:test", silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->record.messages_removed, 3'100u) << record->stages.back().output << record->stages.front().output;
  EXPECT_EQ(list(redis, "l"), numbered(60'000, true, false));
}

Plan planned(Agent& agent) {
  auto proposal = agent.plan("t", std::nullopt, "user:test", silent());
  EXPECT_TRUE(proposal.ok()) << (proposal.ok() ? "" : proposal.error().message());
  return proposal.ok() ? proposal->plan : Plan{};
}

ExecutionRecord apply(Agent& agent, const Plan& plan) {
  auto record = agent.execute_safe_drain(plan, "user:test", silent());
  EXPECT_TRUE(record.ok()) << (record.ok() ? "" : record.error().message());
  return record.ok() ? *record : ExecutionRecord{};
}

TEST(Hostile, a_plan_of_somebody_elses_making_is_refused_however_well_it_is_hashed) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  auto agent = agent_on(redis);
  const Plan plan = planned(*agent);
  // A valid message slipped in, hash recomputed; limits widened; another tenant's name; another quarantine.
  Plan slipped = plan, wide = plan, other = plan, elsewhere = plan;
  slipped.queues[0].messages[0].id = id_of(3);
  slipped.queues[0].messages[0].digest = 0;
  wide.limits.block_budget = Millis(1'000'000);
  other.tenant = "u";
  elsewhere.queues[0].quarantine = "s";
  for (const Plan& forged : {slipped, wide, other, elsewhere}) {
    const auto read = plan_from_text(plan_to_text(forged), "forged.json");
    ASSERT_TRUE(read.ok());
    const ExecutionRecord record = apply(*agent, *read);
    EXPECT_EQ(record.state, "refused") << record.reason;
  }
  EXPECT_EQ(stream(redis, "s"), numbered(2000, true, true));
}

TEST(Hostile, an_expired_plan_is_not_made_young_by_an_edit_of_its_file) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  auto agent = agent_on(redis);
  Plan old = planned(*agent);
  // As it would stand in the store a quarter of an hour later.
  old.created = old.created - std::chrono::hours(1);
  old.expires = old.expires - std::chrono::hours(1);
  const PlanText text = pin(old);
  ASSERT_TRUE(agent->store().save_plan(text.hash, text.text).ok());
  old.expires = old.expires + std::chrono::hours(24);
  const auto edited = plan_from_text(plan_to_text(old), "plan.json");
  ASSERT_TRUE(edited.ok()) << "times are not pinned by the hash";
  const ExecutionRecord record = apply(*agent, *edited);
  EXPECT_EQ(record.state, "refused") << record.reason;
  EXPECT_NE(record.reason.find("expired"), std::string::npos) << record.reason;
  EXPECT_EQ(stream(redis, "s"), numbered(2000, true, true));
}

TEST(Hostile, a_queue_that_another_tenant_claims_too_is_nobodys_to_touch) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  const std::string t = "t: {queues: [{broker: r, match: s}], skill: aggressive-drain, sla: {max_backlog: 10}, autonomy: act}";
  std::optional<Plan> plan;
  {
    auto agent = agent_on(redis, {.tenants = t});
    plan = planned(*agent);
    ASSERT_EQ(plan->total(), 100u);
  }
  auto agent = agent_on(redis, {.tenants = t + ", u: {queues: [{broker: r, match: \"[s]\"}], autonomy: observe, sla: {max_backlog: 10}}"});
  EXPECT_FALSE(agent->remediate("t", std::nullopt, "user:test", {}, silent()).ok());
  EXPECT_EQ(apply(*agent, *plan).state, "refused");
  EXPECT_TRUE(agent->tick([](std::string_view) {}, silent()).ok());
  EXPECT_EQ(stream(redis, "s"), numbered(2000, true, true));
}

TEST(Hostile, nothing_is_removed_while_every_consumer_fails_at_every_message) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  std::vector<std::vector<std::string>> commands = {{"XGROUP", "CREATE", "s", "h", "0"}, {"XREADGROUP", "GROUP", "h", "c", "COUNT", "2000", "STREAMS", "s", ">"}};
  for (int i = 0; i < 2000; ++i) commands.push_back({"XCLAIM", "s", "h", "c", "0", id_of(i), "RETRYCOUNT", "5"});
  redis.commands(commands);
  auto agent = agent_on(redis, {.tenants = "t: {queues: [{broker: r, match: s}], skill: aggressive-drain, sla: {max_backlog: 10}, autonomy: act}"});
  ASSERT_TRUE(agent->tick([](std::string_view) {}, silent()).ok());
  EXPECT_EQ(remediate(*agent).record.messages_removed, 0u);
  EXPECT_EQ(stream(redis, "s"), numbered(2000, true, true));
}

TEST(Hostile, the_brake_stops_an_execution_between_any_two_steps_and_releasing_it_finishes_the_rest) {
  for (const std::string step : {"snapshot-1", "intent-0", "result-0", "intent-1"}) {
    const RedisServer redis;
    fill_stream(redis, "s", 2000);
    fill_list(redis, "l", 2000);
    const std::string brake = redis.dir() + "/agent/brake";
    std::size_t moved = 0;
    const auto in_quarantine = [&] { return stream(redis, "{s}:quarantine").size() + stream(redis, "{l}:quarantine").size(); };
    {
      auto agent = agent_on(redis, {}, [&](std::string_view now) {
        if (now != step) return;
        std::ofstream(brake).put('x');
        moved = in_quarantine();
      });
      const ExecutionRecord record = remediate(*agent);
      EXPECT_NE(record.state, "completed") << step;
      EXPECT_EQ(in_quarantine(), moved) << step;
    }
    {
      auto agent = agent_on(redis);
      EXPECT_EQ(in_quarantine(), moved) << step << ": the brake is on at the next start too";
    }
    std::filesystem::remove(brake);
    auto agent = agent_on(redis);
    const auto records = agent->store().executions(1);
    ASSERT_TRUE(records.ok());
    EXPECT_TRUE(records->front().state == "completed" || in_quarantine() == 0) << step << records->front().state << records->front().reason;
    EXPECT_EQ(sum(stream(redis, "s"), stream(redis, "{s}:quarantine")), numbered(2000, true, true)) << step;
    EXPECT_EQ(sum(list(redis, "l"), stream(redis, "{l}:quarantine")), numbered(2000, true, true)) << step;
  }
}

TEST(Hostile, a_server_that_repeats_the_words_of_a_refused_login_gives_no_password_away) {
  const RedisServer redis({"--rename-command", "AUTH", ""});
  const auto broker = redis::open_redis({.name = "r", .url = redis.url(), .user = "u", .password = Secret("s3cr3t-canary")}, system_clock(), Deadline::in(system_clock(), Millis(5'000)));
  ASSERT_FALSE(broker.ok());
  EXPECT_EQ(broker.error().message().find("s3cr3t"), std::string::npos) << broker.error().message();
}


TEST(Hostile, queues_whose_names_differ_in_braces_only_have_quarantines_of_their_own) {
  const RedisServer redis;
  const std::vector<std::string> keys = {"x", "{x}", "{x}x", "x{}", "}{x", "{", "{}", "{}{x}"};
  for (const std::string& key : keys) fill_stream(redis, key, 300);
  auto agent = agent_on(redis, {.tenants = "t: {queues: [{broker: r, match: \"*\"}], skill: aggressive-drain, sla: {max_backlog: 10}}"});
  const ExecutionRecord record = remediate(*agent);
  EXPECT_EQ(record.state, "completed") << record.reason;
  EXPECT_EQ(record.record.messages_removed, 15u * keys.size());
  for (const std::string& key : keys) EXPECT_EQ(stream(redis, key), numbered(300, true, false)) << key;
  const auto back = agent->rollback(record.record.rollback_key, "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  for (const std::string& key : keys) EXPECT_EQ(stream(redis, key), numbered(300, true, true)) << key;
}

// Runs the program; what it wrote to both outputs and how it ended.
struct Ran {
  std::string out;
  int status = 0;
};

Ran run(const RedisServer& redis, const std::string& arguments) {
  const std::string errors = redis.dir() + "/stderr";
  Ran ran;
  std::FILE* pipe = ::popen((std::string(CLAW_PROGRAM) + " --config " + redis.dir() + "/deployclaw.yaml " + arguments + " 2>" + errors).c_str(), "r");
  for (int c; (c = std::fgetc(pipe)) != EOF;) ran.out.push_back(static_cast<char>(c));
  const int status = ::pclose(pipe);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  std::ifstream file(errors);
  ran.out.append(std::istreambuf_iterator<char>(file), {});
  return ran;
}

bool holds_a_control(const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) < 0x20 && text[i] != '\n') || text.substr(i, 3) == "\u202e") return true;
  return false;
}

TEST(Hostile, names_of_any_bytes_reach_no_terminal_raw_and_break_no_json) {
  const RedisServer redis;
  const std::string auth = "canary pass'\"\\:@/";
  const std::string key = std::string("s\"'\n\x1b]0;owned\x07\u202e\xff\xfe\0{}", 22), group = std::string("g\"\r\n\x1b[2J\u202e\xc3\0{{", 15);
  std::vector<std::vector<std::string>> commands = {{"CONFIG", "SET", "requirepass", auth}, {"AUTH", auth}};
  for (int i = 0; i < 2000; ++i) commands.push_back({"XADD", key, id_of(i), std::string("p\0\xff\n", 4), body(i)});
  commands.push_back({"XGROUP", "CREATE", key, group, "0"});
  commands.push_back({"XREADGROUP", "GROUP", group, group, "COUNT", "2000", "STREAMS", key, ">"});
  for (int i = 0; i < 2000; ++i)
    commands.push_back(is_poison(i) ? std::vector<std::string>{"XCLAIM", key, group, group, "0", id_of(i), "RETRYCOUNT", "3"} : std::vector<std::string>{"XACK", key, group, id_of(i)});
  redis.commands(commands);
  std::ofstream(redis.dir() + "/deployclaw.yaml") << "agent: {data_dir: " << redis.dir() << "/agent}\nbrokers: {r: {kind: redis, url: \"" << redis.url() << "\", password: {env: CANARY}}}\n"
                                                  << "tenants: {t: {queues: [{broker: r, match: \"s*\"}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
  ::setenv("CANARY", auth.c_str(), 1);
  std::string everything;
  for (const char* verb : {"doctor", "topology", "analyze", "scan --tenant t --ids", "plan --tenant t", "remediate --tenant t --yes", "executions list", "findings list", "snapshots list",
                           "snapshots verify", "audit list", "audit verify"}) {
    const Ran table = run(redis, verb), json = run(redis, std::string(verb) + " -o json --quiet");
    EXPECT_FALSE(holds_a_control(table.out)) << verb << "\n" << table.out;
    EXPECT_TRUE(parse_json(json.out, verb).ok()) << verb << " " << json.status << "\n" << json.out.substr(0, 2000);
    everything += table.out + json.out;
  }
  EXPECT_NE(everything.find("Drained 100 poison"), std::string::npos) << everything.substr(0, 3000);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(redis.dir() + "/agent"))
    if (entry.is_regular_file()) {
      std::ifstream file(entry.path(), std::ios::binary);
      everything.append(std::istreambuf_iterator<char>(file), {});
    }
  EXPECT_EQ(everything.find("canary pass"), std::string::npos);
  EXPECT_EQ(everything.find("\"transaction_id\": x"), std::string::npos) << "a body in clear";
}

TEST(Hostile, very_many_groups_are_served_within_the_servers_patience_or_refused_in_words) {
  for (const int crowd : {1'000, 10'000}) {
    const RedisServer redis;
    fill_stream(redis, "s", 2000);
    std::vector<std::vector<std::string>> groups;
    for (int i = 0; i < crowd; ++i) groups.push_back({"XGROUP", "CREATE", "s", "crowd" + std::to_string(i), i % 2 == 0 ? "$" : "0"});
    redis.commands(groups);
    redis.commands({{"CONFIG", "SET", "slowlog-log-slower-than", "100000"}, {"SLOWLOG", "RESET"}});  // four times the budget: this machine may be busy
    auto agent = agent_on(redis);
    const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
    const std::string slow = redis.command({"SLOWLOG", "GET", "20"});
    EXPECT_EQ(slow.find("EVAL"), std::string::npos) << slow.substr(0, 600);
    EXPECT_EQ(sum(stream(redis, "s"), stream(redis, "{s}:quarantine")), numbered(2000, true, true));
    if (crowd == 1'000) EXPECT_EQ(record.ok() ? record->record.messages_removed : 0, 100u) << (record.ok() ? record->reason : record.error().message());
    else EXPECT_EQ(record.ok() ? "" : record.error().message().substr(0, 200), "look at s: it has 10001 consumer groups, at most 2000 are followed (unsupported)");
  }
}

TEST(Hostile, groups_that_come_and_go_and_a_stream_that_is_trimmed_meanwhile_lose_nothing_more) {
  for (const std::string when : {"snapshot-1", "intent-0", "intent-1", "intent-2"}) {
    const RedisServer redis;
    fill_stream(redis, "s", 2000);
    fill_list(redis, "l", 2000);
    std::map<std::string, int> there;
    auto agent = agent_on(redis, {}, [&](std::string_view step) {
      if (step != when) return;
      redis.commands({{"XGROUP", "CREATE", "s", "new", "0"}, {"XGROUP", "DESTROY", "s", "g"}, {"XGROUP", "CREATE", "s", "g", "1500-0"}, {"XTRIM", "s", "MINID", "1400-0"},
                      {"XADD", "s", "MAXLEN", "1600", "9000-0", "payload", valid(-1)}, {"LPUSH", "l", valid(-1)}, {"RPOP", "l"}});
      there = sum(stream(redis, "s"), stream(redis, "{s}:quarantine"));
    });
    const ExecutionRecord record = remediate(*agent);
    EXPECT_EQ(record.state, "completed") << when << record.reason;
    EXPECT_EQ(sum(stream(redis, "s"), stream(redis, "{s}:quarantine")), there) << when;
    for (const auto& [text, times] : stream(redis, "{s}:quarantine")) EXPECT_NE(text.find(": x"), std::string::npos) << when << " a valid message was removed: " << text;
    for (const auto& [text, times] : stream(redis, "{l}:quarantine")) EXPECT_NE(text.find(": x"), std::string::npos) << when << " a valid message was removed: " << text;
  }
}
TEST(Hostile, a_state_that_somebody_scribbled_in_ends_in_words_and_touches_nothing) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  std::ofstream(redis.dir() + "/deployclaw.yaml") << "agent: {data_dir: " << redis.dir() << "/agent}\nbrokers: {r: {kind: redis, url: \"" << redis.url() << "\"}}\n"
                                                  << "tenants: {t: {queues: [{broker: r, match: s}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
  ASSERT_EQ(run(redis, "remediate --tenant t --yes").status, 0);
  const auto there = std::pair(stream(redis, "s"), stream(redis, "{s}:quarantine"));
  for (const std::string scribble : {"UPDATE execution SET record = '{}'", "UPDATE execution SET record = '[1,', state = 'running'", "UPDATE plan SET text = '\"'",
                                     "UPDATE execution SET state = 'running'; UPDATE journal SET data = '[]'; DELETE FROM journal WHERE step = 'result-2'; UPDATE finding SET json = '7'"}) {
    std::filesystem::remove_all(redis.dir() + "/copy");
    std::filesystem::copy(redis.dir() + "/agent", redis.dir() + "/copy", std::filesystem::copy_options::recursive);
    ASSERT_EQ(std::system(("/usr/bin/python3 -c \"import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.executescript(sys.argv[2]); d.commit()\" " + redis.dir() + "/copy/state.db \"" +
                           std::regex_replace(scribble, std::regex("\""), "\\\"") + "\"").c_str()), 0);
    for (const char* verb : {"executions list", "findings list", "remediate --tenant t --yes", "plan --tenant t", "audit verify"}) {
      const Ran ran = run(redis, std::string(verb) + " --data-dir " + redis.dir() + "/copy");
      EXPECT_LT(ran.status, 128) << scribble << " " << verb << "\n" << ran.out;
      EXPECT_FALSE(ran.out.empty()) << scribble << " " << verb;
      EXPECT_EQ(std::pair(stream(redis, "s"), stream(redis, "{s}:quarantine")), there) << scribble << " " << verb;
    }
  }
}

TEST(Hostile, a_list_that_moved_far_between_scan_and_removal_is_still_drained) {
  const RedisServer redis;
  fill_stream(redis, "s", 2000);
  fill_list(redis, "l", 20'000);
  auto agent = agent_on(redis, {}, [&](std::string_view step) {
    if (step == "intent-0") redis.command({"LPOP", "l", "3000"});
  });
  const ExecutionRecord record = remediate(*agent);
  EXPECT_EQ(record.record.messages_removed, 100u + 850u) << record.reason;
}

}  // namespace
}  // namespace claw
