#include <gtest/gtest.h>

#include "model/message.h"
#include "model/plan.h"
#include "model/queue.h"

namespace claw {
namespace {

Plan small_plan() {
  Plan plan;
  plan.tenant = "tenant_42";
  plan.skill = "aggressive-drain";
  plan.detector = "1";
  plan.messages_seen = 100;
  plan.signatures.push_back({.signature = {"malformed_json", "transaction_id", "malformed JSON in transaction_id field"},
                             .count = 2, .confidence_bps = 9990, .lower_bound_bps = 9900, .explanation = "2 of 2 failed"});
  plan.queues.push_back({.queue = {"redis-eu", std::string("orders\xff\n", 8)}, .type = QueueType::stream, .entries = 100,
                         .quarantine = "{orders}:quarantine",
                         .messages = {{.id = "1-0", .key = {1, 0}, .signature = 0, .attempts = 3},
                                      {.id = "18446744073709551615-1", .key = {UINT64_MAX, 1}, .signature = 0, .attempts = 0}}});
  plan.created = parse_rfc3339("2025-01-18T14:32:17Z").value();
  plan.expires = parse_rfc3339("2025-01-18T14:47:17Z").value();
  plan.requester = "root";
  return plan;
}

TEST(Plan, comes_back_from_its_text_with_the_same_hash) {
  const Plan plan = small_plan();
  const Plan back = plan_from_text(plan_to_text(plan), "plan.json").value();
  EXPECT_EQ(plan_hash(back), plan_hash(plan));
  EXPECT_EQ(back.queues[0].queue.name, plan.queues[0].queue.name);
  EXPECT_EQ(back.queues[0].messages[1].key.high, UINT64_MAX);
  EXPECT_EQ(back.total(), 2u);
}

TEST(Plan, a_file_with_a_number_that_no_plan_can_hold_is_an_error) {
  std::string text = plan_to_text(small_plan());
  const std::size_t at = text.find("\"messages_seen\": ") + 17;
  text.replace(at, text.find_first_of(",\n", at) - at, "18446744073709551615");
  const auto plan = plan_from_text(text, "plan.json");
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, Code::invalid) << plan.error().message();
}

TEST(Plan, hash_covers_what_is_touched_and_not_who_asked_when) {
  const Plan plan = small_plan();
  Plan other = small_plan();
  other.created += Millis(60'000);
  other.requester = "somebody";
  EXPECT_EQ(plan_hash(other), plan_hash(plan));
  other.queues[0].messages.pop_back();
  EXPECT_NE(plan_hash(other), plan_hash(plan));
}

TEST(Plan, an_edited_file_is_refused) {
  const std::string text = plan_to_text(small_plan());
  for (std::size_t at = text.find("\"plan\""); at < text.size(); at += 1) {
    if (text[at] < '0' || text[at] > '8') continue;
    std::string edited = text;
    edited[at] = static_cast<char>(edited[at] + 1);
    EXPECT_FALSE(plan_from_text(edited, "plan.json").ok()) << at;
  }
  EXPECT_FALSE(plan_from_text("{}", "plan.json").ok());
}

TEST(Limits, only_tighten) {
  const Limits wide;
  Limits narrow;
  narrow.max_messages = 10;
  narrow.confidence_bps = 9'900;
  narrow.waves_bps = {100, 500, 1'000, 10'000};
  const Limits both = wide.tightened(narrow);
  EXPECT_EQ(both, narrow.tightened(wide));
  EXPECT_EQ(both.max_messages, 10u);
  EXPECT_EQ(both.confidence_bps, 9'900);
  EXPECT_EQ(both.waves_bps, narrow.waves_bps);
}

TEST(Execution, comes_back_from_its_json) {
  ExecutionRecord record;
  record.execution_id = "queue_remediation_84729";
  record.timestamp = parse_rfc3339("2025-01-18T14:32:17Z").value();
  record.tenant = "tenant_42";
  record.state = "completed";
  record.stages.push_back({"topology_analysis", Millis(245), StageStatus::complete, "Detected 3 queue instances"});
  record.record.rollback_key = rollback_key_of(record.execution_id);
  const ExecutionRecord back = execution_from_json(execution_to_json(record, 1)).value();
  EXPECT_EQ(execution_to_json(back, 1), execution_to_json(record, 1));
}

TEST(RollbackKey, names_its_execution) {
  EXPECT_EQ(rollback_key_of("queue_remediation_84729"), "remediation_84729_rollback");
  EXPECT_EQ(execution_of_rollback_key("remediation_84729_rollback").value(), "queue_remediation_84729");
  for (const char* wrong : {"", "remediation__rollback", "remediation_x_rollback", "84729"})
    EXPECT_FALSE(execution_of_rollback_key(wrong).ok()) << wrong;
}

TEST(Glob, matches_as_users_expect) {
  EXPECT_TRUE(glob_match("orders:*", "orders:tenant_42"));
  EXPECT_TRUE(glob_match("*:tenant_4[0-9]", "orders:tenant_42"));
  EXPECT_TRUE(glob_match("a?c*", "abc"));
  EXPECT_TRUE(glob_match("[", "["));
  EXPECT_FALSE(glob_match("orders:*", "order:1"));
  EXPECT_FALSE(glob_match("a[!b]c", "abc"));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_FALSE(glob_match(std::string(60, '*') + "b", std::string(10'000, 'a')));
}

TEST(Message, digest_tells_where_one_field_ends) {
  Message a, b;
  a.fields = {{"ab", "c"}};
  b.fields = {{"a", "bc"}};
  EXPECT_NE(a.content_digest(), b.content_digest());
}

}  // namespace
}  // namespace claw
