#include "rabbitmq/look_policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace claw::rabbitmq {
namespace {

constexpr std::int64_t kLimitSince4 = 20;       // of a quorum queue that sets none
constexpr std::int64_t kLeastLimit = 3;         // one look, one removal, and one delivery to a consumer
constexpr std::uint64_t kCostHeld = 2'500;      // bytes of the broker's memory beside the body; measured: 1,400 to 3,300, body included
constexpr std::uint64_t kShareOfMemory = 2;     // a hold takes at most half of what is free
// A channel that holds much is slow to find what is acknowledged (measured: 20 ms each with 300,000), so a hold has many. Not on a
// quorum queue: when a crash ends them all at once, only a classic queue sorts what comes back.
constexpr std::uint64_t kPart = 16'384, kPartOfQuorum = 65'535;
const HoldLimits kWhole{.messages = 1'000'000, .bytes = 1ull << 30, .time = std::chrono::minutes(2)};
constexpr std::uint64_t kLeastHold = 100;       // a look at fewer messages tells nothing

bool drops_head(const QueueFacts& queue) { return queue.overflow.empty() || queue.overflow == "drop-head"; }

// Whether what is published during a hold may push the queue over its limit when the held part returns: the oldest are dropped.
bool near_limit(const QueueFacts& queue) {
  const auto near = [](std::uint64_t now, const std::optional<std::int64_t>& most) {
    return most && static_cast<double>(now) > 0.8 * static_cast<double>(*most);
  };
  return near(queue.ready + queue.unacked, queue.max_length) || near(queue.bytes, queue.max_bytes);
}

std::string refusal(const QueueFacts& queue, const BrokerFacts& broker) {
  if (!broker.alarms.empty()) return "the broker has an alarm: " + broker.alarms.front();
  const bool runs = queue.state == "running" || queue.state == "idle";
  if (!runs && !queue.state.empty()) return "its state is '" + escape(queue.state, 40) + "', expected running";
  if (queue.kind == QueueKind::unknown || !runs) return "its type or policy is not known (yet): a look could use up a delivery limit";
  if (queue.kind == QueueKind::stream) return {};
  if (queue.exclusive) return "it is exclusive to one connection";
  if (queue.auto_delete) return "it is an auto-delete queue: it would be deleted with our consumer";
  if (queue.single_active && queue.consumers > 0) return "it has a single active consumer: nothing would be delivered to us";
  const Millis hold = HoldLimits().time;
  if (queue.message_ttl_ms && *queue.message_ttl_ms < 2 * hold.count())
    return fmt::format("its messages live {} ms: some would expire while they are held (at most {} ms)", *queue.message_ttl_ms, hold.count());
  if (drops_head(queue) && near_limit(queue)) return "it is above 80% of its length limit and drops its oldest messages: what is held could be dropped on return";
  if (queue.kind == QueueKind::quorum) {
    if (broker.version.empty()) return "the broker's version is not known, so its default delivery limit is not";
    const auto limit = delivery_limit(queue, broker);
    if (limit && *limit < kLeastLimit) return fmt::format("its delivery limit is {}: every look counts as a delivery, expected at least {}", *limit, kLeastLimit);
  }
  if (hold_limits(queue, broker).messages < std::min(kLeastHold, queue.ready)) return "the broker has too little memory to hold messages";
  return {};
}

}  // namespace

HoldLimits hold_limits(const QueueFacts& queue, const BrokerFacts& broker) {
  const bool missed_by_nobody = queue.consumers == 0 || queue.ack_rate == 0;
  const bool short_lived = queue.message_ttl_ms && *queue.message_ttl_ms < 2 * kWhole.time.count();
  HoldLimits out = missed_by_nobody && !short_lived ? kWhole : HoldLimits();
  out.part = queue.kind == QueueKind::quorum ? kPartOfQuorum : kPart;
  out.quorum = queue.kind == QueueKind::quorum;
  if (out.quorum) out.leader = queue.node;
  // A hold must reach as deep as the deepest before it whose messages are still there (see Hold::stop()): a whole one would bind the next.
  if (out.quorum && queue.consumers > 0) out.messages = std::min(out.messages, out.part);
  out.memory_floor = broker.memory_free - broker.memory_free / kShareOfMemory;
  const std::uint64_t mean = queue.mean_bytes();
  if (mean > 0) out.messages = std::min(out.messages, std::max<std::uint64_t>(1, out.bytes / mean));
  if (broker.memory_free > 0) out.messages = std::min(out.messages, broker.memory_free / kShareOfMemory / (kCostHeld + mean));
  return out;
}

std::optional<std::int64_t> delivery_limit(const QueueFacts& queue, const BrokerFacts& broker) {
  if (queue.kind != QueueKind::quorum) return std::nullopt;
  if (queue.delivery_limit) return *queue.delivery_limit < 0 ? std::nullopt : queue.delivery_limit;  // 4.x: -1 is unlimited
  if (broker.major >= 4) return kLimitSince4;
  return std::nullopt;
}

LookPromise judge_look(const QueueFacts& queue, const BrokerFacts& broker) {
  LookPromise out;
  out.refusal = refusal(queue, broker);
  if (queue.kind == QueueKind::stream) {
    out.caveat = "a look reads by offset and changes nothing";
    out.no_removal = "a stream gives up no single message; move its consumer's offset past it";
    return out;
  }
  out.kind = LookKind::take;
  const HoldLimits limits = hold_limits(queue, broker);
  out.sees_all = queue.ready <= limits.messages;
  out.caveat = "a look hides messages from consumers for seconds and marks them as redelivered";
  if (!out.sees_all) out.caveat += fmt::format("; it sees the first {} of {}", grouped(limits.messages), grouped(queue.ready));
  if (const auto limit = delivery_limit(queue, broker)) {
    out.looks_left = static_cast<std::uint32_t>(std::max<std::int64_t>(0, *limit));
    out.caveat += fmt::format("; each look and each wave of a removal counts as one delivery of {}, and a message that stands at the limit is moved to the tail instead of being lost", *limit);
  } else if (queue.kind == QueueKind::quorum) {
    out.caveat += "; each look and each wave of a removal raises x-delivery-count by one (there is no limit)";
  }
  return out;
}

std::string refuse_quarantine(const QueueFacts& queue, const BrokerFacts& broker) {
  if (!broker.alarms.empty()) return "the broker has an alarm: " + broker.alarms.front();
  if (queue.kind == QueueKind::stream) return "it is a stream, expected a classic or quorum queue";
  if (queue.kind == QueueKind::unknown) return "its type or policy is not known (yet)";
  if (!queue.durable) return "it is not durable";
  if (queue.auto_delete || queue.exclusive || queue.expires_ms) return "the broker would delete it by itself (auto-delete, exclusive or expires)";
  if (queue.message_ttl_ms) return fmt::format("its messages expire after {} ms", *queue.message_ttl_ms);
  if (queue.max_length || queue.max_bytes) return "it has a length limit: messages over it would be lost";
  if (queue.consumers > 0) return "it has consumers: what is set aside would be taken from there";
  if (delivery_limit(queue, broker)) return "it has a delivery limit: looking at it would use it up; expected a classic queue";
  return {};
}

std::string refuse_restore(const QueueFacts& queue, const BrokerFacts& broker) {
  if (!broker.alarms.empty()) return "the broker has an alarm: " + broker.alarms.front();
  if (queue.kind == QueueKind::unknown) return "its type or policy is not known (yet)";
  if (drops_head(queue) && near_limit(queue)) return "it is above 80% of its length limit and drops its oldest messages";
  return {};
}

}  // namespace claw::rabbitmq
