#include "agent/guarded_broker.h"

#include <gtest/gtest.h>

#include "testing/fake_broker.h"
#include "testing/sim_clock.h"

namespace claw {
namespace {

using testing::FakeBroker;
using testing::FakeWorld;

class Guarded : public ::testing::Test {
 protected:
  void SetUp() override {
    world_->with([](FakeWorld& world) {
      world.queues["q"].tenant = "t";
      world.add("q", "{}");
    });
    auto broker = guard("b", guards(), breaker_, deadline());
    ASSERT_TRUE(broker.ok());
    broker_ = std::move(*broker);
  }

  BrokerGuards guards() {
    return {.clock = clock_, .random = system_random(), .brake_on = [this] { return brake_; }, .open = [this](Deadline) -> Result<std::unique_ptr<Broker>> {
              ++opened_;
              return std::unique_ptr<Broker>(std::make_unique<FakeBroker>("b", world_, [this](std::string_view call) -> Status {
                calls_.emplace_back(call);
                if (failures_ <= 0) return {};
                --failures_;
                return make_error(failure_, std::string(call), "made to fail");
              }));
            }};
  }
  Deadline deadline() { return Deadline::in(clock_, Millis(600'000)); }
  Result<std::vector<QueueView>> discover() {
    const std::vector<Claim> claims = {{"t", {.broker = "b", .match = "q"}}};
    return broker_->discover(claims, deadline());
  }
  Result<std::vector<Removal>> remove() {
    const PlannedQueue queue{.queue = {"b", "q"}, .quarantine = "q:quarantine"};
    return broker_->remove({.queue = queue, .messages = {}, .execution_id = "e"}, deadline());
  }

  testing::SimClock clock_;
  std::shared_ptr<claw::Guarded<FakeWorld>> world_ = std::make_shared<claw::Guarded<FakeWorld>>();
  Breaker breaker_;
  bool brake_ = false;
  int failures_ = 0;
  Code failure_ = Code::unavailable;
  int opened_ = 0;
  std::vector<std::string> calls_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(Guarded, the_brake_stops_every_call_before_the_broker_hears_of_it) {
  brake_ = true;
  EXPECT_EQ(discover().error().code, Code::refused);
  EXPECT_EQ(remove().error().code, Code::refused);
  EXPECT_TRUE(calls_.empty());
}

TEST_F(Guarded, a_read_is_tried_again_on_a_fresh_connection) {
  failures_ = 2;
  EXPECT_TRUE(discover().ok());
  EXPECT_EQ(calls_.size(), 3u);
  EXPECT_EQ(opened_, 3);
}

TEST_F(Guarded, a_read_is_tried_three_times_and_no_more) {
  failures_ = 100;
  EXPECT_EQ(discover().error().code, Code::unavailable);
  EXPECT_EQ(calls_.size(), 3u);
}

TEST_F(Guarded, a_refusal_by_the_broker_is_not_tried_again_and_says_nothing_of_its_health) {
  failures_ = 100;
  failure_ = Code::denied;
  for (int i = 0; i < 30; ++i) EXPECT_EQ(discover().error().code, Code::denied);
  EXPECT_EQ(calls_.size(), 30u);
  EXPECT_EQ(breaker_.openings(), 0u);
}

TEST_F(Guarded, a_change_is_never_repeated) {
  failures_ = 1;
  failure_ = Code::outcome_unknown;
  EXPECT_EQ(remove().error().code, Code::outcome_unknown);
  EXPECT_EQ(calls_.size(), 1u);
}

TEST_F(Guarded, an_open_breaker_asks_nothing_and_half_open_lets_only_reads_through) {
  failures_ = 21;
  for (int i = 0; i < 7; ++i) EXPECT_FALSE(discover().ok());
  const std::size_t heard = calls_.size();
  EXPECT_EQ(discover().error().code, Code::unavailable);
  EXPECT_EQ(calls_.size(), heard) << "an open breaker lets nothing through";
  clock_.advance(Millis(120'000));
  failures_ = 0;
  EXPECT_EQ(remove().error().code, Code::unavailable) << "a change is no probe";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(discover().ok());
  EXPECT_TRUE(remove().ok());
}

}  // namespace
}  // namespace claw
