#include "sqs/look_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sqs/looks.h"
#include "testing/fault_disk.h"

namespace claw::sqs {
namespace {

using ::testing::HasSubstr;

Queue queue_of(std::uint64_t visible, std::optional<std::uint32_t> most_receives, std::uint64_t held = 0) {
  return {.name = "orders", .url = "u", .visible = visible, .held = held, .most_receives = most_receives, .dead_letter = most_receives ? "orders-dlq" : ""};
}

TEST(LookPolicy, three_receives_or_fewer_are_never_spent) {
  for (const std::uint32_t limit : {1u, 2u, 3u}) {
    const Queue queue = queue_of(10, limit);
    for (const bool search : {false, true}) {
      const LookRuling ruling = rule({.queue = queue, .search = search});
      EXPECT_FALSE(ruling.allowed()) << limit;
      EXPECT_THAT(ruling.refusal, HasSubstr("maxReceiveCount " + std::to_string(limit)));
      EXPECT_THAT(ruling.refusal, HasSubstr("orders-dlq"));
    }
  }
}

TEST(LookPolicy, our_looks_leave_consumers_three_receives_and_a_search_two) {
  for (std::uint32_t limit = 4; limit <= 20; ++limit)
    for (std::uint32_t own = 0; own <= 20; ++own) {
      const Queue queue = queue_of(10, limit);
      EXPECT_EQ(rule({.queue = queue, .own_looks = own}).allowed(), own + 1 + 3 <= limit) << limit << " " << own;
      EXPECT_EQ(rule({.queue = queue, .own_looks = own, .search = true}).allowed(), own + 1 + 2 <= limit) << limit << " " << own;
    }
  const Queue endless = queue_of(10, std::nullopt);
  EXPECT_TRUE(rule({.queue = endless, .own_looks = 1'000}).allowed());
}

TEST(LookPolicy, a_queue_beyond_the_in_flight_cap_is_refused_with_the_ways_out) {
  const Queue large = queue_of(200'000, 5), busy = queue_of(10, 5, 119'500), half = queue_of(80'000, 5, 60'000);
  const LookRuling ruling = rule({.queue = large});
  EXPECT_FALSE(ruling.allowed());
  for (const char* word : {"200,000", "120,000", "sample", "stream"}) EXPECT_THAT(ruling.refusal, HasSubstr(word));
  EXPECT_TRUE(rule({.queue = large, .wanted = LookMode::stream}).allowed());
  EXPECT_TRUE(rule({.queue = large, .wanted = LookMode::sample}).allowed());
  EXPECT_FALSE(rule({.queue = busy}).allowed());
  EXPECT_FALSE(rule({.queue = half}).allowed());
  const Queue fits = queue_of(99'000, 5);
  EXPECT_TRUE(rule({.queue = fits}).allowed());
}

TEST(Looks, are_counted_for_messages_that_they_can_have_met_and_survive_a_restart) {
  testing::FaultDisk disk;
  ASSERT_TRUE(disk.make_dirs("/d").ok());
  const WallTime t0(std::chrono::hours(480'000));
  const auto at = [&](int minutes) { return t0 + std::chrono::minutes(minutes); };
  Result<Looks> looks = Looks::open(disk, "/d/brokers/looks.json");
  ASSERT_TRUE(looks.ok());
  const auto first = looks->begin("orders", at(10));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(looks->since("orders", at(0)), 1u);
  EXPECT_EQ(looks->since("orders", at(0), *first), 0u);
  ASSERT_TRUE(looks->end(*first, at(11)).ok());
  EXPECT_EQ(looks->since("orders", at(12)), 0u);  // sent after it
  EXPECT_EQ(looks->since("other", at(0)), 0u);
  ASSERT_TRUE(looks->begin("orders", at(20)).ok());  // and then the process dies
  disk.crash();
  looks = Looks::open(disk, "/d/brokers/looks.json");
  ASSERT_TRUE(looks.ok());
  EXPECT_EQ(looks->since("orders", at(0)), 2u);
  ASSERT_TRUE(looks->forget("orders", at(15)).ok());  // seen empty after the first, during the second
  EXPECT_EQ(looks->since("orders", at(0)), 1u);
}

TEST(Looks, a_damaged_memory_is_an_error_and_not_a_blank_one) {
  testing::FaultDisk disk;
  ASSERT_TRUE(disk.make_dirs("/d").ok());
  for (const char* text : {"{", "{\"looks\": 1}", "{\"looks\": [{\"queue\": 1}]}"}) {
    ASSERT_TRUE(disk.write_atomically("/d/looks.json", text, Mode::owner_only).ok());
    EXPECT_FALSE(Looks::open(disk, "/d/looks.json").ok()) << text;
  }
}

}  // namespace
}  // namespace claw::sqs
