// Results as text for people. Pure: a value in, lines out. All broker data is escaped here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/agent.h"

namespace claw::cli {

struct Style {
  bool colour = false;
};

// Columns padded to their widest cell; those in `right` are right-aligned.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right);

std::string show(const Topology& topology, Style style);
std::string show(const Health& health, Style style);
// `explain`: with the evidence in numbers, and what to do where it is wrong.
std::string show(const Observation& seen, Style style, bool explain = false);
std::string show(const Proposal& proposal, Style style);
std::string show(const ExecutionRecord& record, Style style);
std::string show(const RollbackReport& report, Style style);
std::string show(const std::vector<DoctorLine>& lines, Style style);
std::string show(const std::vector<DeadLetters>& all, Style style);
std::string show(const RedriveReport& report, Style style);

// The contract's JSON shapes.
std::string topology_json(const Topology& topology);
std::string health_json(const Health& health);
std::string scan_json(const Observation& seen, const std::string& queue, bool ids);
std::string rollback_json(const RollbackReport& report);
std::string verify_json(const VerifyReport& report);
std::string dead_letters_json(const std::vector<DeadLetters>& all);
std::string redrive_json(const RedriveReport& report);

}  // namespace claw::cli
