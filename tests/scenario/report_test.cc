#include "cli/report.h"

#include <gtest/gtest.h>

namespace claw::cli {
namespace {

ReportFacts facts() {
  ReportFacts f;
  f.record = {.execution_id = "queue_remediation_1", .timestamp = WallTime(Millis(1'700'000'000'000)), .tenant = "t", .plan_hash = "sha256:00", .state = "completed", .reason = "",
              .stages = {{.stage = "topology_analysis", .duration = Millis(3), .status = StageStatus::complete, .output = "Detected 1 queue"},
                         {.stage = "drain_execution", .duration = Millis(250), .status = StageStatus::complete, .output = "Drained 7"}},
              .record = {.messages_removed = 7, .messages_preserved = 93, .compliance_fingerprint = "sha256:ff", .rollback_key = "remediation_1_rollback"}};
  Plan plan;
  plan.tenant = "t";
  plan.skill = "aggressive-drain";
  plan.signatures.push_back({.signature = {.text = "malformed JSON in transaction_id field"}, .count = 7, .confidence_bps = 9'990, .lower_bound_bps = 9'900, .explanation = "failed 7 of 7"});
  plan.queues.push_back({.queue = {"b", "<script>alert(1)</script>\x1b[2J"}, .entries = 100, .quarantine = "q:quarantine"});
  f.plan = plan;
  f.entries = {{.index = 4, .bytes = R"({"type":"open","ts":"2026-01-01T00:00:00Z","execution":"queue_remediation_1","actor":"<b>"})"}};
  f.log = {.ok = true, .size = 9, .root = "r00t", .origin = "deployclaw/a"};
  f.history = {{{"b", "q"}, {{.at = WallTime(Millis(1'699'999'999'000)), .backlog = 100}, {.at = WallTime(Millis(1'700'000'010'000)), .backlog = 20}}}};
  return f;
}

TEST(IncidentReport, tells_what_happened_why_how_to_undo_it_and_how_to_prove_it) {
  const std::string page = report_html(facts());
  for (const char* part : {"queue_remediation_1", "completed", "malformed JSON in transaction_id field", "99.90%", "failed 7 of 7", "deployclaw rollback remediation_1_rollback", "sha256:ff", "The log verifies", "r00t",
                           "topology_analysis", "<polyline", "2023-11-14"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
}

TEST(IncidentReport, what_is_foreign_is_text_and_nothing_in_it_runs_or_is_fetched) {
  const std::string page = report_html(facts());
  for (const char* part : {"<script", "<b>\"", "\x1b", "http://", "https://", " src=", "href="}) EXPECT_EQ(page.find(part), std::string::npos) << part;
  EXPECT_NE(page.find("&lt;script&gt;"), std::string::npos);
}

TEST(IncidentReport, of_a_refusal_has_no_plan_and_of_a_broken_log_says_so) {
  ReportFacts f = facts();
  f.plan.reset();
  f.record.state = "refused";
  f.record.reason = "outage: every consumer fails";
  f.log = {.ok = false, .problem = "entry 3 is not what was signed"};
  const std::string page = report_html(f);
  EXPECT_EQ(page.find("Why these messages"), std::string::npos);
  EXPECT_NE(page.find("outage: every consumer fails"), std::string::npos);
  EXPECT_NE(page.find("The log does not verify</b>: entry 3"), std::string::npos);
}

}  // namespace
}  // namespace claw::cli
