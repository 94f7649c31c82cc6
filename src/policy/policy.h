// Facts and the time in, verdicts with a reason out. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "model/plan.h"
#include "model/queue.h"
#include "policy/history.h"
#include "policy/symptom.h"

namespace claw {

struct Breach {
  QueueId queue;              // name empty: the tenant's sum
  std::string what;           // "backlog", "age", "drain", "throughput"
  std::string limit;          // in words: "192,000", "5m"
  std::string actual;
  std::int64_t over_bps = 0;  // how far beyond the limit: 34130 = 341.3% over
};

struct TenantHealth {
  TenantId id;
  Tier tier = Tier::standard;
  std::int64_t severity_bps = 0;  // the worst breach, weighted by tier: critical 1, standard 1/2, batch 1/4
  std::vector<Breach> breaches;   // worst first
  std::optional<Millis> oldest_age;
  std::optional<Millis> time_to_drain;
  std::uint64_t backlog = 0;
  std::uint64_t held = 0;
  std::vector<Symptom> symptoms;      // what no threshold shows, gravest first
  std::optional<std::int64_t> redelivered_bps;  // of the last minute's deliveries; nullopt: not told, or too few to say
  std::optional<Millis> heals_in;     // every backlog falls and is gone by itself so soon: nobody need be woken
};

// What history tells. A queue that is not there has no known rate.
struct Rates {
  std::map<QueueId, double> arrivals_per_s;
  std::map<QueueId, double> acks_per_s;
};

// max_backlog and min_throughput hold for the tenant's sum, max_age for each queue, drain_within for the sum.
TenantHealth evaluate(const Tenant& tenant, std::span<const QueueView> queues, const Rates& rates);
// The same, with what the history of its queues shows.
TenantHealth evaluate(const Tenant& tenant, std::span<const QueueView> queues, const Rates& rates, const History& history);
// Worst first; a total order.
bool worse(const TenantHealth& a, const TenantHealth& b);

std::string policy_words(std::string_view skill);  // "AGGRESSIVE_DRAIN"

enum class Refusal {
  none,
  brake_on,
  autonomy,
  needs_approval,
  over_blast_radius,
  too_much_poison,
  outage,
  nothing_to_do,
  cooling_down,
  plan_expired,
  other_execution,
  disk_room,
  stale_skill,
  foreign_plan,
  self_approval,
  breaker_open,
  edited_plan,
};
std::string_view name(Refusal refusal);

struct Verdict {
  Refusal refusal = Refusal::none;
  std::string reason;  // in words, empty when allowed
  bool allowed() const { return refusal == Refusal::none; }
};

inline constexpr Millis kCooldown = std::chrono::minutes(30);
inline constexpr Millis kLongestCooldown = std::chrono::hours(24);

// How long the agent waits after an execution: what the skill says and never less than kCooldown, doubled for each execution of
// the day before, for what comes back so often is not healed by removing it.
Millis cooldown_after(Millis of_skill, std::size_t executions_of_the_day);

struct Facts {
  bool brake_on = false;      // an unreadable brake is on
  std::string open_breaker;   // of a broker that the plan touches, and why; empty: none
  bool by_person = false;     // somebody asked for this plan and said yes
  Autonomy autonomy = Autonomy::propose;
  std::string approver;       // of the plan's hash, empty when nobody approved
  std::uint64_t disk_free = 0;
  std::optional<WallTime> last_execution_end;  // on this tenant
  Millis cooldown = kCooldown;                 // after it, see cooldown_after()
  std::int64_t approvals = 0;                  // that the skill asks for, whatever the autonomy
  WallTime now;
  bool other_execution = false;
  std::string outage;         // Observation::outage
};

// May this plan be carried out now? Gives the first reason against it, the gravest first.
Verdict judge(const Plan& plan, const Facts& facts);

struct RateSample {
  MonoTime at;
  std::uint64_t backlog = 0;
  std::uint64_t acknowledged = 0;
};

struct RecoveryEstimate {
  double acks_per_s = 0;
  std::int64_t throughput_bps = -1;      // of the baseline; -1 = no baseline
  std::optional<Millis> full_recovery;   // backlog / speed at which it falls; nullopt = it does not fall
};

// From the first and the last sample. Fewer than two: all unknown.
RecoveryEstimate estimate_recovery(std::span<const RateSample> samples, std::optional<double> baseline_per_s);

// What one queue's consumers acknowledge a second when all is well: the 75th percentile of the rates between neighbouring
// samples in which anything was acknowledged, so that a stall of most of the time does not lower it. Fewer than three such
// rates: unknown.
std::optional<double> usual_rate(std::span<const RateSample> history);

// Downtime that removal prevented = poison not yet delivered × seconds one poison message stalls a consumer, measured
// on those that were delivered ÷ consumers that would have shared them. nullopt when an input is unknown.
std::optional<Millis> downtime_prevented(std::uint64_t poison_waiting, std::optional<double> stall_s_per_poison,
                                         std::uint64_t consumers);

}  // namespace claw
