// The brake, hundreds of times, while the agent removes and puts back.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <thread>

#include "agent/agent.h"
#include "agent/brake.h"
#include "base/guarded.h"
#include "testing/fake_broker.h"
#include "testing/sim_clock.h"

namespace claw {
namespace {

// The brake goes on at a random moment of an execution or of its rollback: no change begins later than a second after it. More
// than that, because a run is short: of all that was still to be done at most the one step under way is, in every trial.
TEST(Brake, at_a_random_time_stops_every_change_within_a_second) {
  const char* wanted = std::getenv("CLAW_BRAKE_TRIALS");  // the acceptance runs 1,000
  const int trials = wanted == nullptr ? 200 : std::atoi(wanted);
  std::string dir = (std::filesystem::temp_directory_path() / "claw-brake-XXXXXX").string();
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  const auto world = std::make_shared<Guarded<testing::FakeWorld>>();
  constexpr int kMessages = 1'600;
  std::mt19937 random(20'261'128);
  std::atomic<std::int64_t> braked_at{0};
  const auto micros = [] { return std::chrono::duration_cast<Micros>(system_clock().mono().time_since_epoch()).count(); };
  int late = 0, stopped = 0;
  std::atomic<int> begun_after{0};
  std::int64_t latest = 0;
  world->with([](testing::FakeWorld& filled) {
    for (int i = 0; i < kMessages; ++i) filled.add("q", i % 20 == 7 ? R"({"transaction_id": )" + std::to_string(i) + "x}" : R"({"transaction_id":")" + std::to_string(i) + R"("})",
                                            i % 20 == 7 ? Evidence{.pending = 1, .attempts = 3, .idle_ms = 600'000} : Evidence{.passed = 1});
  });
  const testing::FakeWorld fresh = world->with([](testing::FakeWorld& filled) { return filled; });
  const auto before = [&](std::string_view call) -> Status {
    const std::int64_t at = braked_at.load(), now = micros();
    if ((call == "remove" || call == "restore" || call == "quarantine_again") && at != 0 && now > at) {
      ++begun_after;
      latest = std::max(latest, now - at);
      late += now - at > 1'000'000 ? 1 : 0;
    }
    return {};
  };
  testing::SimClock clock;  // the agent's own pauses cost nothing; the brake and the calls are timed by the real one
  const std::string text = "agent: {data_dir: \"" + dir + "\"}\nbrokers: {b: {kind: redis, url: \"redis://127.0.0.1:1/0\"}}\n"
                           "tenants: {t: {queues: [{broker: b, match: q}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
  auto opened = Agent::open(*parse_config(text, "test.yaml"),
                            {.disk = system_disk(), .clock = clock, .random = system_random(),
                             .open_broker = [&](const BrokerConfig& b, Deadline) { return Result<std::unique_ptr<Broker>>(std::make_unique<testing::FakeBroker>(b.name, world, before)); }},
                            silent());
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const auto& agent = *opened;
  std::int64_t whole = 0;  // of an execution and its rollback, when nobody brakes
  for (int i = 0; i < 3; ++i) {
    const std::int64_t begun = micros();
    const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(record.ok()) << record.error().message();
    ASSERT_EQ(record->state, "completed") << record->reason;
    const auto back = agent->rollback(record->record.rollback_key, "user:test", silent());
    ASSERT_TRUE(back.ok()) << back.error().message();
    whole = std::max(whole, micros() - begun);
  }
  for (int trial = 0; trial < trials; ++trial) {
    world->with([&](testing::FakeWorld& old) { old = fresh; });
    std::size_t quarantined = 0;  // when the brake was on
    begun_after = 0;
    const auto wait = Micros(static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(whole)));
    std::jthread hand([&] {
      std::this_thread::sleep_for(wait);
      ASSERT_TRUE(set_brake(system_disk(), dir, true).ok());
      braked_at = micros();
      quarantined = world->with([](testing::FakeWorld& w) { return w.queues.at("q").quarantine.size(); });
    });
    const auto record = agent->remediate("t", std::nullopt, "user:test", {}, silent());
    if (record.ok() && record->state == "completed") {
      const bool back = agent->rollback(record->record.rollback_key, "user:test", silent()).ok();
      stopped += back ? 0 : 1;
    } else {
      ++stopped;
    }
    hand.join();
    ASSERT_LE(begun_after, 1) << "trial " << trial;
    const std::size_t left = world->with([](testing::FakeWorld& w) { return w.queues.at("q").quarantine.size(); });
    ASSERT_LE(quarantined, left + 1) << "trial " << trial << ": put back after the brake";
    const std::size_t held = world->with([](testing::FakeWorld& w) { return w.queues.at("q").entries.size() + w.queues.at("q").quarantine.size(); });
    ASSERT_EQ(held, static_cast<std::size_t>(kMessages)) << "trial " << trial;
    ASSERT_TRUE(set_brake(system_disk(), dir, false).ok());
    braked_at = 0;
    const auto unfinished = agent->store().unfinished();  // for the next trial it is as if a person had settled it
    for (const std::string& id : *unfinished) {
      auto open = *agent->store().execution(id);
      open.state = "failed";
      ASSERT_TRUE(agent->store().save_execution(open).ok());
    }
  }
  std::printf("%d of %d trials were cut off; the latest change began %lld us after the brake\n", stopped, trials, static_cast<long long>(latest));
  EXPECT_EQ(late, 0) << "latest after " << latest << " us";
  EXPECT_GT(stopped, trials / 5) << "a brake that never interrupts shows nothing";
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace claw
