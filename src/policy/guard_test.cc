#include "policy/guard.h"

#include <gtest/gtest.h>

namespace claw {
namespace {

Sample at(int second, std::uint64_t backlog, std::uint64_t acknowledged, std::optional<std::uint64_t> consumers, std::uint64_t redelivered = 0) {
  return {.at = WallTime(std::chrono::seconds(second)), .backlog = backlog, .acknowledged = acknowledged, .redelivered = redelivered, .consumers = consumers};
}

TEST(Guard, consumers_that_were_there_and_went_fail_it_and_nothing_else_does) {
  const auto back = [](std::optional<std::uint64_t> before, std::optional<std::uint64_t> now, bool tells = true) {
    return consumers_back({.before = at(0, 9, 0, before), .redelivered_before = {}, .first = at(1, 9, 0, now), .last = at(5, 9, 0, now), .tells_connections = tells});
  };
  EXPECT_EQ(back(3, 0).holds, Holds::no);
  EXPECT_EQ(back(3, 0, false).holds, Holds::unknown) << "silent is not gone";
  EXPECT_EQ(back(3, 1).holds, Holds::yes);
  EXPECT_EQ(back(0, 0).holds, Holds::unknown);
  EXPECT_EQ(back(3, std::nullopt).holds, Holds::unknown);
  EXPECT_EQ(back(3, 0).words, "none of 3 consumers is there any more");
  EXPECT_EQ(consumers_back({}).holds, Holds::unknown);
}

TEST(Guard, a_backlog_falls_when_it_is_lower_or_work_is_done) {
  const auto falls = [](const Sample& first, const Sample& last, std::uint64_t asking = 1) {
    return backlog_falls({.before = {}, .redelivered_before = {}, .first = first, .last = last, .asking = asking}).holds;
  };
  EXPECT_EQ(falls(at(0, 100, 0, 1), at(5, 90, 10, 1)), Holds::yes);
  EXPECT_EQ(falls(at(0, 100, 0, 1), at(5, 120, 10, 1)), Holds::yes) << "arrivals are not the removal's fault";
  EXPECT_EQ(falls(at(0, 100, 5, 1), at(5, 100, 5, 1)), Holds::no);
  EXPECT_EQ(falls(at(0, 100, 5, 1), at(5, 100, 5, 1), 0), Holds::unknown) << "who is not there yet did not fail";
  EXPECT_EQ(falls(at(0, 0, 5, 1), at(5, 0, 5, 1)), Holds::yes);
  Sample all_held = at(5, 100, 5, 1);
  all_held.held = 100;
  EXPECT_EQ(falls(at(0, 100, 5, 1), all_held), Holds::unknown);
}

TEST(Guard, redelivery_fails_only_when_it_rises) {
  const auto falls = [](std::optional<double> before, std::uint64_t now) {
    return redelivery_falls({.before = {}, .redelivered_before = before, .first = at(0, 1, 0, 1, 100), .last = at(10, 1, 0, 1, now)}).holds;
  };
  EXPECT_EQ(falls(2.0, 200), Holds::no);
  EXPECT_EQ(falls(20.0, 200), Holds::yes);
  EXPECT_EQ(falls(0.1, 105), Holds::yes) << "a handful is no trend";
  EXPECT_EQ(falls(std::nullopt, 200), Holds::unknown);
}

TEST(Guard, of_several_queues_the_one_that_fails_speaks) {
  const GuardAnswer answers[] = {{Holds::unknown, "a"}, {Holds::yes, "b"}, {Holds::no, "c"}};
  EXPECT_EQ(together(answers).words, "c");
  EXPECT_EQ(together(std::span(answers).first(2)).words, "b");
  EXPECT_EQ(together(std::span(answers).first(1)).words, "a");
}

}  // namespace
}  // namespace claw
