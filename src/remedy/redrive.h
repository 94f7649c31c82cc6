// After a fix: messages of a dead-letter queue go back to where they came from, by signature, a few first, then slowly, and
// no further when they fail again.
//
// First the plan's messages move from the dead-letter queue to its quarantine, like any removal: with a snapshot, journaled,
// audited. From there they go to the target. So each is in one place always, and a redrive that was cut off leaves the rest in
// quarantine, whence a rollback brings them back to the dead-letter queue.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "remedy/drain.h"

namespace claw::remedy {

struct RedriveOptions {
  QueueId target;
  QueueType target_type = QueueType::standard;
  ListEnd takes_from = ListEnd::tail;
  std::uint64_t canary = 10;    // messages that go first
  double rate_per_s = 50;       // of the others
  Millis wait{30'000};          // after the canary, for it to fail again
};

struct RedriveOutcome {
  std::uint64_t taken = 0;         // out of the dead-letter queue
  std::uint64_t sent = 0;          // back to the target
  std::uint64_t failed_again = 0;  // of those sent: seen in the dead-letter queue again
  std::uint64_t returned = 0;      // of those taken: put back into the dead-letter queue, because others failed again
};

// What tells a message from others after it went another round: its content, or its body alone where brokers and clients add
// to what stands beside it.
std::uint64_t identity_of(QueueType type, std::span<const Field> fields);

// How many of these messages are in the dead-letter queue now.
using CountFailures = std::function<Result<std::uint64_t>(const std::set<std::uint64_t>& identities)>;

// The plan is of one queue. Code::refused: the brake went on; what was not sent yet is in quarantine.
Result<RedriveOutcome> redrive(const Plan& plan, const RedriveOptions& options, const CountFailures& count_failures, Ledger& ledger, Surroundings& around);

}  // namespace claw::remedy
