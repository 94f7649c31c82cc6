// What a SKILL.md lets the agent do: closed verbs with bounded numbers, checked before anything runs. No expressions, no
// loops, no shell: what is not in these types cannot be said.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/yaml.h"
#include "model/plan.h"

namespace claw::skill {

using Seconds = std::chrono::seconds;

enum class Verb { observe, classify, plan, approve, snapshot, remove, redrive, release, restart, verify, wait };
std::string_view name(Verb verb);

enum class Metric { sla_breach_bps, redelivered_bps, poison_bps, backlog, oldest_age_s, stalled_consumers };
enum class Comparison { gt, gte, lt, lte };
enum class Precondition { broker_reachable, broker_not_partitioned, audit_writable, brake_off, no_other_execution };
enum class Guard { conservation, redelivery_falls, consumers_back, backlog_falls };
enum class Undo { guard_failed, breaker_open, limit_hit, operator_abort, crash_recovery };
enum class Source { quarantine, dead_letter };

struct Condition {
  Metric metric = Metric::sla_breach_bps;
  Comparison op = Comparison::gte;
  std::int64_t value = 0;
  Seconds held{0};  // true for this long
};

struct Stage {
  std::string id;
  Verb verb = Verb::observe;
  int line = 0;
  std::int64_t samples = 1;         // observe
  Seconds interval{0};              // observe
  std::int64_t confidence_bps = 0;  // classify
  std::int64_t required = 1;        // approve
  std::int64_t share_bps = 0;       // remove, redrive: cumulative share of the plan
  std::int64_t rate_per_s = 0;      // redrive
  Source source = Source::quarantine;  // redrive
  Seconds time{0};                  // verify: soak; wait
  std::vector<Guard> guards;        // verify
  std::string entry;                // restart: a name of the operator's allow-list
};

struct Protocol {
  std::vector<Condition> trigger;   // any of them
  Seconds cooldown{1'800};
  std::vector<Precondition> preconditions;
  Limits limits;                    // never wider than the engine's
  Seconds max_runtime{900};
  std::int64_t approvals = 0;
  Seconds approval_expires{900};
  std::int64_t max_attempts = 3;
  Millis retry_base{100};
  Millis retry_cap{20'000};
  std::vector<Stage> stages;
  std::vector<Undo> undo_when;      // empty: the skill removes nothing
  bool exact_order = true;          // of a rollback, where the broker can

  bool removes() const;
};

struct Problem {
  int line = 0;
  std::string rule;  // "stages.verify-after-remove": stable, named in docs/formats/skill.md
  std::string text;
};

// Reads the block's tree. Everything that is wrong with it, in line order; a protocol only when nothing is.
struct Checked {
  std::optional<Protocol> protocol;
  std::vector<Problem> problems;
};
Checked check_protocol(const yaml::Node& root);

}  // namespace claw::skill
