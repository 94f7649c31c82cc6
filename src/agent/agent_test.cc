#include "agent/agent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "audit/read.h"
#include "base/disk.h"
#include "testing/fake_broker.h"
#include "testing/sim_clock.h"

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

// A consumer group that works, until the removal; the clock runs only when somebody sleeps.
class Consumers : public AgentLife {
 protected:
  void SetUp() override {
    AgentLife::SetUp();
    world_->with([](testing::FakeWorld& world) {
      testing::FakeWorld::Queue& queue = world.queues.at("q");
      queue.groups = {{.name = "g", .consumers = 1}};
      queue.consumers = {{.group = "g", .name = "c1", .pending = 0, .idle_ms = 10, .stuck = {}}};
    });
  }
  std::unique_ptr<Agent> start(const std::string& tenant, std::function<void(std::string_view)> after_journal = {}) {
    return start_with("notifications: {hook: {kind: webhook, url: \"http://127.0.0.1:1/\"}}\ntenants: {t: " + tenant + "}\n", std::move(after_journal));
  }
  // `rest` of the config: all but the agent and its broker.
  std::unique_ptr<Agent> start_with(const std::string& rest, std::function<void(std::string_view)> after_journal = {}) {
    const std::string text = "agent: {data_dir: \"" + dir_ + "\"}\nbrokers: {b: {kind: redis, url: \"redis://127.0.0.1:1/0\"}}\n" + rest;
    const auto config = parse_config(text, "test.yaml");
    EXPECT_TRUE(config.ok()) << config.error().message();
    auto agent = Agent::open(*config,
                             {.disk = *disk_, .clock = clock_, .random = system_random(),
                              .open_broker = [this](const BrokerConfig& b, Deadline) -> Result<std::unique_ptr<Broker>> {
                                return std::unique_ptr<Broker>(std::make_unique<testing::FakeBroker>(b.name, world_, [this](std::string_view call) { return before_(call); }));
                              },
                              .after_journal = std::move(after_journal)},
                             silent());
    EXPECT_TRUE(agent.ok()) << agent.error().message();
    return std::move(*agent);
  }
  // At every discovery the group has done this much more.
  void work(std::uint64_t acknowledged) {
    before_ = [this, acknowledged](std::string_view call) -> Status {
      if (call == "discover") world_->with([&](testing::FakeWorld& w) { w.queues.at("q").groups[0].acknowledged += acknowledged; });
      return {};
    };
  }
  std::vector<std::string> tick(Agent& agent) {
    std::vector<std::string> events;
    const auto done = agent.tick([&](std::string_view line) { events.emplace_back(line); }, silent());
    EXPECT_TRUE(done.ok()) << done.error().message();
    return events;
  }
  static bool any(const std::vector<std::string>& lines, std::string_view part) {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) { return line.find(part) != std::string::npos; });
  }

  static constexpr const char* kActing = "{queues: [{broker: b, match: q}], skill: aggressive-drain, autonomy: act, sla: {max_backlog: 10}}";
  testing::SimClock clock_;
  Disk* disk_ = &system_disk();
  std::function<Status(std::string_view)> before_ = [](std::string_view) { return Status{}; };
};

TEST_F(Consumers, that_do_nothing_after_a_removal_have_it_put_back_and_somebody_is_told) {
  auto agent = start(kActing);
  const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->state, "rolled_back");
  EXPECT_NE(record->reason.find("1 consumer acknowledged nothing in 30s while 3,800 messages wait; put back: 200"), std::string::npos) << record->reason;
  EXPECT_EQ(record->stages.back().stage, "consumer_recovery");
  EXPECT_TRUE(record->record.compliance_fingerprint.starts_with("sha256:")) << record->record.compliance_fingerprint;
  EXPECT_EQ(record->stages.back().status, StageStatus::failed);
  EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
  EXPECT_EQ(in_quarantine(), 0u);
  const auto notices = agent->store().notices(clock_.now(), 10);
  ASSERT_TRUE(notices.ok());
  ASSERT_EQ(notices->size(), 1u);
  EXPECT_NE(notices->front().body.find("a removal was taken back"), std::string::npos) << notices->front().body;
  const auto again = agent->remediate("t", std::nullopt, "agent", {}, silent());
  EXPECT_NE(again->reason.find("cooling_down"), std::string::npos) << again->reason;
}

TEST_F(Consumers, that_are_gone_after_a_wave_have_it_put_back) {
  world_->with([](testing::FakeWorld& w) { w.queues.at("q").type = QueueType::quorum; });  // of which a broker knows who is connected
  before_ = [this](std::string_view call) -> Status {
    if (call == "remove") world_->with([](testing::FakeWorld& w) { w.queues.at("q").groups[0].consumers = 0; });
    return {};
  };
  auto agent = start(kActing);
  const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->state, "rolled_back") << record->reason;
  EXPECT_NE(record->reason.find("its consumer is not there any more"), std::string::npos) << record->reason;
  EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
}

TEST_F(Consumers, no_recovery_is_put_back_also_when_the_agent_is_cut_off_before) {
  std::string id;
  {
    auto agent = start(kActing, [&](std::string_view step) { if (step == "no-recovery") brake(true); });
    const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    id = record->execution_id;
    EXPECT_EQ(record->state, "held") << record->reason;
    EXPECT_EQ(in_quarantine(), kPoison);
  }
  brake(false);
  auto agent = start(kActing);
  EXPECT_EQ(agent->store().execution(id)->state, "rolled_back");
  EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
}

TEST_F(Consumers, what_was_held_goes_on_by_itself_when_the_broker_is_back) {
  bool down = false;
  auto agent = start(kActing, [&](std::string_view step) { down = down || step == "result-0"; });
  before_ = [&](std::string_view call) -> Status {
    if (down && call != "discover") return make_error(Code::unavailable, "fake", "gone");
    if (call == "discover") world_->with([](testing::FakeWorld& w) { w.queues.at("q").groups[0].acknowledged += 100; });
    return {};
  };
  EXPECT_TRUE(any(tick(*agent), "held"));
  const std::string id = agent->store().executions(1)->front().execution_id;
  tick(*agent);
  clock_.advance(std::chrono::minutes(2));
  EXPECT_TRUE(any(tick(*agent), "held")) << "tried in vain";
  down = false;
  before_ = [&](std::string_view call) -> Status {
    if (call == "discover") world_->with([](testing::FakeWorld& w) { w.queues.at("q").groups[0].acknowledged += 100; });
    return {};
  };
  ASSERT_TRUE(agent->reset_breaker("b", "user:test", "it is back").ok());
  clock_.advance(std::chrono::minutes(1));
  EXPECT_FALSE(any(tick(*agent), id)) << "the pause has doubled";
  clock_.advance(std::chrono::minutes(1));
  EXPECT_TRUE(any(tick(*agent), "completed: finished after it was cut off"));
  EXPECT_EQ(in_quarantine(), kPoison);
  EXPECT_EQ(in_queue(), kMessages - kPoison);
}

TEST_F(Consumers, what_the_brake_stopped_does_not_go_on_by_itself) {
  auto agent = start(kActing, [&](std::string_view step) { if (step == "result-0") brake(true); });
  work(100);
  EXPECT_TRUE(any(tick(*agent), "held"));
  const std::string id = agent->store().executions(1)->front().execution_id;
  const std::size_t moved = in_quarantine();
  EXPECT_LT(moved, kPoison);
  brake(false);
  for (int i = 0; i < 5; ++i) {
    clock_.advance(std::chrono::minutes(10));
    tick(*agent);
  }
  EXPECT_EQ(in_quarantine(), moved);
  EXPECT_EQ(agent->store().execution(id)->state, "held");
  EXPECT_EQ(agent->rollback(rollback_key_of(id), "user:test", silent())->outcome.restored, moved);
}

TEST_F(Consumers, that_work_are_told_when_their_backlog_will_be_gone_and_later_whether_it_was) {
  work(100);
  auto agent = start(kActing);
  before_ = [this](std::string_view call) -> Status {
    if (call == "discover" && in_quarantine() > 0)  // after the removal 100 a look go
      world_->with([](testing::FakeWorld& w) {
        testing::FakeWorld::Queue& q = w.queues.at("q");
        q.groups[0].acknowledged += 100;
        for (int i = 0; i < 100 && !q.entries.empty(); ++i) q.entries.pop_front();
      });
    return {};
  };
  EXPECT_TRUE(any(tick(*agent), "completed"));
  std::vector<std::string> events;
  for (int i = 0; i < 100 && !any(events, "Backlog gone after"); ++i) {
    clock_.advance(Millis(1'000));
    events = tick(*agent);
  }
  ASSERT_TRUE(any(events, "Backlog gone after"));
  const auto records = agent->store().executions(5);
  const std::string& words = records->front().stages.back().output;
  EXPECT_NE(words.find("Full recovery expected in"), std::string::npos) << words;
  EXPECT_NE(words.find("were expected ("), std::string::npos) << words;
}

TEST_F(Consumers, a_skill_that_waits_for_its_trigger_does_nothing_before) {
  auto agent = start("{queues: [{broker: b, match: q}], skill: quarantine-poison, autonomy: act, sla: {max_backlog: 10}}");
  work(100);
  EXPECT_FALSE(any(tick(*agent), "queue_remediation"));
  clock_.advance(Millis(59'000));
  EXPECT_FALSE(any(tick(*agent), "queue_remediation"));
  clock_.advance(Millis(1'000));
  const MonoTime start = clock_.mono();
  EXPECT_TRUE(any(tick(*agent), "completed"));
  EXPECT_GE(clock_.mono() - start, Millis(5'000 + 5'000)) << "it looks twice, and rests after the canary";
  EXPECT_EQ(in_quarantine(), kPoison);
}

TEST_F(Consumers, a_burst_that_ends_between_two_looks_is_left_alone) {
  auto agent = start("{queues: [{broker: b, match: q}], skill: quarantine-poison, autonomy: act, sla: {max_backlog: 4000}}");
  world_->with([](testing::FakeWorld& world) {
    for (int i = 0; i < 10; ++i) world.add("q", "{}");
  });
  tick(*agent);
  clock_.advance(Millis(60'000));
  int looks = 0;
  before_ = [&](std::string_view call) -> Status {
    if (call == "discover" && ++looks == 3)  // the tick's own, the execution's first, and now its second
      world_->with([](testing::FakeWorld& w) { w.queues.at("q").entries.erase(w.queues.at("q").entries.begin() + 10, w.queues.at("q").entries.begin() + 30); });
    return {};
  };
  const auto events = tick(*agent);
  EXPECT_TRUE(any(events, "no SLA is breached any more")) << (events.empty() ? "" : events.front());
  EXPECT_EQ(in_quarantine(), 0u);
}

TEST_F(AgentLife, a_plan_of_a_tenant_that_a_pattern_found_is_carried_out) {
  const std::string text = "agent: {data_dir: \"" + dir_ + "\"}\nbrokers: {b: {kind: redis, url: \"redis://127.0.0.1:1/0\"}}\n"
                           "profiles: {p: {skill: aggressive-drain, sla: {max_backlog: 10}}}\ntenant_patterns: [{broker: b, match: \"{tenant}:work\", like: p}]\n";
  world_->with([](testing::FakeWorld& world) { world.queues["acme:work"] = world.queues.at("q"); });
  const auto config = parse_config(text, "test.yaml");
  ASSERT_TRUE(config.ok()) << config.error().message();
  auto agent = Agent::open(*config, {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                                     .open_broker = [this](const BrokerConfig& b, Deadline) { return Result<std::unique_ptr<Broker>>(std::make_unique<testing::FakeBroker>(b.name, world_)); }}, silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  const auto proposal = (*agent)->plan("acme", std::nullopt, "user:test", silent());
  ASSERT_TRUE(proposal.ok()) << proposal.error().message();
  const auto record = (*agent)->execute_safe_drain(proposal->plan, "user:test", silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->state, "completed") << record->reason;
  EXPECT_EQ(record->record.messages_removed, kPoison);
}

// A real disk, of which some answers are not.
class SpoiledDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open_append(const std::string& path, Mode mode) override { return system_disk().open_append(path, mode); }
  Result<std::unique_ptr<File>> open_read(const std::string& path) override { return system_disk().open_read(path); }
  Result<std::unique_ptr<File>> open_scratch(const std::string& dir) override { return system_disk().open_scratch(dir); }
  Result<bool> exists(const std::string& path) override {
    if (brake_unreadable && path.ends_with("/brake")) return make_error(Code::denied, path, "I/O error");
    return system_disk().exists(path);
  }
  Status rename(const std::string& from, const std::string& to) override { return system_disk().rename(from, to); }
  Status remove(const std::string& path) override { return system_disk().remove(path); }
  Status make_dirs(const std::string& path) override { return system_disk().make_dirs(path); }
  Status sync_dir(const std::string& path) override { return system_disk().sync_dir(path); }
  Result<std::vector<std::string>> list(const std::string& path) override { return system_disk().list(path); }
  Result<std::uint64_t> free_bytes(const std::string& path) override { return full ? Result<std::uint64_t>(10) : system_disk().free_bytes(path); }
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override { return system_disk().lock(path); }

  bool brake_unreadable = false;
  bool full = false;
};

// Everything that must be refused: by its name, with nothing touched, and in the audit log.
class Refused : public Consumers {
 protected:
  void SetUp() override {
    Consumers::SetUp();
    disk_ = &spoiled_;
  }
  std::unique_ptr<Agent> open_agent(const std::string& more = "", std::function<void(std::string_view)> after_journal = {}) {
    return start("{queues: [{broker: b, match: q}], skill: aggressive-drain, sla: {max_backlog: 10}" + more + "}", std::move(after_journal));
  }
  void expect_audited(Agent& agent, const std::string& refusal) {
    ASSERT_TRUE(agent.audit().checkpoint().ok());
    const auto entries = read_entries(system_disk(), dir_ + "/audit", 0, UINT64_MAX);
    ASSERT_TRUE(entries.ok()) << entries.error().message();
    const std::string& last = entries->back().bytes;
    EXPECT_NE(last.find("\"refusal\":\"" + refusal + '"'), std::string::npos) << last;
    EXPECT_NE(last.find("\"reason\":\""), std::string::npos) << last;
    EXPECT_EQ(in_quarantine(), 0u);
    EXPECT_EQ(in_queue(), static_cast<std::size_t>(kMessages));
  }
  void expect_refused(Agent& agent, const Result<ExecutionRecord>& record, const std::string& refusal) {
    ASSERT_TRUE(record.ok()) << record.error().message();
    EXPECT_EQ(record->state, "refused");
    EXPECT_TRUE(record->reason.starts_with(refusal + ": ")) << record->reason;
    expect_audited(agent, refusal);
  }

  SpoiledDisk spoiled_;
};

TEST_F(Refused, self_approval_and_stale_approval) {
  auto agent = open_agent();
  const auto proposal = agent->plan("t", std::nullopt, "user:ada", silent());
  ASSERT_TRUE(proposal.ok());
  const Status own = agent->approve(proposal->hash, "user:ada", "mine");
  ASSERT_FALSE(own.ok());
  EXPECT_NE(own.error().message().find("self_approval"), std::string::npos) << own.error().message();
  expect_audited(*agent, "self_approval");
  ASSERT_TRUE(agent->approve(proposal->hash, "user:bob", "seen").ok());
  clock_.advance(std::chrono::minutes(16));
  expect_refused(*agent, agent->execute_safe_drain(proposal->plan, "agent", silent()), "plan_expired");
  const auto second = agent->plan("t", std::nullopt, "user:ada", silent());
  clock_.advance(std::chrono::minutes(16));
  const Status late = agent->approve(second->hash, "user:bob", "late");
  ASSERT_FALSE(late.ok());
  EXPECT_NE(late.error().message().find("plan_expired"), std::string::npos) << late.error().message();
  expect_audited(*agent, "plan_expired");
}

TEST_F(Refused, a_plan_without_approval_and_one_that_was_edited) {
  auto agent = open_agent();
  const auto proposal = agent->plan("t", std::nullopt, "agent", silent());
  ASSERT_TRUE(proposal.ok());
  expect_refused(*agent, agent->execute_safe_drain(proposal->plan, "agent", silent()), "needs_approval");
  Plan edited = proposal->plan;
  edited.queues[0].messages.pop_back();
  expect_refused(*agent, agent->execute_safe_drain(edited, "user:ada", silent()), "foreign_plan");
}

TEST_F(Refused, a_second_execution_while_the_first_is_not_finished) {
  auto agent = open_agent("", [&](std::string_view step) { if (step == "intent-0") brake(true); });
  ASSERT_EQ(agent->remediate("t", std::nullopt, "user:ada", {}, silent())->state, "held");
  brake(false);
  expect_refused(*agent, agent->remediate("t", std::nullopt, "user:ada", {}, silent()), "other_execution");
}

TEST_F(Refused, what_goes_beyond_the_budget) {
  world_->with([](testing::FakeWorld& world) {  // a tenth and more of the queue
    auto& entries = world.queues.at("q").entries;
    for (std::size_t i = 0; i < entries.size(); i += 8) entries[i] = {{.id = entries[i].message.id, .key = entries[i].message.key, .fields = {{"", R"({"transaction_id": )" + std::to_string(i) + "x}"}}, .groups = {}},
                                                                       {.pending = 1, .attempts = 3, .idle_ms = 600'000}};
  });
  auto agent = open_agent();
  expect_refused(*agent, agent->remediate("t", std::nullopt, "user:ada", {}, silent()), "over_blast_radius");
}

TEST_F(Refused, a_broker_whose_breaker_is_open) {
  auto agent = open_agent(", autonomy: act");
  const auto plan = agent->plan("t", std::nullopt, "user:ada", silent());
  before_ = [](std::string_view) -> Status { return make_error(Code::unavailable, "fake", "gone"); };
  for (int i = 0; i < 10; ++i) static_cast<void>(agent->topology().ok());
  ASSERT_EQ(agent->breakers()->front().state, "open");
  before_ = [](std::string_view) { return Status{}; };
  expect_refused(*agent, agent->remediate("t", std::nullopt, "agent", {}, silent()), "breaker_open");
  expect_refused(*agent, agent->execute_safe_drain(plan->plan, "user:ada", silent()), "breaker_open");
}

TEST_F(Refused, under_a_brake_that_cannot_be_read) {
  auto agent = open_agent();
  const auto plan = agent->plan("t", std::nullopt, "user:ada", silent());
  ASSERT_TRUE(plan.ok());
  spoiled_.brake_unreadable = true;
  expect_refused(*agent, agent->remediate("t", std::nullopt, "user:ada", {}, silent()), "brake_on");
  expect_refused(*agent, agent->execute_safe_drain(plan->plan, "user:ada", silent()), "brake_on");
}

TEST_F(Refused, without_room_for_the_snapshot) {
  auto agent = open_agent();
  spoiled_.full = true;
  expect_refused(*agent, agent->remediate("t", std::nullopt, "user:ada", {}, silent()), "disk_room");
}

// What may be restarted is the operator's own list, and each run of it is in the audit log before and after.
class Restarts : public Consumers {
 protected:
  std::unique_ptr<Agent> open_agent() {
    return start_with("tenants: {t: {queues: [{broker: b, match: q}]}, -t: {queues: [{broker: b, match: r}]}}\n"
                      "restarts:\n  work: {command: [/bin/sh, -c, 'echo \"$0\" >> " + dir_ + "/ran', 'worker@{tenant};{tenant}']}\n  fails: {command: [/bin/false], timeout: 5s}\n  gone: {command: [/no/such/program]}\n");
  }
  std::string ran() const {
    std::ifstream file(dir_ + "/ran");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string last_record(Agent& agent) const {
    EXPECT_TRUE(agent.audit().checkpoint().ok());
    return read_entries(system_disk(), dir_ + "/audit", 0, UINT64_MAX)->back().bytes;
  }
};

TEST_F(Restarts, run_what_the_operator_wrote_once_a_minute_and_say_so_in_the_log) {
  auto agent = open_agent();
  const auto report = agent->restart("t", "work", "user:ada", "stalled for an hour");
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_TRUE(report->exit.good());
  EXPECT_EQ(ran(), "worker@t;t\n");
  const std::string record = last_record(*agent);
  for (const char* part : {R"("phase":"result")", R"("status":0)", R"("output":"sha256:)", R"("actor":"user:ada")", R"("reason":"stalled for an hour")", R"(worker@t;t)"}) EXPECT_NE(record.find(part), std::string::npos) << part << record;
  EXPECT_EQ(agent->restart("t", "work", "user:ada", "again").error().code, Code::refused);
  EXPECT_NE(last_record(*agent).find("refusal"), std::string::npos);
  clock_.advance(Millis(60'000));
  EXPECT_TRUE(agent->restart("t", "work", "user:ada", "again").ok());
  EXPECT_EQ(ran(), "worker@t;t\nworker@t;t\n");
}

TEST_F(Restarts, nothing_else_is_run) {
  auto agent = open_agent();
  EXPECT_EQ(agent->restart("t", "nothing", "user:ada", "why").error().code, Code::not_found);
  EXPECT_EQ(agent->restart("t; touch x", "work", "user:ada", "why").error().code, Code::not_found);
  EXPECT_EQ(agent->restart("-t", "work", "user:ada", "why").error().code, Code::refused) << "it would be taken for an option";
  EXPECT_EQ(agent->restart("t", "fails", "user:ada", "why")->exit.status, 1);
  EXPECT_EQ(agent->restart("t", "gone", "user:ada", "why").error().code, Code::not_found);
  EXPECT_NE(last_record(*agent).find("\"error\""), std::string::npos);
  brake(true);
  EXPECT_EQ(agent->restart("t", "work", "user:ada", "why").error().code, Code::refused);
  EXPECT_EQ(ran(), "");
}

}  // namespace
}  // namespace claw
