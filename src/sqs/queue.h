// A queue as SQS describes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sqs/client.h"

namespace claw::sqs {

struct Queue {
  std::string name;
  std::string url;
  bool fifo = false;
  std::uint64_t visible = 0;
  std::uint64_t held = 0;     // not visible
  std::uint64_t delayed = 0;
  Millis visibility{30'000};  // the queue's default timeout
  Millis retention = std::chrono::days(4);
  std::size_t largest_message = 262'144;
  std::optional<std::uint32_t> most_receives;  // RedrivePolicy's maxReceiveCount; nullopt: never dead-lettered
  std::string dead_letter;                     // name of the queue that it points to
  std::string kms_key;                         // empty: SQS's own or none
  bool sse = false;
};

// Every queue whose name starts with `prefix`. Code::full beyond kMostQueues.
inline constexpr std::size_t kMostQueues = 10'000;
Result<std::vector<Queue>> list_queues(Client& client, const std::string& prefix, Deadline deadline);
// Name and url only.
Result<Queue> find_queue(Client& client, const std::string& name, Deadline deadline);
// Fills in the attributes. One that vanished has empty url.
Status describe(Client& client, std::vector<Queue>& queues, Deadline deadline);
Result<Queue> described(Client& client, const std::string& name, Deadline deadline);

// "orders-deployclaw-quarantine", "orders-deployclaw-quarantine.fifo"; at most 80 characters, by cutting and a digest.
std::string quarantine_of(const std::string& name);
bool is_quarantine(const std::string& name);
// Creates it when it is not there: same type and encryption, 14 days. Refuses one that dead-letters.
Result<Queue> open_quarantine(Client& client, const Queue& source, const std::string& name, Deadline deadline);

// Calls a batch action for `entries` (JSON objects without Id), ten and 1 MiB at a time. Of each entry the JSON text
// of its Successful element, or its error; an entry that failed for no fault of ours is tried three times.
std::vector<Result<std::string>> call_batches(Client& client, const std::string& action, const std::string& url, std::vector<std::string> entries,
                                              Repeat repeat, Deadline deadline);

}  // namespace claw::sqs
