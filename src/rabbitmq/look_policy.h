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
  std::uint64_t messages = 50'000;
  std::uint64_t bytes = 128ull << 20;
  Millis time{30'000};
  std::uint64_t part = 65'535;      // of one consumer; at most a prefetch
  bool in_order = true;             // false: the next part is asked for before the last one has come, and their messages come mixed
  bool quorum = false;              // see Depth::nothing_at_all()
  std::string leader = {};          // node of a quorum queue's leader, see Session::holder()
  std::uint64_t memory_floor = 0;   // a hold takes no more when the broker has less left than so many bytes; 0: not known
};

// How much of the queue one hold may take, by its mean size and by the broker's free memory; 0: nothing. All of a long queue
// only where nobody acknowledges anything: what is hidden there is missed by nobody.
HoldLimits hold_limits(const QueueFacts& queue, const BrokerFacts& broker);

// The limit that a message's x-delivery-count must not pass; nullopt: none.
std::optional<std::int64_t> delivery_limit(const QueueFacts& queue, const BrokerFacts& broker);

LookPromise judge_look(const QueueFacts& queue, const BrokerFacts& broker);

// Why a queue must not receive what we set aside; empty when it may.
std::string refuse_quarantine(const QueueFacts& queue, const BrokerFacts& broker);
// Why messages must not be put back into a queue now; empty when they may.
std::string refuse_restore(const QueueFacts& queue, const BrokerFacts& broker);

}  // namespace claw::rabbitmq
