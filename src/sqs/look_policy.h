// May this queue be looked at, and how? Pure. Every receive spends one of the receives that a RedrivePolicy allows, and
// SQS lets about 120,000 messages of a queue be in flight: a look that passes either limit would dead-letter good messages
// or fail half-way, so it is refused, with the limit and the ways out named.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "sqs/queue.h"

namespace claw::sqs {

inline constexpr std::uint64_t kInFlightCap = 120'000;
inline constexpr std::uint64_t kMostHeld = 100'000;
inline constexpr std::uint64_t kSampleSize = 10'000;
inline constexpr std::uint32_t kLeftToConsumers = 3;  // receives that our looks never touch

enum class LookMode {
  hold_all,  // hide everything until the end: each message is seen once
  sample,    // the first kSampleSize
  stream,    // hide up to the limit, then let the longest-hidden go; sees each message once, may receive it again
};

struct LookFacts {
  const Queue& queue;
  std::uint32_t own_looks = 0;  // that messages now in it may have gone through
  LookMode wanted = LookMode::hold_all;
  bool search = false;          // for messages of a plan: one look more is allowed, so that an execution can be finished
};

struct LookRuling {
  std::string refusal;  // in words; empty: allowed
  std::size_t most_held = 0;
  std::uint64_t most_seen = 0;      // distinct messages
  std::uint32_t most_of_each = 1;   // receives of one message
  std::string caveat;
  bool allowed() const { return refusal.empty(); }
};

LookRuling rule(const LookFacts& facts);
// Looks that messages without a receive so far can still bear; nullopt: no limit.
std::optional<std::uint32_t> looks_left(const Queue& queue, std::uint32_t own_looks);

}  // namespace claw::sqs
