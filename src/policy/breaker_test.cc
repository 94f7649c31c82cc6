#include "policy/breaker.h"

#include <gtest/gtest.h>

#include "testing/sim_clock.h"

namespace claw {
namespace {

using State = Breaker::State;

struct Bench {
  testing::SimClock clock;
  Breaker breaker;
  void calls(int count, bool succeeded, Millis took = Millis(5)) {
    for (int i = 0; i < count; ++i) breaker.report(clock.mono(), succeeded, took);
  }
  State state() const { return breaker.state(clock.mono()); }
};

TEST(Breaker, stays_closed_while_there_is_too_little_to_tell) {
  Bench b;
  b.calls(19, false);
  EXPECT_EQ(b.state(), State::closed);
  b.calls(1, false);
  EXPECT_EQ(b.state(), State::open);
}

TEST(Breaker, opens_at_a_tenth_of_failures_and_not_below) {
  Bench b;
  b.calls(91, true);
  b.calls(9, false);
  EXPECT_EQ(b.state(), State::closed);
  b.calls(1, false);
  EXPECT_EQ(b.state(), State::open);
  EXPECT_FALSE(b.breaker.allows(b.clock.mono(), true));
  EXPECT_NE(b.breaker.words(b.clock.mono()).find("10 of 100 calls failed"), std::string::npos) << b.breaker.words(b.clock.mono());
}

TEST(Breaker, opens_when_half_of_the_calls_are_slow) {
  Bench b;
  b.calls(10, true);
  b.calls(9, true, Millis(2'001));
  EXPECT_EQ(b.state(), State::closed);
  b.calls(1, true, Millis(2'001));
  EXPECT_EQ(b.state(), State::open);
}

TEST(Breaker, half_open_lets_only_reads_through_and_three_good_ones_close_it) {
  Bench b;
  b.calls(20, false);
  b.clock.advance(Millis(59'999));
  EXPECT_EQ(b.state(), State::open);
  b.clock.advance(Millis(1));
  EXPECT_EQ(b.state(), State::half_open);
  EXPECT_TRUE(b.breaker.allows(b.clock.mono(), true));
  EXPECT_FALSE(b.breaker.allows(b.clock.mono(), false));
  b.calls(2, true);
  EXPECT_EQ(b.state(), State::half_open);
  b.calls(1, true);
  EXPECT_EQ(b.state(), State::closed);
}

TEST(Breaker, a_failed_probe_doubles_the_pause_up_to_a_quarter_of_an_hour) {
  Bench b;
  b.calls(20, false);
  Millis expected{60'000};
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(elapsed(b.clock.mono(), b.breaker.opens_for_probes()), expected);
    b.clock.advance(expected);
    b.calls(1, false);
    expected = std::min(Millis(900'000), expected * 2);
  }
  EXPECT_EQ(b.breaker.openings(), 9u);
  b.breaker.reset();
  EXPECT_EQ(b.state(), State::closed);
}

TEST(Backoff, stays_between_base_and_cap_and_is_not_a_constant) {
  Backoff backoff(system_random(), Millis(100), Millis(20'000));
  std::vector<Millis> waits;
  for (int i = 0; i < 200; ++i) waits.push_back(backoff.next());
  EXPECT_GE(*std::min_element(waits.begin(), waits.end()), Millis(100));
  EXPECT_LE(*std::max_element(waits.begin(), waits.end()), Millis(20'000));
  EXPECT_NE(*std::min_element(waits.begin(), waits.end()), *std::max_element(waits.begin(), waits.end()));
}

}  // namespace
}  // namespace claw
