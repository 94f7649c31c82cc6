// The age of a queue's oldest message. SQS itself does not tell it; CloudWatch has it by the minute, some minutes late.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "sqs/client.h"

namespace claw::sqs {

// Remembers what it was told for a minute: the metric has no finer grain, and each question costs money. One thread.
class Ages {
 public:
  explicit Ages(Client client) : client_(std::move(client)) {}

  // May we ask?
  Status check(Deadline deadline);
  // Makes known the ages of `queues` (names), as old as a minute.
  void refresh(std::span<const std::string> queues, Deadline deadline);
  // Why the last refresh did not succeed; empty when it did.
  const std::string& problem() const { return problem_; }
  // nullopt: CloudWatch has no figure for the last ten minutes, as of a queue without traffic.
  std::optional<Millis> of(const std::string& queue) const;

 private:
  struct Known {
    MonoTime asked;
    std::optional<Millis> age;
  };
  Status ask(std::span<const std::string> queues, Deadline deadline);

  Client client_;
  std::map<std::string, Known> known_;
  std::string problem_;
};

}  // namespace claw::sqs
