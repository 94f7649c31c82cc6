// May we look at this queue, how much of it at a time, and what does that cost? Pure.
//
// There is no browse: a look takes messages and gives them back. Measured on 3.10; what is known of 4.x is from its documentation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "model/queue.h"
#include "rabbitmq/management.h"

namespace claw::rabbitmq {

// Bounds on what one hold takes away from the consumers, and from the broker's memory.
struct HoldLimits {
  std::uint64_t messages = 50'000;  // at most 65,535: a consumer's prefetch
  std::uint64_t bytes = 128ull << 20;
  Millis time{30'000};
  bool quorum = false;  // see Depth::nothing_at_all()
};

// How much of the queue one hold may take, by its mean size and by the broker's free memory; 0: nothing.
HoldLimits hold_limits(const QueueFacts& queue, const BrokerFacts& broker);

// The limit that a message's x-delivery-count must not pass; nullopt: none.
std::optional<std::int64_t> delivery_limit(const QueueFacts& queue, const BrokerFacts& broker);

LookPromise judge_look(const QueueFacts& queue, const BrokerFacts& broker);

// Why a queue must not receive what we set aside; empty when it may.
std::string refuse_quarantine(const QueueFacts& queue, const BrokerFacts& broker);
// Why messages must not be put back into a queue now; empty when they may.
std::string refuse_restore(const QueueFacts& queue, const BrokerFacts& broker);

}  // namespace claw::rabbitmq
