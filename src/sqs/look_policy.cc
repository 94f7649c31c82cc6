#include "sqs/look_policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace claw::sqs {
namespace {

std::string redrive_words(const Queue& queue) {
  return fmt::format("RedrivePolicy of {} moves a message to {} after {} receives (maxReceiveCount {})", escape(queue.name, 90),
                     queue.dead_letter.empty() ? "its dead-letter queue" : escape(queue.dead_letter, 90), *queue.most_receives, *queue.most_receives);
}

}  // namespace

std::optional<std::uint32_t> looks_left(const Queue& queue, std::uint32_t own_looks) {
  if (!queue.most_receives) return std::nullopt;
  const std::uint32_t allowance = *queue.most_receives <= kLeftToConsumers ? 0 : *queue.most_receives - kLeftToConsumers;
  return allowance > own_looks ? allowance - own_looks : 0;
}

LookRuling rule(const LookFacts& facts) {
  const Queue& queue = facts.queue;
  LookRuling out;
  const std::optional<std::uint32_t> left = looks_left(queue, facts.own_looks);
  const bool finishing = facts.search && left && *queue.most_receives > kLeftToConsumers && facts.own_looks + kLeftToConsumers <= *queue.most_receives;
  if (left && *left == 0 && !finishing) {
    out.refusal = redrive_words(queue) + (facts.own_looks == 0 ? fmt::format(" and every look spends one: looking could dead-letter good messages. Raise it to {} or more, or look at the dead-letter queue", kLeftToConsumers + 2)
                                                                : fmt::format(" and {} of our looks are spent on messages in it: one more could dead-letter good ones. Raise it, or wait until the queue has turned over", facts.own_looks));
    return out;
  }
  out.most_of_each = left ? std::max(1u, *left) : 3;
  const std::uint64_t room = queue.held >= kInFlightCap ? 0 : std::min(kMostHeld, kInFlightCap - queue.held);
  out.most_held = static_cast<std::size_t>(room);
  if (room < 1'000) {
    out.refusal = fmt::format("{} has {} messages in flight of about {} that SQS allows: a look would stop its consumers", escape(queue.name, 90), grouped(queue.held), grouped(kInFlightCap));
    return out;
  }
  switch (facts.wanted) {
    case LookMode::hold_all:
      // What arrives meanwhile is hidden too, up to a fifth more.
      out.most_seen = std::min<std::uint64_t>(room, queue.visible + queue.held + queue.visible / 5 + 1'000);
      if (queue.visible > room && !queue.fifo)
        out.refusal = fmt::format("{} has {} messages; SQS lets about {} be in flight, so it cannot be looked at whole. Ways out: look: sample (the first {}, to report), look: stream (all, each seen once, some received twice)",
                                  escape(queue.name, 90), grouped(queue.visible), grouped(kInFlightCap), grouped(kSampleSize));
      break;
    case LookMode::sample: out.most_seen = kSampleSize; break;
    case LookMode::stream: out.most_seen = queue.visible + queue.held + queue.visible / 5 + 1'000; break;
  }
  if (queue.most_receives) out.caveat = redrive_words(queue) + "; every look spends one";
  return out;
}

}  // namespace claw::sqs
