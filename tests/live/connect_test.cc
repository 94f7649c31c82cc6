// The ways there are to a Redis: a cluster, a master behind sentinels, TLS, users, databases, sockets; and what can go wrong on
// the way, with the whole job run through each.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "agent/agent.h"
#include "base/secret.h"
#include "redis/adapter.h"
#include "redis/servers.h"
#include "testing/redis_server.h"

namespace claw {
namespace {

using testing::RedisCluster;
using testing::RedisSentinel;
using testing::RedisServer;
using testing::wait_until;

constexpr int kMessages = 1'200;
constexpr int kPoisonEvery = 20;
constexpr int kPoison = kMessages / kPoisonEvery;

std::string body(const std::string& queue, int i) {
  const std::string id = queue + "_" + std::to_string(i);
  return i % kPoisonEvery == 7 ? R"({"v":1,"transaction_id": )" + id + R"(,"amount":5})" : R"({"v":1,"transaction_id":")" + id + R"(","amount":5})";
}

using Command = std::function<std::string(const std::vector<std::string>&)>;

// A stream that one group read to the end: valid ones acknowledged, poison pending and delivered three times.
void fill_stream(const Command& command, const std::string& key) {
  constexpr const char* kFill = R"lua(
    redis.call('XGROUP', 'CREATE', KEYS[1], 'g', '0', 'MKSTREAM')
    for i = 2, #ARGV do redis.call('XADD', KEYS[1], (998 + i) .. '-0', 'payload', ARGV[i]) end
    redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', #ARGV, 'STREAMS', KEYS[1], '>')
    for i = 2, #ARGV do
      local id = (998 + i) .. '-0'
      if (i - 2) % tonumber(ARGV[1]) == 7 then redis.call('XCLAIM', KEYS[1], 'g', 'c', 0, id, 'RETRYCOUNT', 3) else redis.call('XACK', KEYS[1], 'g', id) end
    end)lua";
  std::vector<std::string> words = {"EVAL", kFill, "1", key, std::to_string(kPoisonEvery)};
  for (int i = 0; i < kMessages; ++i) words.push_back(body(key, i));
  ASSERT_EQ(command(words), "$-1\r\n");
}

// Every message is in exactly one of queue and quarantine.
void expect_conserved(const Command& command, const std::string& key, bool removed, const std::string& when) {
  const auto bodies = [&](const std::string& from) {
    std::map<std::string, int> found;
    const std::string reply = command({"XRANGE", from, "-", "+"});
    for (std::size_t at = reply.find("{\"v\":1"); at != std::string::npos; at = reply.find("{\"v\":1", at + 1)) ++found[reply.substr(at, reply.find('}', at) + 1 - at)];
    return found;
  };
  std::map<std::string, int> queue, quarantine;
  for (int i = 0; i < kMessages; ++i) ++(removed && i % kPoisonEvery == 7 ? quarantine : queue)[body(key, i)];
  EXPECT_EQ(bodies(key), queue) << when;
  EXPECT_EQ(bodies("{" + key + "}:quarantine"), quarantine) << when;
}

class Connect : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "claw-connect-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  Config config(const std::string& url, const std::vector<std::string>& queues) const {
    std::string list;
    for (const std::string& queue : queues) list += (list.empty() ? "" : ", ") + ("{broker: r, match: \"" + queue + "\"}");
    const std::string text = "agent: {data_dir: \"" + dir_ + "/agent\"}\nbrokers: {r: {kind: redis, url: \"" + url + "\"}}\n" + "tenants: {t: {queues: [" + list +
                             "], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
    Result<Config> parsed = parse_config(text, "test.yaml");
    EXPECT_TRUE(parsed.ok()) << parsed.error().message();
    return *parsed;
  }
  AgentDeps deps(std::function<void(std::string_view)> after_journal = {}) const {
    return {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
            .open_broker = [](const BrokerConfig& b, Deadline deadline) { return redis::open_redis({.name = b.name, .url = b.url}, system_clock(), deadline); },
            .after_journal = std::move(after_journal)};
  }
  static Deadline soon(int ms = 3'000) { return Deadline::in(system_clock(), Millis(ms)); }
  static Result<std::unique_ptr<Broker>> open(redis::Options options, int ms = 3'000) { return redis::open_redis(std::move(options), system_clock(), soon(ms)); }

  // Remediates, checks, rolls back, checks. `at_step` runs after the named journal step.
  void whole_job(const Config& config, const std::vector<std::string>& queues, const std::function<Command(const std::string&)>& command_of,
                 const std::string& step = "", const std::function<void()>& at_step = {}) {
    bool ran = step.empty();
    auto agent = Agent::open(config, deps([&](std::string_view done) {
                               if (ran || done != step) return;
                               ran = true;
                               at_step();
                             }),
                             silent());
    ASSERT_TRUE(agent.ok()) << agent.error().message();
    const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    EXPECT_TRUE(ran) << "no step " << step;
    ASSERT_EQ(record->state, "completed") << record->reason;
    EXPECT_EQ(record->record.messages_removed, queues.size() * kPoison);
    for (const std::string& queue : queues) expect_conserved(command_of(queue), queue, true, queue);
    const auto back = (*agent)->rollback(record->record.rollback_key, "user:test", silent());
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back->outcome.restored, queues.size() * kPoison);
    for (const std::string& queue : queues) expect_conserved(command_of(queue), queue, false, queue + " after rollback");
  }

  std::string dir_;
};

// Moves the key's slot to another master, with everything in it.
void migrate(RedisCluster& cluster, const std::string& key, bool finish) {
  const std::string slot = std::to_string(redis::slot_of(key));
  RedisServer& from = cluster.home(key);
  RedisServer& to = &from == &cluster.node(0) ? cluster.node(1) : cluster.node(0);
  const std::string from_id = cluster.id_of(from), to_id = cluster.id_of(to);
  to.command({"CLUSTER", "SETSLOT", slot, "IMPORTING", from_id});
  from.command({"CLUSTER", "SETSLOT", slot, "MIGRATING", to_id});
  for (const std::string& one : {key, "{" + key + "}:quarantine"})
    from.command({"MIGRATE", "127.0.0.1", std::to_string(to.port()), one, "0", "5000"});
  if (!finish) return;
  to.command({"CLUSTER", "SETSLOT", slot, "NODE", to_id});
  from.command({"CLUSTER", "SETSLOT", slot, "NODE", to_id});
  cluster.node(2).command({"CLUSTER", "SETSLOT", slot, "NODE", to_id});
}

TEST(Slots, are_those_of_the_cluster_specification) {
  EXPECT_EQ(redis::slot_of("123456789"), 12739);  // CRC16/XMODEM's check value 0x31C3, modulo 16384
  EXPECT_EQ(redis::slot_of("{user1000}.following"), redis::slot_of("{user1000}.followers"));
  EXPECT_EQ(redis::slot_of("foo{}{bar}"), redis::slot_of("foo{}{bar}"));
  EXPECT_NE(redis::slot_of("foo{}{bar}"), redis::slot_of("bar"));
  EXPECT_EQ(redis::slot_of("foo{{bar}}zap"), redis::slot_of("{bar"));
  EXPECT_EQ(redis::slot_of("foo{bar}{zap}"), redis::slot_of("bar"));
}

TEST_F(Connect, the_whole_job_over_three_masters_of_a_cluster) {
  RedisCluster cluster;
  std::vector<std::string> queues;
  std::map<int, int> per_node;  // queues on each of the three masters
  for (int i = 0; queues.size() < 3; ++i) {
    const std::string key = "q" + std::to_string(i);
    if (per_node[cluster.home(key).port()]++ == 0) queues.push_back(key);
  }
  const auto command_of = [&](const std::string& queue) -> Command { return [&cluster, queue](const auto& words) { return cluster.command(queue, words); }; };
  for (const std::string& queue : queues) fill_stream(command_of(queue), queue);
  whole_job(config(cluster.url(), queues), queues, command_of);
}

TEST_F(Connect, a_slot_that_moves_between_snapshot_and_removal_is_followed) {
  RedisCluster cluster;
  const std::vector<std::string> queues = {"moving"};
  const auto command_of = [&](const std::string& queue) -> Command { return [&cluster, queue](const auto& words) { return cluster.command(queue, words); }; };
  fill_stream(command_of("moving"), "moving");
  whole_job(config(cluster.url(), queues), queues, command_of, "result-0", [&] { migrate(cluster, "moving", true); });
}

TEST_F(Connect, a_key_in_a_slot_under_way_is_read_where_it_is) {
  RedisCluster cluster;
  fill_stream([&](const auto& words) { return cluster.command("moving", words); }, "moving");
  auto broker = open({.name = "r", .url = cluster.url()});
  ASSERT_TRUE(broker.ok()) << broker.error().message();
  const std::vector<Claim> claims = {{"t", {.broker = "r", .match = "moving"}}};
  auto found = (*broker)->discover(claims, soon());
  ASSERT_TRUE(found.ok()) << found.error().message();
  ASSERT_EQ(found->size(), 1u);
  auto window = (*broker)->look(found->front(), soon());
  ASSERT_TRUE(window.ok());
  migrate(cluster, "moving", false);  // the key is at its new home, the slot is not: ASK
  std::size_t seen = 0;
  for (Batch page;;) {
    const auto more = (*window)->next(page, soon());
    ASSERT_TRUE(more.ok()) << more.error().message();
    if (!*more) break;
    seen += page.entries().size();
  }
  EXPECT_EQ(seen, static_cast<std::size_t>(kMessages));
  const auto again = (*broker)->measure(*found, soon());
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->front().entries, static_cast<std::uint64_t>(kMessages));
}

TEST_F(Connect, a_master_of_a_cluster_that_dies_mid_way_is_replaced_by_its_replica) {
  RedisCluster cluster(true);
  const std::vector<std::string> queues = {"q"};
  const auto live = [&]() -> RedisServer& {
    for (std::size_t i = 0; i < cluster.size(); ++i)
      if (cluster.node(i).command({"EXISTS", "q"}).starts_with(":") && cluster.node(i).command({"ROLE"}).find("master") != std::string::npos) return cluster.node(i);
    return cluster.node(0);
  };
  const auto command_of = [&](const std::string&) -> Command { return [&](const auto& words) { return live().command(words); }; };
  fill_stream(command_of("q"), "q");
  ASSERT_TRUE(wait_until(10, [&] { return live().command({"WAIT", "1", "1000"}) == ":1\r\n"; }));
  whole_job(config(cluster.url(), queues), queues, command_of, "result-0", [&] {
    ASSERT_EQ(live().command({"WAIT", "1", "2000"}), ":1\r\n");
    live().kill();
  });
}

TEST_F(Connect, the_whole_job_through_sentinels_with_a_failover_in_the_middle) {
  RedisSentinel sentinel;
  const auto command_of = [&](const std::string&) -> Command { return [&](const auto& words) { return sentinel.master().command(words); }; };
  fill_stream(command_of("q"), "q");
  whole_job(config(sentinel.url(), {"q"}), {"q"}, command_of, "result-0", [&] {
    ASSERT_TRUE(wait_until(5, [&] { return sentinel.master().command({"WAIT", "1", "1000"}) == ":1\r\n"; }));
    sentinel.master().kill();
  });
}

TEST_F(Connect, an_unknown_service_and_dead_sentinels_are_clear_errors) {
  RedisSentinel sentinel;
  const auto unknown = open({.name = "r", .url = "redis+sentinel://" + sentinel.sentinel().address() + "/nothing"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message().find("does not know the service 'nothing'"), std::string::npos) << unknown.error().message();
  sentinel.sentinel().kill();
  const auto dead = open({.name = "r", .url = sentinel.url()});
  ASSERT_FALSE(dead.ok());
  EXPECT_EQ(dead.error().code, Code::unavailable) << dead.error().message();
}

TEST_F(Connect, a_server_that_restarts_under_a_scan_is_read_on) {
  RedisServer redis({"--appendonly", "yes", "--appendfsync", "always"});
  constexpr int kMany = 9'000;
  redis.command({"EVAL", "for i = 1, tonumber(ARGV[1]) do redis.call('XADD', 's', i .. '-0', 'n', i) end", "0", std::to_string(kMany)});
  auto broker = open({.name = "r", .url = redis.url()});
  ASSERT_TRUE(broker.ok());
  QueueView view;
  view.id = {"r", "s"};
  auto window = (*broker)->look(view, soon());
  ASSERT_TRUE(window.ok());
  std::set<std::uint64_t> seen;
  bool restarted = false;
  for (Batch page;;) {
    const auto more = (*window)->next(page, soon(20'000));
    ASSERT_TRUE(more.ok()) << more.error().message();
    if (!*more) break;
    for (const auto& entry : page.entries()) EXPECT_TRUE(seen.insert(entry.key.high).second) << "twice: " << entry.key.high;
    if (std::exchange(restarted, true)) continue;
    redis.kill();
    redis.start();
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kMany));
}

TEST_F(Connect, a_server_that_restarts_during_a_drain_is_waited_for) {
  RedisServer redis({"--appendonly", "yes", "--appendfsync", "always"});
  const auto command_of = [&](const std::string&) -> Command { return [&](const auto& words) { return redis.command(words); }; };
  fill_stream(command_of("q"), "q");
  whole_job(config(redis.url(), {"q"}), {"q"}, command_of, "intent-1", [&] {
    redis.kill();
    redis.start();
  });
}

TEST_F(Connect, a_server_that_stays_dead_leaves_the_execution_held_and_the_next_start_finishes_it) {
  RedisServer redis({"--appendonly", "yes", "--appendfsync", "always"});
  const auto command_of = [&](const std::string&) -> Command { return [&](const auto& words) { return redis.command(words); }; };
  fill_stream(command_of("q"), "q");
  const Config cfg = config(redis.url(), {"q"});
  {
    auto agent = Agent::open(cfg, deps([&](std::string_view step) {
                               if (step == "intent-1") redis.kill();
                             }),
                             silent());
    ASSERT_TRUE(agent.ok());
    const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    EXPECT_EQ(record->state, "held");
    EXPECT_FALSE(record->reason.empty());
  }
  redis.start();
  auto agent = Agent::open(cfg, deps(), silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  const auto records = (*agent)->store().executions(1);
  ASSERT_TRUE(records.ok());
  EXPECT_EQ(records->front().state, "completed") << records->front().reason;
  expect_conserved(command_of("q"), "q", true, "after the restart");
}

TEST_F(Connect, an_identical_message_that_no_plan_names_stays_when_a_removal_is_repeated) {
  RedisServer redis;
  for (const char* text : {"a", "same", "b", "same", "c"}) redis.command({"RPUSH", "l", text});
  auto broker = open({.name = "r", .url = redis.url()});
  ASSERT_TRUE(broker.ok());
  Message planned{.id = "list:1", .key = {1, 3}, .fields = {{"", "same"}}, .groups = {}};
  const PlannedQueue queue{.queue = {"r", "l"}, .type = QueueType::list, .entries = 5, .quarantine = "{l}:quarantine", .messages = {{.id = "list:1", .key = {1, 3}}}};
  for (const bool again : {false, true, true}) {
    const auto removals = (*broker)->remove({.queue = queue, .messages = std::span(&planned, 1), .execution_id = "e", .again = again}, soon());
    ASSERT_TRUE(removals.ok()) << removals.error().message();
    EXPECT_EQ(removals->front().fate, Fate::removed);
  }
  EXPECT_EQ(redis.command({"LRANGE", "l", "0", "-1"}), "*4\r\n$1\r\na\r\n$1\r\nb\r\n$4\r\nsame\r\n$1\r\nc\r\n");
}

struct Bad {
  const char* url;
  const char* says;
};

TEST_F(Connect, a_url_that_is_none_says_what_is_expected) {
  for (const Bad& bad : {Bad{"http://h", "expected redis://"}, Bad{"redis://h:0", "port from 1 to 65535"}, Bad{"redis://h:99999", "port from 1 to 65535"},
                         Bad{"redis://h/db", "database number"}, Bad{"redis://", "expected redis://"}, Bad{"redis://u:secret@h", "password does not belong"},
                         Bad{"redis+unix://relative", "absolute path"}, Bad{"redis+sentinel://h", "name of a service"}, Bad{"redis://[::1", "expected ]"}, Bad{"", "expected redis://"}}) {
    const auto broker = open({.name = "r", .url = bad.url});
    ASSERT_FALSE(broker.ok()) << bad.url;
    EXPECT_EQ(broker.error().code, Code::invalid) << bad.url;
    EXPECT_NE(broker.error().message().find(bad.says), std::string::npos) << bad.url << ": " << broker.error().message();
    EXPECT_EQ(broker.error().message().find("secret"), std::string::npos) << "a secret is shown";
  }
}

TEST_F(Connect, a_port_where_nobody_listens_and_a_server_that_never_answers) {
  const auto refused = open({.name = "r", .url = "redis://127.0.0.1:" + std::to_string(testing::free_port())});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
  RedisServer redis;
  redis.pause();
  const auto silent_one = open({.name = "r", .url = redis.url()}, 500);
  redis.resume();
  ASSERT_FALSE(silent_one.ok());
  EXPECT_TRUE(silent_one.error().code == Code::timed_out || silent_one.error().code == Code::outcome_unknown) << silent_one.error().message();
}

TEST_F(Connect, a_user_with_the_documented_rights_can_do_the_whole_job_and_no_other_password_opens) {
  RedisServer redis;
  fill_stream([&](const auto& words) { return redis.command(words); }, "q");
  std::ifstream doc(std::string(CLAW_SOURCE_DIR) + "/docs/operations/redis.md");
  std::string rule, line;
  while (std::getline(doc, line))
    if (line.find("ACL SETUSER deployclaw") != std::string::npos) rule = line.substr(line.find("ACL"));
  ASSERT_FALSE(rule.empty()) << "docs/operations/redis.md gives the rule";
  std::vector<std::string> words;
  std::istringstream text(rule);
  for (std::string word; text >> word;) {
    if (word == ">SECRET") word = ">p@ss word:/#";
    if (const auto at = word.find("orders:*"); at != std::string::npos) word.replace(at, 8, "q");
    words.push_back(word);
  }
  ASSERT_EQ(redis.command(words), "+OK\r\n") << rule;
  const auto options = [&](const std::string& password) { return redis::Options{.name = "r", .url = redis.url(), .user = "deployclaw", .password = Secret(password)}; };
  const auto wrong = open(options("guess"));
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, Code::denied);
  EXPECT_EQ(wrong.error().message().find("guess"), std::string::npos);

  Config cfg = config(redis.url(), {"q"});
  auto agent = Agent::open(cfg, {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                                 .open_broker = [&](const BrokerConfig&, Deadline) { return open(options("p@ss word:/#")); }}, silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->record.messages_removed, static_cast<std::uint64_t>(kPoison)) << record->reason;
  const auto back = (*agent)->rollback(record->record.rollback_key, "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->outcome.restored, static_cast<std::uint64_t>(kPoison));
}

TEST_F(Connect, a_database_by_number_and_a_socket_by_path) {
  RedisServer redis({"--unixsocket", "{dir}/redis.sock"});
  redis.command({"SELECT", "3"});  // of that connection only
  auto third = open({.name = "r", .url = "redis://" + redis.address() + "/3"});
  auto socket = open({.name = "r", .url = "redis+unix://" + redis.dir() + "/redis.sock?db=3"});
  ASSERT_TRUE(third.ok() && socket.ok());
  redis.command({"XADD", "s", "1-0", "a", "b"});
  ASSERT_EQ(redis.command({"MOVE", "s", "3"}), ":1\r\n");
  const std::vector<Claim> claims = {{"t", {.broker = "r", .match = "s"}}};
  for (auto* broker : {&third, &socket}) {
    const auto found = (**broker)->discover(claims, soon());
    ASSERT_TRUE(found.ok()) << found.error().message();
    EXPECT_EQ(found->size(), 1u);
  }
  EXPECT_FALSE(open({.name = "r", .url = "redis+unix://" + redis.dir() + "/none.sock"}).ok());
  EXPECT_EQ(open({.name = "r", .url = "redis://" + redis.address() + "/99"}).error().code, Code::invalid);
}

TEST_F(Connect, tls_with_client_certificates_and_nothing_less) {
  const auto sh = [&](const std::string& command) { ASSERT_EQ(std::system(("cd " + dir_ + " && " + command + " >/dev/null 2>&1").c_str()), 0) << command; };
  for (const char* ca : {"ca", "other"}) sh(std::string("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=") + ca + " -keyout " + ca + ".key -out " + ca + ".crt");
  for (const char* name : {"server", "client"}) {
    sh(std::string("openssl req -newkey rsa:2048 -nodes -subj /CN=") + name + " -keyout " + name + ".key -out " + name + ".csr");
    sh(std::string("printf 'subjectAltName=IP:127.0.0.1' > ext && openssl x509 -req -days 2 -in ") + name + ".csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext -out " + name + ".crt");
  }
  const int port = testing::free_port();
  RedisServer redis({"--tls-port", std::to_string(port), "--tls-cert-file", dir_ + "/server.crt", "--tls-key-file", dir_ + "/server.key", "--tls-ca-cert-file", dir_ + "/ca.crt"});
  const auto options = [&](const std::string& ca, const std::string& cert, const std::string& name) {
    return redis::Options{.name = "r", .url = "rediss://127.0.0.1:" + std::to_string(port), .tls_ca = dir_ + "/" + ca,
                          .tls_cert = cert.empty() ? "" : dir_ + "/" + cert + ".crt", .tls_key = cert.empty() ? "" : dir_ + "/" + cert + ".key", .tls_server_name = name};
  };
  const auto good = open(options("ca.crt", "client", ""));
  EXPECT_TRUE(good.ok()) << good.error().message();
  for (const auto& bad : {open(options("other.crt", "client", "")), open(options("ca.crt", "client", "elsewhere.example")), open(options("ca.crt", "", "")),
                          open(options("none.crt", "client", "")), open(options("ca.crt", "none", ""))}) {
    ASSERT_FALSE(bad.ok());
    EXPECT_TRUE(bad.error().message().find("TLS") != std::string::npos || bad.error().code != Code::invalid) << bad.error().message();
  }
  // A plain server behind a TLS URL, and a TLS server behind a plain one.
  EXPECT_FALSE(open({.name = "r", .url = "rediss://" + redis.address()}).ok());
  EXPECT_FALSE(open({.name = "r", .url = "redis://127.0.0.1:" + std::to_string(port)}, 2'000).ok());
}

TEST_F(Connect, ten_thousand_queues_of_a_thousand_tenants_are_discovered_in_one_pass) {
  RedisServer redis;
  std::string script = "for t = 0, 999 do for q = 0, 9 do "
                       "if q < 5 then redis.call('XADD', 'queue:' .. q .. ':t' .. t, '*', 'a', 'b') else redis.call('RPUSH', 'queue:' .. q .. ':t' .. t, 'b') end end end "
                       "for i = 1, 5000 do redis.call('SET', 'other:' .. i, 'x') end";
  redis.command({"EVAL", script, "0"});
  std::string patterns, named;
  for (int q = 0; q < 10; ++q) patterns += "  - {broker: r, match: \"queue:" + std::to_string(q) + ":{tenant}\", like: p}\n";
  for (int t = 0; t < 1000; ++t) {
    named += "  t" + std::to_string(t) + ": {queues: [";
    for (int q = 0; q < 10; ++q) named += std::string(q == 0 ? "" : ", ") + "{broker: r, match: \"queue:" + std::to_string(q) + ":t" + std::to_string(t) + "\"}";
    named += "]}\n";
  }
  const std::string head = "agent: {data_dir: \"" + dir_ + "/agent\"}\nbrokers: {r: {kind: redis, url: \"" + redis.url() + "\"}}\n";
  for (const std::string& text : {head + "profiles: {p: {tier: batch, sla: {max_backlog: 1}}}\ntenant_patterns:\n" + patterns, head + "tenants:\n" + named}) {
    const auto cfg = parse_config(text, "many.yaml");
    ASSERT_TRUE(cfg.ok()) << cfg.error().message().substr(0, 500);
    redis.command({"CONFIG", "RESETSTAT"});
    auto agent = Agent::open(*cfg, deps(), silent());
    ASSERT_TRUE(agent.ok());
    const auto seen = (*agent)->topology();
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    ASSERT_TRUE(seen->troubles.empty()) << seen->troubles[0].error.message();
    EXPECT_EQ(seen->tenants.size(), 1000u);
    for (const TenantTopology& t : seen->tenants) EXPECT_EQ(t.queues.size(), 10u) << t.tenant.id;
    const std::string stats = redis.command({"INFO", "commandstats"});
    EXPECT_EQ(stats.find("cmdstat_keys"), std::string::npos) << "KEYS blocks a server";
  }
}

}  // namespace
}  // namespace claw
