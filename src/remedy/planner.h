// From an observation to a plan: a pure function, so that the same observation gives the same plan bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/finding.h"
#include "model/plan.h"

namespace claw::remedy {

// Part of one wave within one queue: messages [first, first + count) of PlannedQueue::messages.
struct Slice {
  std::size_t queue = 0;
  std::size_t first = 0;
  std::size_t count = 0;
  bool operator==(const Slice&) const = default;
};
using Wave = std::vector<Slice>;

struct PlanInputs {
  const Observation& observation;
  std::string skill;
  std::string protocol;                                        // hash of its block
  std::string detector;
  Limits limits;                                               // effective
  std::function<std::string(const QueueId&)> quarantine_name;
};

// Selects the findings whose lower bound reaches limits.confidence_bps, names every message of theirs, and puts the
// canary of each queue first: its share of the first wave, with at least one message of each signature. The rest
// follows in queue order. Beyond limits.max_messages (or the bytes they stand for) it takes the worst blockers: most
// attempts first, then those nearest to the head of their queue; the others are counted in Plan::poison and wait for a
// later plan. Nothing qualifies: a plan of no messages. Times and requester are left empty.
Plan make_plan(const PlanInputs& inputs);

// The waves of a plan: limits.waves_bps of each queue, cumulative, each at least one message further.
std::vector<Wave> waves_of(const Plan& plan);

}  // namespace claw::remedy
