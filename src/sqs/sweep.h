// Receives a queue's messages and hides each, as long as there are some that were not seen.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sqs/client.h"
#include "sqs/holds.h"
#include "sqs/message.h"
#include "sqs/queue.h"

namespace claw::sqs {

struct SweepOptions {
  Millis hold{0};                  // visibility timeout of what is hidden
  std::size_t most_held = 0;
  std::uint64_t most_seen = 0;     // distinct messages
  std::uint32_t most_of_each = 1;  // receives of one message; a stream that would pass it ends
  bool rolling = false;            // at most_held the longest-hidden go back, instead of the sweep ending
  Millis wait_for_others{0};       // once the queue is dry, for what others hold to come back
  std::function<bool(const MessageKey&)> pinned = {};  // what rolling never lets go; null: nothing
};

// Holds and client outlive it. Used by one thread.
class Sweep {
 public:
  Sweep(Client& client, Queue queue, Holds& holds, SweepOptions options)
      : client_(client), queue_(std::move(queue)), holds_(holds), options_(std::move(options)), started_(client.clock().now() + client.skew()) {}

  // More messages, each once; all are in `holds` now. Empty at the end. A queue that was deleted meanwhile is at its end.
  Result<std::vector<Received>> next(Deadline deadline);
  // Takes in what is still under way, so that nothing is hidden that `holds` does not know. Without it that comes back by itself.
  void stop();

  // At the end: the queue ran dry, nothing was left out.
  bool complete() const { return complete_; }
  // At the end: messages that others hold, as far as SQS's counts tell.
  std::uint64_t elsewhere() const { return elsewhere_; }

 private:
  Status ask(Deadline deadline);
  Result<std::vector<Received>> take(bool& dry);
  Status after_dry(Deadline deadline);
  void make_room(Deadline deadline);
  void end(bool complete) { ended_ = true, complete_ = complete; }

  Client& client_;
  Queue queue_;
  Holds& holds_;
  SweepOptions options_;
  WallTime started_;
  std::optional<Client::Flight> flight_;
  MonoTime asked_at_{};
  int wait_s_ = 0;  // long poll; 0: short
  std::optional<MonoTime> dry_since_;
  std::unordered_map<MessageKey, std::uint32_t, KeyHash> seen_;  // receives of each
  int only_repeats_ = 0;          // answers in a row, while rolling
  std::uint64_t repeats_ = 0;     // messages that came again although they were hidden
  bool at_limit_ = false;
  bool ended_ = false;
  bool complete_ = false;
  std::uint64_t elsewhere_ = 0;
};

}  // namespace claw::sqs
