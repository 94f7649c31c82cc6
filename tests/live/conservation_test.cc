// Producers at 2,000 messages a second and consumers at full speed, as processes of their own, during a whole remediation and
// a rollback: every message that was produced is in exactly one place, and what stays keeps its order.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "agent/agent.h"
#include "redis/adapter.h"
#include "redis/connection.h"
#include "redis/url.h"
#include "testing/redis_server.h"
#include "testing/traffic.h"

namespace claw {
namespace {

using testing::Traffic;

constexpr int kBacklog = 30'000;
constexpr int kRate = 2'000;

int number_of(std::string_view body) { return std::stoi(std::string(body.substr(body.rfind("\"n\":") + 4))); }

class Conservation : public ::testing::Test {
 protected:
  void SetUp() override {
    const Result<redis::Entry> entry = redis::parse_url(server.url());
    auto connected = redis::Connection::open(entry->seeds.front(), system_clock(), Deadline::in(system_clock(), Millis(5'000)));
    ASSERT_TRUE(connected.ok());
    connection = std::move(*connected);
    port = server.url().substr(server.url().rfind(':') + 1);
    port.resize(port.find('/'));
    call({"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"});
  }

  redis::Reply call(redis::Words words) {
    Result<redis::Reply> reply = connection->call(words, Deadline::in(system_clock(), Millis(30'000)));
    EXPECT_TRUE(reply.ok()) << (reply.ok() ? "" : reply.error().message());
    return std::move(*reply);
  }

  std::string log(const std::string& name) const { return server.dir() + "/" + name + ".log"; }

  void backlog() {
    Traffic stream({"traffic.py", port, "produce-stream", log("ps"), "0", std::to_string(kBacklog), "0"});
    Traffic list({"traffic.py", port, "produce-list", log("pl"), "0", std::to_string(kBacklog), "0"});
    stream.wait();
    list.wait();
  }
  std::vector<Traffic> traffic() {
    std::vector<Traffic> out;
    const std::string first = std::to_string(kBacklog + 100'000 * rounds++);
    out.push_back(Traffic({"traffic.py", port, "produce-stream", log("ps"), first, "100000", std::to_string(kRate)}));
    out.push_back(Traffic({"traffic.py", port, "produce-list", log("pl"), first, "100000", std::to_string(kRate)}));
    for (int i = 0; i < 2; ++i) out.push_back(Traffic({"traffic.py", port, "consume-stream", log("cs" + std::to_string(i))}));
    out.push_back(Traffic({"traffic.py", port, "consume-list", log("cl")}));
    return out;
  }

  // Until the consumers have met poison in what they read, and every process is at work.
  void let_it_run() {
    const auto lines = [&](const char* name) {
      std::ifstream file(log(name));
      return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
    };
    for (int i = 0; i < 300; ++i) {
      const bool at_work = lines("ps") > kBacklog && lines("pl") > kBacklog && lines("cs0") > 0 && lines("cs1") > 0 && lines("cl") > 0;
      if (at_work && call({"XPENDING", "s", "g"}).root().first().integer() > 250) return;
      system_clock().sleep(Millis(100));
    }
    FAIL() << "the traffic did not get going";
  }

  std::map<int, std::string> produced(const std::string& name) const {
    std::map<int, std::string> out;
    std::ifstream file(log(name));
    int i = 0;
    for (std::string id; file >> i >> id;) EXPECT_TRUE(out.emplace(i, id).second);
    return out;
  }
  std::set<int> consumed(std::initializer_list<const char*> names) const {
    std::set<int> out;
    for (const char* name : names) {
      std::ifstream file(log(name));
      for (int i = 0; file >> i;) EXPECT_TRUE(out.insert(i).second) << i << " was consumed twice";
    }
    return out;
  }
  // Number and id of what stands in a stream, in order; `skip` fields come before the body's.
  std::vector<std::pair<int, std::string>> stream(const char* key, int skip = 0) {
    const redis::Reply reply = call({"XRANGE", key, "-", "+"});
    std::vector<std::pair<int, std::string>> out;
    redis::Reply::View entry = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, entry = entry.next()) {
      redis::Reply::View field = entry.first().next().first();
      for (int f = 0; f < 2 * skip + 1; ++f) field = field.next();
      out.emplace_back(number_of(field.text()), std::string(entry.first().text()));
    }
    return out;
  }
  std::vector<int> list() {
    const redis::Reply reply = call({"LRANGE", "l", "0", "-1"});
    std::vector<int> out;
    redis::Reply::View value = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, value = value.next()) out.push_back(number_of(value.text()));
    return out;
  }

  // With no traffic running. `moved`: stream messages that were given new ids.
  void expect_conserved(std::uint64_t in_quarantine, std::size_t moved, std::size_t out_of_place, const char* when) {
    std::map<int, std::string> all = produced("ps");
    std::set<int> quarantine, queue, done = consumed({"cs0", "cs1"});
    for (const auto& [i, id] : stream("{s}:quarantine", 4)) EXPECT_TRUE(quarantine.insert(i).second) << i << " is in quarantine twice, " << when;
    std::size_t new_ids = 0;
    for (const auto& [i, id] : stream("s")) {
      EXPECT_TRUE(queue.insert(i).second) << i << " is in the stream twice, " << when;
      EXPECT_TRUE(all.contains(i)) << i << " was never produced, " << when;
      if (all[i] != id) ++new_ids;
    }
    EXPECT_LE(new_ids, moved) << when;
    for (const auto& [i, id] : all) {
      const bool acknowledged_and_visible = done.contains(i) && queue.contains(i);
      const int places = done.contains(i) + queue.contains(i) + quarantine.contains(i) - acknowledged_and_visible;
      EXPECT_EQ(places, 1) << "stream message " << i << ", " << when;
    }
    std::uint64_t held = quarantine.size();
    all = produced("pl");
    quarantine.clear();
    done = consumed({"cl"});
    for (const auto& [i, id] : stream("{l}:quarantine", 4)) EXPECT_TRUE(quarantine.insert(i).second) << i << " is in quarantine twice, " << when;
    const std::vector<int> standing = list();
    const std::set<int> waiting(standing.begin(), standing.end());
    EXPECT_EQ(waiting.size(), standing.size()) << "a list message is there twice, " << when;
    for (const auto& [i, id] : all) EXPECT_EQ(done.contains(i) + waiting.contains(i) + quarantine.contains(i), 1) << "list message " << i << ", " << when;
    EXPECT_EQ(done.size() + waiting.size() + quarantine.size(), all.size()) << when;
    std::size_t inversions = 0;  // pushed at the head: the numbers fall
    for (std::size_t i = 1; i < standing.size(); ++i) inversions += standing[i - 1] <= standing[i];
    EXPECT_LE(inversions, out_of_place) << "the list's order changed, " << when;
    EXPECT_EQ(held + quarantine.size(), in_quarantine) << when;
  }

  std::unique_ptr<Agent> agent() {
    const std::string text = "agent: {data_dir: \"" + server.dir() + "/agent\"}\nbrokers: {r: {kind: redis, url: \"" + server.url() + "\"}}\n" +
                             "tenants: {t: {queues: [{broker: r, match: s}, {broker: r, match: l}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
    Result<Config> config = parse_config(text, "test.yaml");
    EXPECT_TRUE(config.ok());
    auto opened = Agent::open(std::move(*config), {.disk = system_disk(), .clock = system_clock(), .random = system_random(), .open_broker = [](const BrokerConfig& b, Deadline deadline) {
                                return redis::open_redis({.name = b.name, .url = b.url}, system_clock(), deadline);
                              }}, silent());
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    return std::move(*opened);
  }

  const testing::RedisServer server;
  std::unique_ptr<redis::Connection> connection;
  std::string port;
  int rounds = 0;
};

TEST_F(Conservation, holds_under_live_load_during_a_remediation_and_a_rollback) {
  backlog();
  const auto running = agent();
  std::string key;
  std::uint64_t removed = 0;
  {
    const std::vector<Traffic> live = traffic();
    let_it_run();
    const auto record = running->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    ASSERT_EQ(record->state, "completed") << record->reason;
    for (const StageRecord& stage : record->stages) std::printf("    %s: %lld ms: %s\n", stage.stage.c_str(), static_cast<long long>(stage.duration.count()), stage.output.c_str());
    removed = record->record.messages_removed;
    key = record->record.rollback_key;
    system_clock().sleep(Millis(300));
  }
  ASSERT_GT(removed, 200u);
  expect_conserved(removed, 0, 0, "after the removal");
  RestoreOutcome stream, list;
  {
    const std::vector<Traffic> live = traffic();
    system_clock().sleep(Millis(1'500));
    const auto back = running->rollback(key, "user:test", silent());
    ASSERT_TRUE(back.ok()) << back.error().message();
    for (const std::string& note : back->notes) std::printf("    %s\n", note.c_str());
    for (const QueueRollback& q : back->queues) (q.queue.name == "s" ? stream : list) = q.outcome;
    EXPECT_EQ(back->outcome.restored, removed);
    system_clock().sleep(Millis(300));
  }
  expect_conserved(0, stream.restored - stream.in_place, list.restored - list.in_place, "after the rollback");
  EXPECT_EQ(server.command({"KEYS", "*quarantine"}).find("deployclaw"), std::string::npos);
}

TEST_F(Conservation, a_message_that_is_acknowledged_between_plan_and_removal_is_gone_and_stays) {
  backlog();
  {
    const std::vector<Traffic> live = traffic();
    let_it_run();
  }
  const auto running = agent();
  const auto proposal = running->plan("t", std::nullopt, "user:test", silent());
  ASSERT_TRUE(proposal.ok()) << proposal.error().message();
  const PlannedQueue& queue = proposal->plan.queues.back();
  ASSERT_EQ(queue.queue.name, "s");
  const std::string id = queue.messages.front().id;
  ASSERT_EQ(call({"XACK", "s", "g", id}).root().integer(), 1);
  const auto record = running->execute_safe_drain(proposal->plan, "user:test", silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  ASSERT_EQ(record->state, "completed") << record->reason;
  EXPECT_EQ(record->record.messages_removed, proposal->plan.total() - 1) << record->stages.front().output;
  EXPECT_EQ(call({"XRANGE", "s", id, id}).root().size(), 1u) << "an acknowledged message was removed";
}

}  // namespace
}  // namespace claw
