// One execution as a page: self-contained, printable, without a script. For the review on Monday, and for who was not there.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "audit/read.h"
#include "model/plan.h"
#include "model/sample.h"

namespace claw::cli {

struct ReportFacts {
  ExecutionRecord record;
  std::optional<Plan> plan;          // nothing was planned: refused before
  std::vector<AuditEntry> entries;   // of the audit log, of this execution
  VerifyReport log;                  // of the whole log, now
  std::string verifier_key;
  std::vector<std::pair<QueueId, std::vector<Sample>>> history;  // around the execution, oldest first
  WallTime now;
};

// UTF-8 HTML. Everything of foreign origin is escaped; values of messages are not in it.
std::string report_html(const ReportFacts& facts);

}  // namespace claw::cli
