#include "policy/symptom.h"

#include <gtest/gtest.h>

#include <functional>

#include "policy/history.h"

namespace claw {
namespace {

const QueueId kQueue{"b", "q"};

// One sample every two seconds, made by `at(second)`.
std::vector<Sample> history(int seconds, const std::function<Sample(double)>& at) {
  std::vector<Sample> out;
  for (int s = 0; s <= seconds; s += 2) {
    out.push_back(at(s));
    out.back().at = WallTime(Millis(1'000'000 + 1'000 * s));
  }
  return out;
}
std::uint64_t count(double value) { return static_cast<std::uint64_t>(value); }

std::vector<SymptomKind> kinds(const std::vector<Sample>& samples) {
  std::vector<SymptomKind> out;
  for (const Symptom& s : symptoms_of(kQueue, samples)) {
    EXPECT_FALSE(s.words.empty());
    out.push_back(s.kind);
  }
  return out;
}
using Kinds = std::vector<SymptomKind>;

TEST(Symptoms, work_without_a_consumer_is_one_after_a_minute_and_not_before) {
  const auto gone = [](double) { return Sample{.at = {}, .backlog = 5, .consumers = 0}; };
  EXPECT_EQ(kinds(history(70, gone)), Kinds{SymptomKind::no_consumers});
  EXPECT_EQ(kinds(history(50, gone)), Kinds{});
  EXPECT_EQ(symptoms_of(kQueue, history(70, gone))[0].words, "5 messages wait and no consumer has been there for 1m 10s");
}

TEST(Symptoms, a_broker_that_does_not_tell_of_consumers_is_no_proof_of_their_absence) {
  EXPECT_EQ(kinds(history(700, [](double) { return Sample{.at = {}, .backlog = 5}; })), Kinds{});
}

TEST(Symptoms, an_idle_queue_has_none) {
  EXPECT_EQ(kinds(history(700, [](double) { return Sample{.at = {}, .backlog = 0, .acknowledged = 7, .consumers = 2}; })), Kinds{});
}

TEST(Symptoms, consumers_that_hold_and_acknowledge_nothing_are_stalled) {
  const auto samples = history(120, [](double s) { return Sample{.at = {}, .backlog = 100 + count(s), .acknowledged = s < 50 ? count(s) : 50, .held = 20, .consumers = 2}; });
  EXPECT_EQ(kinds(samples), Kinds{SymptomKind::stalled});
  EXPECT_EQ(symptoms_of(kQueue, samples)[0].words, "2 consumers hold 20 messages and acknowledged none for 1m 10s");
}

TEST(Symptoms, one_acknowledgement_in_the_window_is_no_stall) {
  EXPECT_EQ(kinds(history(120, [](double s) { return Sample{.at = {}, .backlog = 100, .acknowledged = s < 100 ? 1u : 2u, .held = 20, .consumers = 2}; })), Kinds{});
}

TEST(Symptoms, a_backlog_that_grows_in_every_part_of_ten_minutes_while_consumers_work_is_a_leak) {
  EXPECT_EQ(kinds(history(700, [](double s) { return Sample{.at = {}, .backlog = 10 + count(s / 3), .acknowledged = count(50 * s), .consumers = 2}; })), Kinds{SymptomKind::falling_behind});
}

TEST(Symptoms, a_burst_is_no_leak_and_heals) {
  const auto burst = [](double s) { return Sample{.at = {}, .backlog = s < 100 ? 0 : count(std::max(0.0, 50'000 - 100 * (s - 100))), .acknowledged = count(50 * s), .consumers = 2}; };
  for (int seconds = 120; seconds < 700; seconds += 20) EXPECT_EQ(kinds(history(seconds, burst)), Kinds{}) << seconds;
  const auto left = heals_within(history(300, burst), std::chrono::minutes(15));
  ASSERT_TRUE(left);
  EXPECT_EQ(left->count(), 300'000);
  EXPECT_FALSE(heals_within(history(300, burst), std::chrono::minutes(4))) << "not soon enough";
}

TEST(Symptoms, a_wave_is_no_leak) {
  EXPECT_EQ(kinds(history(700, [](double s) { return Sample{.at = {}, .backlog = static_cast<int>(s) / 100 % 2 == 0 ? count(s) : 10, .acknowledged = count(50 * s), .consumers = 2}; })), Kinds{});
}

TEST(Symptoms, a_backlog_that_stands_or_rises_does_not_heal) {
  EXPECT_FALSE(heals_within(history(120, [](double) { return Sample{.at = {}, .backlog = 100}; }), std::chrono::hours(1)));
  EXPECT_FALSE(heals_within(history(120, [](double s) { return Sample{.at = {}, .backlog = 100 + count(s)}; }), std::chrono::hours(1)));
}

TEST(Symptoms, consumers_that_hold_more_than_they_do_in_a_minute_hoard) {
  EXPECT_EQ(kinds(history(120, [](double s) { return Sample{.at = {}, .backlog = 20'000, .acknowledged = count(10 * s), .held = 12'000, .consumers = 1}; })), Kinds{SymptomKind::hoarding});
  EXPECT_EQ(kinds(history(120, [](double s) { return Sample{.at = {}, .backlog = 20'000, .acknowledged = count(400 * s), .held = 12'000, .consumers = 1}; })), Kinds{}) << "a fast consumer may hold many";
}

TEST(Symptoms, more_redeliveries_than_acknowledgements_are_a_storm) {
  const auto storm = [](double s) { return Sample{.at = {}, .backlog = 500, .acknowledged = count(s), .held = 5, .redelivered = count(40 * s), .consumers = 1}; };
  EXPECT_EQ(kinds(history(120, storm)), Kinds{SymptomKind::redelivering});
  EXPECT_EQ(kinds(history(140, [&](double s) { return storm(std::min(s, 70.0)); })), Kinds{SymptomKind::stalled}) << "one that is over is none";
}

TEST(QueueHistory, what_does_not_change_costs_two_samples_and_is_stored_every_ten_minutes) {
  History all;
  int stored = 0;
  for (int s = 0; s < 3'600; s += 2) stored += all.add(kQueue, {.at = WallTime(Millis(s * 1'000)), .backlog = 7}).has_value() ? 1 : 0;
  EXPECT_EQ(all.of(kQueue).size(), 2u);
  EXPECT_EQ(all.of(kQueue).back().at, WallTime(Millis(3'598'000)));
  EXPECT_LE(stored, 7);
}

TEST(QueueHistory, what_changes_is_bounded_and_its_last_minutes_are_whole) {
  History all;
  int grains[3] = {};
  for (int s = 0; s < 6 * 3'600; s += 2)
    if (const auto grain = all.add(kQueue, {.at = WallTime(Millis(s * 1'000)), .backlog = count(s)})) ++grains[static_cast<int>(*grain)];
  EXPECT_LE(all.of(kQueue).size(), History::kMost);
  EXPECT_EQ(all.of(kQueue).front().at, WallTime(Millis(0)));
  EXPECT_GE(all.of(kQueue, WallTime(Millis((6 * 3'600 - 120) * 1'000))).size(), 55u);
  EXPECT_NEAR(grains[2], 36, 1);
  EXPECT_NEAR(grains[1], 324, 2);
  EXPECT_NEAR(grains[0], 6 * 600 - 360, 10);
}

TEST(QueueHistory, a_clock_set_back_begins_anew) {
  History all;
  all.add(kQueue, {.at = WallTime(Millis(9'000'000)), .backlog = 7});
  EXPECT_TRUE(all.add(kQueue, {.at = WallTime(Millis(1'000)), .backlog = 8}));
  EXPECT_EQ(all.of(kQueue).size(), 1u);
}

}  // namespace
}  // namespace claw
