// The program as a user or a script meets it: exit status, one JSON document, nothing done without a yes.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "testing/redis_server.h"

namespace claw {
namespace {

using nlohmann::json;
using testing::RedisServer;

struct Ran {
  std::string out;  // standard output alone
  int status = 0;
};

class Cli : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::vector<std::string>> commands = {{"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"}};
    for (int i = 0; i < 2'000; ++i) commands.push_back({"XADD", "s", id(i), "payload", R"({"v":1,"transaction_id":)" + (i % 20 == 7 ? "x" + std::to_string(i) : "\"t\"") + "}"});
    commands.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", "2000", "STREAMS", "s", ">"});
    for (int i = 0; i < 2'000; ++i) commands.push_back(i % 20 == 7 ? std::vector<std::string>{"XCLAIM", "s", "g", "c", "0", id(i), "RETRYCOUNT", "3"} : std::vector<std::string>{"XACK", "s", "g", id(i)});
    redis.commands(commands);
    write_config(redis.url());
  }

  static std::string id(int i) { return std::to_string(1'000 + i) + "-0"; }
  void write_config(const std::string& url) const {
    std::ofstream(redis.dir() + "/deployclaw.yaml") << "agent: {data_dir: " << redis.dir() << "/agent}\nbrokers: {r: {kind: redis, url: \"" << url << "\"}}\n"
                                                    << "tenants: {t: {queues: [{broker: r, match: s}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
  }
  Ran run(const std::string& arguments) const {
    std::FILE* pipe = ::popen((std::string(CLAW_PROGRAM) + " --config " + redis.dir() + "/deployclaw.yaml " + arguments + " 2>/dev/null </dev/null").c_str(), "r");
    Ran ran;
    for (int c; (c = std::fgetc(pipe)) != EOF;) ran.out.push_back(static_cast<char>(c));
    const int status = ::pclose(pipe);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return ran;
  }

  RedisServer redis;
};

TEST_F(Cli, says_with_its_exit_status_what_became_of_it) {
  EXPECT_EQ(run("analyze").status, 0);
  EXPECT_EQ(run("analyze --exit-code").status, 5) << "a breach";
  EXPECT_EQ(run("scan --tenant t").status, 0);
  EXPECT_EQ(run("scan --tenant t --exit-code").status, 5) << "poison";
  EXPECT_EQ(run("plan --tenant t --exit-code --out " + redis.dir() + "/plan.json").status, 5);
  EXPECT_EQ(run("no-such-verb").status, 2);
  EXPECT_EQ(run("scan --tenant").status, 2);
  EXPECT_NE(run("scan --tenant nobody").status, 0);
  EXPECT_EQ(run("apply " + redis.dir() + "/none.json --yes").status == 0, false);
  EXPECT_EQ(run("help exit-codes").status, 0);
  const int unasked = run("remediate --tenant t").status;
  EXPECT_TRUE(unasked == 4 || unasked == 6) << "no terminal, no yes: " << unasked;
  EXPECT_EQ(redis.command({"EXISTS", "{s}:quarantine"}), ":0\r\n");
  EXPECT_EQ(run("brake on").status, 0);
  EXPECT_EQ(run("apply " + redis.dir() + "/plan.json --yes").status, 4) << "the brake is on";
  EXPECT_EQ(run("brake off").status, 0);
  EXPECT_EQ(run("apply " + redis.dir() + "/plan.json --yes").status, 0);
  EXPECT_EQ(run("audit verify").status, 0);
  write_config("redis://127.0.0.1:1");
  EXPECT_EQ(run("scan --tenant t").status, 8) << "nobody listens";
  std::fstream log(redis.dir() + "/agent/audit/checkpoint", std::ios::in | std::ios::out | std::ios::binary);
  log.seekp(60);
  log.put('!');
  log.close();
  EXPECT_EQ(run("audit verify").status, 7);
  EXPECT_EQ(run("scan --tenant t").status, 1) << "no agent starts over a log that does not add up";
}

TEST_F(Cli, answers_with_exactly_one_json_document) {
  for (const char* verb : {"topology", "analyze", "scan --tenant t", "plan --tenant t", "doctor", "remediate --tenant t --yes", "executions list", "findings list", "snapshots list",
                           "snapshots verify", "dlq list", "audit list", "audit verify", "skills list", "brake status", "config check", "scan --tenant nobody"}) {
    const Ran ran = run(std::string(verb) + " -o json");
    EXPECT_TRUE(json::accept(ran.out)) << verb << ": " << ran.out.substr(0, 400);
  }
}

TEST_F(Cli, a_snapshot_is_exported_in_clear_to_its_owner_only) {
  const json done = json::parse(run("remediate --tenant t --yes -o json").out);
  const std::string execution = done["execution_id"], file = redis.dir() + "/export.jsonl";
  EXPECT_EQ(run("snapshots export " + execution).status, 2) << "where to?";
  ASSERT_EQ(run("snapshots export " + execution + " --out " + file).status, 0);
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  std::ifstream in(file);
  std::size_t lines = 0;
  for (std::string line; std::getline(in, line); ++lines) ASSERT_TRUE(json::accept(line)) << line;
  EXPECT_EQ(lines, 100u);
  EXPECT_NE(run("snapshots export queue_remediation_1 --out " + file).status, 0);
}

TEST_F(Cli, redrives_a_dead_list_by_signature) {
  std::ofstream(redis.dir() + "/deployclaw.yaml") << "agent: {data_dir: " << redis.dir() << "/agent}\nbrokers: {r: {kind: redis, url: \"" << redis.url() << "\"}}\n"
                                                  << "tenants: {t: {queues: [{broker: r, match: jobs, dead: \"jobs:dead\"}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
  std::vector<std::vector<std::string>> commands = {{"RPUSH", "jobs", "{\"transaction_id\":\"first\"}"}};
  for (int i = 0; i < 60; ++i) commands.push_back({"RPUSH", "jobs:dead", i % 3 == 0 ? "{\"transaction_id\": x" + std::to_string(i) + "}" : "{\"transaction_id\":\"good" + std::to_string(i) + "\"}"});
  redis.commands(commands);
  const json listed = json::parse(run("dlq list -o json").out);
  ASSERT_EQ(listed["dead_letter_queues"].size(), 1u);
  const json& queue = listed["dead_letter_queues"][0];
  EXPECT_EQ(queue["queue"], "r/jobs:dead");
  EXPECT_EQ(queue["source"], "r/jobs");
  ASSERT_EQ(queue["groups"].size(), 1u) << queue.dump();
  EXPECT_EQ(queue["groups"][0]["count"], 20);
  const std::string redrive = "dlq redrive r/jobs:dead --wait 100ms --rate 1000 --signature ";
  EXPECT_EQ(run(redrive + queue["groups"][0]["id"].get<std::string>()).status, 6) << "no terminal, no yes";
  EXPECT_EQ(run(redrive + "ffff --yes").status, 2);
  EXPECT_EQ(run("dlq redrive r/s --signature ffff --yes").status, 2) << "nobody sends to it";
  const Ran done = run(redrive + queue["groups"][0]["id"].get<std::string>() + " --yes -o json");
  ASSERT_EQ(done.status, 0) << done.out;
  EXPECT_EQ(json::parse(done.out)["sent"], 20);
  EXPECT_EQ(redis.command({"LLEN", "jobs"}), ":21\r\n");
  EXPECT_EQ(redis.command({"LLEN", "jobs:dead"}), ":40\r\n");
  EXPECT_EQ(redis.command({"XLEN", "{jobs:dead}:quarantine"}), ":0\r\n");
  EXPECT_EQ(run("rollback " + json::parse(done.out)["rollback_key"].get<std::string>() + " --yes").status, 0);
  EXPECT_EQ(redis.command({"LLEN", "jobs"}), ":21\r\n");
  EXPECT_EQ(redis.command({"LLEN", "jobs:dead"}), ":40\r\n") << "what went back is not made up from the snapshot";
}

TEST_F(Cli, completes_its_verbs_in_three_shells) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Ran ran = run(std::string("completion ") + shell);
    EXPECT_EQ(ran.status, 0) << shell;
    for (const char* verb : {"topology", "remediate", "rollback", "audit", "snapshots"}) EXPECT_NE(ran.out.find(verb), std::string::npos) << shell << " " << verb;
  }
}

}  // namespace
}  // namespace claw
