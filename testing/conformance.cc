#include "testing/conformance.h"

#include <fmt/format.h>

#include <algorithm>

namespace claw::testing {
namespace {

constexpr const char* kExecution = "queue_remediation_1";

Deadline soon() { return Deadline::in(system_clock(), Millis(30'000)); }

std::vector<std::string> bodies(std::size_t count) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(fmt::format("{{\"n\":{}}}", i));
  return out;
}

std::vector<std::string> without(std::vector<std::string> all, const std::set<std::size_t>& chosen) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (!chosen.contains(i)) out.push_back(std::move(all[i]));
  return out;
}

std::vector<std::string> sorted(std::vector<std::string> bodies) {
  std::sort(bodies.begin(), bodies.end());
  return bodies;
}

// The content of a message that was published as one body, whatever field it is in.
std::string body_of(const Message& message) { return message.fields.empty() ? "" : message.fields.front().value; }

std::string id_text(const QueueView& queue, const Batch& page, const Batch::Entry& entry) {
  if (queue.type == QueueType::stream) return fmt::format("{}-{}", entry.key.high, entry.key.low);
  return fmt::format("list:{}@{:016x}", entry.key.high, short_digest(page.fields(entry)));
}

}  // namespace

std::string bench_name(const ::testing::TestParamInfo<BenchMaker>& info) { return info.param.name; }

void Conformance::SetUp() {
  bench_ = GetParam().make();
  broker_ = bench_->connect();
  ASSERT_NE(broker_, nullptr);
}

QueueView Conformance::view() {
  const std::vector<Claim> claims = {bench_->claim()};
  const auto views = broker_->discover(claims, soon());
  EXPECT_TRUE(views.ok()) << (views.ok() ? "" : views.error().message());
  EXPECT_EQ(views->size(), 1u) << "the quarantine, or anything else, was taken for the tenant's queue";
  return views->empty() ? QueueView{} : views->front();
}

void Conformance::plan(const std::set<std::size_t>& chosen) {
  const QueueView queue = view();
  planned_ = {.queue = queue.id, .type = queue.type, .entries = queue.entries, .quarantine = broker_->quarantine_name(queue.id), .messages = {}};
  const auto window = broker_->look(queue, soon());
  ASSERT_TRUE(window.ok()) << window.error().message();
  std::size_t at = 0;
  for (Batch page;;) {
    const auto more = (*window)->next(page, soon());
    ASSERT_TRUE(more.ok()) << more.error().message();
    if (!*more) break;
    for (const Batch::Entry& entry : page.entries())
      if (chosen.contains(at++)) planned_.messages.push_back({.id = id_text(queue, page, entry), .key = entry.key});
  }
  ASSERT_EQ(planned_.messages.size(), chosen.size());
  auto read = broker_->read(planned_, planned_.messages, {}, soon());
  ASSERT_TRUE(read.ok()) << read.error().message();
  messages_ = std::move(*read);
  ASSERT_EQ(messages_.size(), chosen.size());
}

std::vector<Removal> Conformance::remove(std::size_t first, std::size_t count) {
  const auto removals = broker_->remove({.queue = planned_, .messages = std::span(messages_).subspan(first, count), .execution_id = kExecution, .first_number = first}, soon());
  EXPECT_TRUE(removals.ok()) << (removals.ok() ? "" : removals.error().message());
  return removals.ok() ? *removals : std::vector<Removal>();
}

RestoreRequest Conformance::restoring(RestoreOrder wanted) const {
  return {.queue = planned_.queue, .type = planned_.type, .execution_id = kExecution, .quarantine = planned_.quarantine, .messages = messages_, .wanted = wanted};
}

// The kit is linked into programs that bring no broker to it.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Conformance);

TEST_P(Conformance, a_look_sees_every_message_once_and_changes_nothing) {
  bench_->publish(bodies(350));
  const QueueView queue = view();
  EXPECT_EQ(queue.entries, 350u);
  if (!queue.look.sees_all) GTEST_SKIP() << "this broker does not promise to show all";
  std::vector<std::string> seen;
  {
    const auto window = broker_->look(queue, soon());
    ASSERT_TRUE(window.ok()) << window.error().message();
    for (Batch page;;) {
      const auto more = (*window)->next(page, soon());
      ASSERT_TRUE(more.ok()) << more.error().message();
      if (!*more) break;
      for (const Batch::Entry& entry : page.entries()) seen.emplace_back(page.fields(entry).front().value);
    }
  }
  EXPECT_EQ(queue.look.keeps_order ? seen : sorted(seen), queue.look.keeps_order ? bodies(350) : sorted(bodies(350)));
  EXPECT_EQ(queue.look.keeps_order ? bench_->ready() : sorted(bench_->ready()), queue.look.keeps_order ? bodies(350) : sorted(bodies(350)));
}

TEST_P(Conformance, a_look_that_is_dropped_half_way_removes_nothing) {
  bench_->publish(bodies(350));
  {
    const auto window = broker_->look(view(), soon());
    ASSERT_TRUE(window.ok());
    Batch page;
    ASSERT_TRUE((*window)->next(page, soon()).ok());
  }
  EXPECT_EQ(sorted(bench_->ready()), sorted(bodies(350)));
}

TEST_P(Conformance, removes_exactly_what_was_named_and_keeps_the_order_of_the_rest) {
  bench_->publish(bodies(250));
  const std::set<std::size_t> chosen = {0, 1, 17, 120, 249};
  plan(chosen);
  for (const Removal& removal : remove(0, chosen.size())) EXPECT_EQ(removal.fate, Fate::removed);
  EXPECT_EQ(bench_->ready(), without(bodies(250), chosen));
  const auto held = broker_->quarantined(planned_.queue, planned_.quarantine, kExecution, soon());
  ASSERT_TRUE(held.ok());
  ASSERT_EQ(held->size(), chosen.size());
  for (std::size_t i = 0; i < held->size(); ++i) {
    EXPECT_EQ((*held)[i].number, i);
    EXPECT_EQ((*held)[i].message.fields, messages_[i].fields);
  }
  EXPECT_EQ(view().entries, 245u);
}

TEST_P(Conformance, removing_again_on_another_connection_counts_as_removed_and_does_nothing) {
  bench_->publish(bodies(50));
  plan({3, 9});
  remove(0, 1);
  broker_ = bench_->connect();
  for (const Removal& removal : remove(0, 2)) EXPECT_EQ(removal.fate, Fate::removed);
  for (const Removal& removal : remove(0, 2)) EXPECT_EQ(removal.fate, Fate::removed);
  EXPECT_EQ(bench_->ready(), without(bodies(50), {3, 9}));
  const auto held = broker_->quarantined(planned_.queue, planned_.quarantine, kExecution, soon());
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(held->size(), 2u);
}

TEST_P(Conformance, what_was_consumed_meanwhile_is_gone_and_nothing_else_is_taken_for_it) {
  bench_->publish(bodies(50));
  plan({0, 20});
  bench_->consume(body_of(messages_[0]));
  const std::vector<Removal> removals = remove(0, 2);
  ASSERT_EQ(removals.size(), 2u);
  EXPECT_EQ(removals[0].fate, Fate::gone);
  EXPECT_EQ(removals[1].fate, Fate::removed);
  EXPECT_EQ(bench_->ready(), without(bodies(50), {0, 20}));
}

TEST_P(Conformance, restores_every_message_once_in_either_order) {
  for (const RestoreOrder order : {RestoreOrder::exact, RestoreOrder::tail}) {
    bench_ = GetParam().make();
    broker_ = bench_->connect();
    bench_->publish(bodies(120));
    plan({0, 5, 6, 60, 119});
    remove(0, 5);
    const auto back = broker_->restore(restoring(order), soon());
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back->restored, 5u);
    EXPECT_EQ(back->failed + back->foreign, 0u);
    EXPECT_EQ(sorted(bench_->ready()), sorted(bodies(120)));
    if (order == RestoreOrder::exact && bench_->restores_order()) {
      EXPECT_EQ(back->achieved, RestoreOrder::exact) << back->why_not_exact;
    }
    if (back->achieved == RestoreOrder::exact) {
      EXPECT_EQ(bench_->ready(), bodies(120)) << "says that the order is the old one";
    } else {
      EXPECT_FALSE(back->why_not_exact.empty());
    }
    const auto twice = broker_->restore(restoring(order), soon());
    ASSERT_TRUE(twice.ok());
    EXPECT_EQ(twice->restored, 0u);
    EXPECT_EQ(twice->already_present, 5u);
    EXPECT_EQ(sorted(bench_->ready()), sorted(bodies(120)));
  }
}

TEST_P(Conformance, asks_before_every_effect_of_a_restore_and_takes_no_for_an_answer) {
  for (int stop = 1; stop < 50; ++stop) {
    bench_ = GetParam().make();
    broker_ = bench_->connect();
    bench_->publish(bodies(60));
    plan({4, 5, 30});
    remove(0, 3);
    int asked = 0;
    RestoreRequest request = restoring();
    request.before = [&](std::string_view) -> Status { return ++asked == stop ? Status(make_error(Code::refused, "test", "no")) : Status(); };
    const auto cut = broker_->restore(request, soon());
    const auto held = broker_->quarantined(planned_.queue, planned_.quarantine, kExecution, soon());
    ASSERT_TRUE(held.ok());
    ASSERT_EQ(bench_->ready().size() + held->size(), 60u) << "stopped before effect " << stop;
    ASSERT_TRUE(broker_->restore(restoring(), soon()).ok());
    ASSERT_EQ(sorted(bench_->ready()), sorted(bodies(60))) << "stopped before effect " << stop;
    if (!cut.ok()) continue;
    EXPECT_GT(stop, 1) << "nobody was asked";
    return;
  }
  FAIL() << "more effects than expected";
}

TEST_P(Conformance, does_not_restore_what_another_execution_removed) {
  bench_->publish(bodies(40));
  plan({10});
  remove(0, 1);
  RestoreRequest other = restoring();
  other.execution_id = "queue_remediation_2";
  const auto back = broker_->restore(other, soon());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->restored, 0u);
  EXPECT_EQ(bench_->ready(), without(bodies(40), {10}));
}

TEST_P(Conformance, a_quarantine_that_was_lost_is_filled_again_from_the_vault) {
  bench_->publish(bodies(40));
  plan({10, 20});
  remove(0, 2);
  bench_->lose_quarantine(planned_.quarantine);
  const std::vector<std::size_t> numbers = {0, 1};
  const Status again = broker_->quarantine_again(restoring(), numbers, soon());
  if (!bench_->refills_quarantine()) {
    ASSERT_FALSE(again.ok());
    EXPECT_EQ(again.error().code, Code::unsupported);
    return;
  }
  ASSERT_TRUE(again.ok()) << again.error().message();
  const auto back = broker_->restore(restoring(), soon());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->restored, 2u);
  EXPECT_EQ(sorted(bench_->ready()), sorted(bodies(40)));
}

}  // namespace claw::testing
