// What was measured of a queue at one time, for history.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace claw {

struct Sample {
  WallTime at;
  std::uint64_t backlog = 0;
  std::uint64_t acknowledged = 0;  // by all groups since the queue began; only differences tell
  std::uint64_t held = 0;
  std::uint64_t redelivered = 0;   // likewise
  std::optional<std::uint64_t> consumers = {};  // that are alive; nullopt where the broker does not tell
};

}  // namespace claw
