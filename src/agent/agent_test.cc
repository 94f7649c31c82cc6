#include "agent/agent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/disk.h"
#include "testing/fake_broker.h"

namespace claw {
namespace {

constexpr int kMessages = 4'000;
constexpr std::size_t kPoison = kMessages / 20;
bool is_poison(int i) { return i % 20 == 7; }

// One agent's life on a world in memory, its state on a real disk.
class AgentLife : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "claw-agent-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    world_->with([](testing::FakeWorld& world) {
      for (int i = 0; i < kMessages; ++i) {
        const std::string id = std::to_string(i);
        Evidence evidence;
        if (is_poison(i)) evidence = {.pending = 1, .attempts = 3, .idle_ms = 600'000};
        else evidence.passed = 1;
        world.add("q", is_poison(i) ? R"({"transaction_id": )" + id + "x}" : R"({"transaction_id":")" + id + R"("})", evidence);
      }
    });
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  Result<std::unique_ptr<Agent>> open(std::function<void(std::string_view)> after_journal = {}) {
    const std::string text = "agent: {data_dir: \"" + dir_ + "\"}\nbrokers: {b: {kind: redis, url: \"redis://127.0.0.1:1/0\"}}\n"
                             "tenants: {t: {queues: [{broker: b, match: q}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
    CLAW_TRY_ASSIGN(const Config config, parse_config(text, "test.yaml"));
    return Agent::open(config,
                       {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                        .open_broker = [this](const BrokerConfig& b, Deadline) -> Result<std::unique_ptr<Broker>> {
                          ++opened_;
                          if (down_) return make_error(Code::unavailable, "connect", "nobody listens");
                          return std::unique_ptr<Broker>(std::make_unique<testing::FakeBroker>(b.name, world_));
                        },
                        .after_journal = std::move(after_journal)},
                       silent());
  }
  void brake(bool on) {
    if (on) std::ofstream(dir_ + "/brake") << "";
    else std::filesystem::remove(dir_ + "/brake");
  }
  std::size_t in_queue() { return world_->with([](testing::FakeWorld& w) { return w.queues.at("q").entries.size(); }); }
  std::size_t in_quarantine() { return world_->with([](testing::FakeWorld& w) { return w.queues.at("q").quarantine.size(); }); }

  std::string dir_;
  std::shared_ptr<Guarded<testing::FakeWorld>> world_ = std::make_shared<Guarded<testing::FakeWorld>>();
  bool down_ = false;
  int opened_ = 0;
};

TEST_F(AgentLife, an_execution_that_cannot_be_finished_yet_is_held_and_the_agent_starts) {
  std::string id;
  {
    auto agent = open([&](std::string_view step) { if (step == "intent-0") brake(true); });
    ASSERT_TRUE(agent.ok()) << agent.error().message();
    const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    ASSERT_EQ(record->state, "held") << record->reason;
    id = record->execution_id;
    brake(false);
    const auto second = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(second.ok()) << second.error().message();
    EXPECT_EQ(second->state, "refused");
    EXPECT_NE(second->reason.find("other_execution"), std::string::npos) << second->reason;
  }
  EXPECT_EQ(in_quarantine(), 0u);
  down_ = true;
  {
    auto agent = open();
    ASSERT_TRUE(agent.ok()) << agent.error().message();
    const auto record = (*agent)->store().execution(id);
    ASSERT_TRUE(record.ok());
    EXPECT_EQ(record->state, "held");
    EXPECT_NE(record->reason.find("nobody listens"), std::string::npos) << record->reason;
  }
  down_ = false;
  auto agent = open();
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  EXPECT_EQ((*agent)->store().execution(id)->state, "completed");
  EXPECT_EQ(in_quarantine(), kPoison);
  EXPECT_EQ(in_queue(), kMessages - kPoison);
  EXPECT_EQ((*agent)->rollback(rollback_key_of(id), "user:test", silent())->outcome.restored, kPoison);
  EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
}

TEST_F(AgentLife, an_execution_whose_snapshot_is_lost_is_held_and_touches_nothing) {
  std::string id;
  {
    auto agent = open([&](std::string_view step) { if (step == "intent-0") brake(true); });
    ASSERT_TRUE(agent.ok());
    id = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent())->execution_id;
  }
  brake(false);
  int lost = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_ + "/vault"))
    if (entry.is_regular_file() && entry.path().string().find(id) != std::string::npos) lost += std::filesystem::remove(entry.path()) ? 1 : 0;
  ASSERT_GT(lost, 0);
  auto agent = open();
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  EXPECT_EQ((*agent)->store().execution(id)->state, "held");
  EXPECT_EQ(opened_, 1) << "nobody was asked before the snapshot was missed";
  EXPECT_EQ(in_quarantine(), 0u);
  EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
}

TEST_F(AgentLife, an_execution_cut_off_before_its_first_removal_is_failed_and_said) {
  std::string id;
  {
    auto agent = open([&](std::string_view step) { if (step == "open") brake(true); });
    ASSERT_TRUE(agent.ok());
    id = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent())->execution_id;
  }
  brake(false);
  auto agent = open();
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  EXPECT_EQ((*agent)->store().execution(id)->state, "failed");
  EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
}

TEST_F(AgentLife, a_second_agent_on_the_same_data_directory_is_a_conflict) {
  auto first = open();
  ASSERT_TRUE(first.ok());
  const auto second = open();
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::conflict);
}

TEST_F(AgentLife, a_plan_that_was_applied_is_not_applied_again) {
  auto agent = open();
  ASSERT_TRUE(agent.ok());
  const auto proposal = (*agent)->plan("t", std::nullopt, "user:test", silent());
  ASSERT_TRUE(proposal.ok());
  ASSERT_EQ((*agent)->execute_safe_drain(proposal->plan, "user:test", silent())->state, "completed");
  const auto again = (*agent)->execute_safe_drain(proposal->plan, "user:test", silent());
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Code::conflict);
  EXPECT_EQ(in_quarantine(), kPoison);
}

TEST_F(AgentLife, what_was_rolled_back_in_its_old_place_may_be_planned_and_applied_again) {
  auto agent = open();
  ASSERT_TRUE(agent.ok());
  std::set<std::string> hashes;
  for (int i = 0; i < 2; ++i) {
    const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    EXPECT_EQ(record->record.messages_removed, kPoison) << record->reason;
    hashes.insert(record->plan_hash);
    ASSERT_EQ((*agent)->rollback(record->record.rollback_key, "user:test", silent())->outcome.restored, kPoison);
    EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
  }
}

TEST_F(AgentLife, a_damaged_state_file_stops_the_start_and_names_it) {
  { ASSERT_TRUE(open().ok()); }
  std::ofstream(dir_ + "/state.db", std::ios::binary | std::ios::trunc) << std::string(8'192, 'x');
  const auto agent = open();
  ASSERT_FALSE(agent.ok());
  EXPECT_EQ(agent.error().code, Code::corrupt) << agent.error().message();
  EXPECT_NE(agent.error().message().find("state.db"), std::string::npos);
}

TEST_F(AgentLife, a_brake_that_is_a_directory_is_on) {
  std::filesystem::create_directory(dir_ + "/brake");
  auto agent = open();
  ASSERT_TRUE(agent.ok());
  const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
  EXPECT_TRUE(!record.ok() || record->state == "refused");
  EXPECT_EQ(in_quarantine(), 0u);
}

TEST_F(AgentLife, a_label_outlasts_the_agent_and_stops_what_it_says_is_not_poison) {
  std::string finding;
  {
    auto agent = open();
    ASSERT_TRUE(agent.ok()) << agent.error().message();
    const auto seen = (*agent)->detect_poison_messages({.tenant = "t", .queue = {}}, silent());
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    ASSERT_GT(seen->findings.at(0).lower_bound, 0.95);
    finding = seen->findings[0].signature.id() + "-t";
    EXPECT_EQ((*agent)->label("no-such", Said::poison, "user:ada", "why").error().code, Code::not_found);
    const std::uint64_t before = (*agent)->audit().size();
    ASSERT_TRUE((*agent)->label(finding, Said::not_poison, "user:ada", "the consumer is being fixed").ok());
    EXPECT_EQ((*agent)->audit().size(), before + 1);
  }
  auto agent = open();
  const auto refused = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(refused.ok()) << refused.error().message();
  EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
  EXPECT_EQ(in_quarantine(), 0u);
  const auto seen = (*agent)->detect_poison_messages({.tenant = "t", .queue = {}}, silent());
  EXPECT_NE(seen->findings.at(0).explanation.find("user:ada labelled it not poison"), std::string::npos) << seen->findings[0].explanation;
  ASSERT_TRUE((*agent)->label(finding, Said::none, "user:ada", "fixed").ok());
  const auto done = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(in_quarantine(), kPoison);
}

// Two brokers of one tenant and one of another: what happens to the rest while c is ill.
class TwoBrokers : public AgentLife {
 protected:
  std::unique_ptr<Agent> open_two() {
    const std::string text = "agent: {data_dir: \"" + dir_ + "\"}\nbrokers:\n  b: {kind: redis, url: \"redis://127.0.0.1:1/0\"}\n  c: {kind: redis, url: \"redis://127.0.0.1:1/0\"}\n"
                             "tenants:\n  t: {queues: [{broker: b, match: q}, {broker: c, match: r}], skill: aggressive-drain, autonomy: act, sla: {max_backlog: 10}}\n"
                             "  u: {queues: [{broker: c, match: s}], sla: {max_backlog: 10}}\n";
    const auto config = parse_config(text, "test.yaml");
    EXPECT_TRUE(config.ok()) << config.error().message();
    auto agent = Agent::open(*config,
                             {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                              .open_broker = [this](const BrokerConfig& b, Deadline) -> Result<std::unique_ptr<Broker>> {
                                if (b.name == "b") return std::unique_ptr<Broker>(std::make_unique<testing::FakeBroker>(b.name, world_));
                                return open_c();
                              },
                              .evaluated = [this](const Topology&, const Health& health) { health_ = health; }},
                             silent());
    EXPECT_TRUE(agent.ok()) << agent.error().message();
    return std::move(*agent);
  }
  static std::set<std::string> names(const Health& health) {
    std::set<std::string> out;
    for (const TenantHealth& t : health.tenants)
      if (t.backlog > 0) out.insert(t.id);
    return out;
  }

  std::function<Result<std::unique_ptr<Broker>>()> open_c = [] { return Result<std::unique_ptr<Broker>>(make_error(Code::unavailable, "connect", "nobody listens")); };
  Health health_;
};

TEST_F(TwoBrokers, a_dead_one_is_named_and_the_other_is_remediated_all_the_same) {
  const auto agent = open_two();
  std::vector<std::string> events;
  const auto done = agent->tick([&](std::string_view line) { events.emplace_back(line); }, silent());
  ASSERT_TRUE(done.ok()) << done.error().message();
  ASSERT_EQ(done->size(), 1u);
  EXPECT_EQ(done->front().state, "completed") << done->front().reason;
  EXPECT_NE(done->front().stages.at(0).output.find("c could not be asked and is left out: nobody listens"), std::string::npos) << done->front().stages[0].output;
  EXPECT_EQ(in_quarantine(), kPoison);
  ASSERT_EQ(health_.troubles.size(), 1u);
  EXPECT_EQ(health_.troubles[0].broker, "c");
  ASSERT_TRUE(agent->tick([&](std::string_view line) { events.emplace_back(line); }, silent()).ok());
  EXPECT_EQ(std::count_if(events.begin(), events.end(), [](const std::string& line) { return line.starts_with("c: "); }), 1) << "said once";
}

TEST_F(TwoBrokers, a_slow_one_delays_nobody_and_its_answer_is_taken_in_when_it_comes) {
  auto slow_world = std::make_shared<Guarded<testing::FakeWorld>>();
  slow_world->with([](testing::FakeWorld& world) {
    for (int i = 0; i < 20; ++i) world.add("s", "{}");
  });
  std::atomic<int> asked = 0;
  open_c = [&] {
    return Result<std::unique_ptr<Broker>>(std::make_unique<testing::FakeBroker>("c", slow_world, [&](std::string_view) {
      if (asked++ == 0) std::this_thread::sleep_for(Millis(4'000));
      return Status{};
    }));
  };
  const auto agent = open_two();
  const MonoTime start = system_clock().mono();
  ASSERT_TRUE(agent->tick([](std::string_view) {}, silent()).ok());
  EXPECT_EQ(names(health_), std::set<std::string>{"t"});
  EXPECT_EQ(in_quarantine(), kPoison) << "removed from b while c was silent";
  ASSERT_EQ(health_.troubles.size(), 1u);
  EXPECT_NE(health_.troubles[0].error.message().find("has not answered for"), std::string::npos) << health_.troubles[0].error.message();
  while (!names(health_).contains("u") && system_clock().mono() - start < Millis(20'000)) ASSERT_TRUE(agent->tick([](std::string_view) {}, silent()).ok());
  EXPECT_EQ(names(health_), (std::set<std::string>{"t", "u"}));
}

}  // namespace
}  // namespace claw
