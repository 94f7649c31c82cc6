// When a skill's trigger has been met for long enough.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "policy/policy.h"
#include "skill/protocol.h"

namespace claw::skill {

// A tenant's health in the metrics that a skill may name; nullopt: not known, and never met.
std::optional<std::int64_t> reading(Metric metric, const TenantHealth& health);

// Of one tenant and one skill: remembers since when each of its conditions has held. Used by one thread.
class TriggerWatch {
 public:
  // Takes in what is known now. True when one of the conditions has held, at every look, for as long as it says.
  bool met(const Protocol& protocol, const TenantHealth& health, MonoTime now);

 private:
  std::vector<std::optional<MonoTime>> since_;  // of each condition
};

}  // namespace claw::skill
