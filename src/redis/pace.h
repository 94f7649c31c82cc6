// How much one script may do, so that none holds the server longer than the budget.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace claw::redis {

// How many messages the next call takes, so that none holds the server longer than the budget: from what a message cost so
// far, with room for a server that is slower the next time.
class Pace {
 public:
  static constexpr std::size_t kFirst = 100, kLeast = 10;
  // `most`, `least`: bounds of a slice whatever it costs.
  explicit Pace(Millis budget, std::size_t most = 1'000, std::size_t least = kLeast) : aim_(std::chrono::nanoseconds(budget) * 3 / 5), most_(most), least_(least) {}
  // `fixed`: what the call costs however few messages it takes.
  std::size_t slice(std::chrono::nanoseconds fixed) const {
    if (!cost_) return kFirst;
    const auto fitting = std::max<std::int64_t>(0, (aim_ - fixed) / std::max(*cost_, std::chrono::nanoseconds(1)));
    return std::clamp(static_cast<std::size_t>(fitting), least_, std::max(least_, std::min(most_, last_ * 2)));
  }
  void took(std::chrono::nanoseconds time, std::chrono::nanoseconds fixed, std::size_t messages) {
    const auto cost = std::max(time - fixed, time / 4) / static_cast<std::int64_t>(std::max<std::size_t>(1, messages));
    // Rises at once, falls slowly: one call that was quick by chance proves little.
    cost_ = !cost_ || cost > *cost_ ? cost : (*cost_ * 3 + cost) / 4;
    last_ = std::max(messages, least_);
  }

 private:
  std::chrono::nanoseconds aim_;
  std::size_t most_, least_;
  std::optional<std::chrono::nanoseconds> cost_;  // of one message
  std::size_t last_ = kFirst;
};

}  // namespace claw::redis
