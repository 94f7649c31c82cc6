// What a skill asks after a removal: did it do the consumers good, or harm? Pure.
//
// A guard fails only on what was seen: where nobody consumed before, or the broker does not tell, the answer is unknown, and said.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "model/sample.h"

namespace claw {

enum class Holds { yes, no, unknown };

struct GuardAnswer {
  Holds holds = Holds::unknown;
  std::string words;  // a clause: "3 of 3 consumers are there"
};

// One queue, watched for a while after a removal.
struct Looked {
  std::optional<Sample> before;              // as it stood before anything was removed
  std::optional<double> redelivered_before;  // a second
  Sample first, last;                        // of the watch
  bool tells_connections = false;            // the broker knows who is connected; elsewhere a consumer is known by when it last asked
  std::uint64_t asking = 0;                  // consumers that were there during the watch: connected, or asked the broker for work
};

// Fails when consumers were there before and none is now, where the broker knows: one that is only silent may be busy.
GuardAnswer consumers_back(const Looked& queue);
// Fails when consumers ask for work, messages wait that nobody holds, and nothing was acknowledged while it was watched. A
// consumer that is not there yet fails nothing: one that died of poison may take minutes to start again.
GuardAnswer backlog_falls(const Looked& queue);
// Fails when more a second is delivered again than before.
GuardAnswer redelivery_falls(const Looked& queue);

// The answers for several queues as one: the first that fails, else the first that holds, else the first.
GuardAnswer together(std::span<const GuardAnswer> answers);

// Redeliveries a second between the first and the last sample; nullopt with fewer than two, or where the broker does not count.
std::optional<double> redelivery_rate(std::span<const Sample> history);

}  // namespace claw
