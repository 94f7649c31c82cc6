#include "detect/detect.h"

#include <gtest/gtest.h>

#include "detect/beta.h"

namespace claw::detect {
namespace {

TEST(Beta, equals_the_published_lower_bounds) {
  EXPECT_NEAR(beta_quantile(0.02, 24.5, 0.5), 0.893, 0.002);
  EXPECT_NEAR(beta_quantile(0.02, 35.5, 0.5), 0.92, 0.01);
  EXPECT_NEAR(beta_quantile(0.02, 85.5, 0.5), 0.968, 0.002);
  EXPECT_NEAR(beta_quantile(0.02, 1800.5, 0.5), 0.9985, 0.0002);
  EXPECT_NEAR(beta_quantile(0.5, 3, 3), 0.5, 1e-9);
}

struct Corpus {
  std::vector<std::string> bodies;
  Batch page;
  void add(std::string body, const Evidence& evidence) {
    body.resize(body.size() + Batch::kPadding);
    bodies.push_back(std::move(body));
    evidence_.push_back(evidence);
  }
  // Split into pages of `size`, examined in order.
  Observation observe(std::size_t size) {
    content::Inspector inspector;
    Tally tally;
    for (std::size_t i = 0; i < bodies.size(); i += size) {
      Batch batch;
      for (std::size_t k = i; k < std::min(bodies.size(), i + size); ++k) {
        const Field field{"", std::string_view(bodies[k]).substr(0, bodies[k].size() - Batch::kPadding)};
        batch.add({k + 1, 0}, std::span(&field, 1), evidence_[k]);
      }
      tally.add(examine(batch, 0, inspector));
    }
    QueueView queue;
    queue.id = {"b", "q"};
    return conclude(tally, "t", {queue}, {.id_text = [](const QueueView&, const Member& m) { return std::to_string(m.key.high); }});
  }
  std::vector<Evidence> evidence_;
};

const Evidence kPass{.passed = 1};
const Evidence kFail{.pending = 1, .attempts = 3};
const Evidence kWaits{.waiting = 1};
const std::string kGood = R"({"transaction_id":"txn_1","amount":5})";
const std::string kBad = R"({"transaction_id": txn_1,"amount":5})";

Corpus incident(std::size_t failing, std::size_t passing, std::size_t waiting) {
  Corpus c;
  for (std::size_t i = 0; i < failing; ++i) c.add(kBad, kFail);
  for (std::size_t i = 0; i < passing; ++i) c.add(kGood, kPass);
  for (std::size_t i = 0; i < waiting; ++i) c.add(i % 50 == 0 ? kBad : kGood, kWaits);
  return c;
}

TEST(Detect, finds_what_fails_and_what_was_never_delivered) {
  const Observation seen = incident(200, 5'000, 5'000).observe(100);
  ASSERT_EQ(seen.findings.size(), 1u);
  EXPECT_EQ(seen.findings[0].signature.text, "malformed JSON in transaction_id field");
  EXPECT_EQ(seen.findings[0].count, 300u);
  EXPECT_EQ(seen.members[0].size(), 300u);
  EXPECT_GT(seen.findings[0].lower_bound, 0.95);
}

TEST(Detect, content_alone_never_condemns) {
  const Observation seen = incident(0, 5'000, 5'000).observe(100);
  ASSERT_EQ(seen.findings.size(), 1u);
  EXPECT_EQ(seen.findings[0].lower_bound, 0);
  EXPECT_LE(seen.findings[0].confidence, 0.6);
}

TEST(Detect, without_visible_passes_nothing_reaches_a_threshold) {
  const Observation seen = incident(500, 0, 5'000).observe(100);
  EXPECT_LE(seen.findings[0].lower_bound, 0.90);
}

TEST(Detect, a_consumer_that_tolerates_it_acquits_it) {
  Corpus c = incident(200, 5'000, 0);
  for (int i = 0; i < 200; ++i) c.add(kBad, kPass);
  EXPECT_LT(c.observe(100).findings[0].lower_bound, 0.6);
}

TEST(Detect, an_outage_is_not_poison) {
  Corpus everything = incident(600, 500, 0);
  EXPECT_FALSE(everything.observe(100).outage.empty());
  EXPECT_EQ(everything.observe(100).findings[0].lower_bound, 0);
  Corpus bystanders = incident(50, 100, 1'000);
  for (int i = 0; i < 200; ++i) bystanders.add(kGood, kFail);
  EXPECT_FALSE(bystanders.observe(100).outage.empty());
}

TEST(Detect, does_not_depend_on_how_pages_were_cut) {
  Corpus c = incident(100, 1'000, 1'000);
  const Observation one = c.observe(10'000), many = c.observe(7);
  EXPECT_EQ(one.findings[0].explanation, many.findings[0].explanation);
  EXPECT_EQ(one.findings[0].excerpt, many.findings[0].excerpt);
  EXPECT_EQ(one.members[0].size(), many.members[0].size());
}

}  // namespace
}  // namespace claw::detect
