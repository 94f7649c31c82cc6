// What the adapter does with one queue, and what it remembers between calls.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "sqs/adapter.h"
#include "sqs/ages.h"
#include "sqs/client.h"
#include "sqs/holds.h"
#include "sqs/looks.h"
#include "sqs/queue.h"

namespace claw::sqs {

// What one execution did to one queue, as far as this process knows.
struct Moved {
  bool known = false;               // the quarantine was read
  std::set<std::size_t> copied;     // numbers whose copy is in quarantine
  std::set<std::size_t> deleted;    // and whose original is deleted
  bool searched = false;            // the source was searched for the plan's messages
  std::uint64_t elsewhere = 0;      // at the end of that search: messages that others held
  std::optional<Queue> quarantine;
};

struct State {
  Options options;
  Client client;
  Looks looks;
  std::optional<Ages> ages;  // where CloudWatch is configured
  std::map<std::string, std::unique_ptr<Holds>> kept;  // by queue: what a removal is about to take
  std::map<std::pair<std::string, std::string>, Moved> moved;  // (execution, queue)

  ~State();
};

Result<std::vector<QueueView>> discover_queues(State& state, std::span<const Claim> claims, Deadline deadline);
Result<std::vector<QueueView>> measure_queues(State& state, std::span<const QueueView> queues, Deadline deadline);

Result<std::unique_ptr<Window>> look_at(std::shared_ptr<State> state, const QueueView& queue, Deadline deadline);

Result<std::vector<Message>> read_messages(State& state, const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known,
                                           Deadline deadline);
Result<std::vector<Removal>> remove_messages(State& state, const RemoveRequest& request, Deadline deadline);

// Receives everything that a quarantine queue holds of one execution, copies of one number side by side, and leaves it
// in `holds`. Code::unavailable when others hide some of it.
Result<std::vector<Origin>> take_quarantine(State& state, const Queue& quarantine, const std::string& execution_id, std::size_t expected, Holds& holds,
                                            Deadline deadline);
Result<std::vector<Quarantined>> read_quarantine(State& state, const std::string& quarantine, const std::string& execution_id, Deadline deadline);
Result<RestoreOutcome> restore_messages(State& state, const RestoreRequest& request, Deadline deadline);

// Receives messages of a source until all of `planned` are in state.kept or there is nothing left; everything else goes
// back. `wait`: once it is dry, for what others hold. `found` gets the content when it is not null. Gives how many
// messages others held at the end, when something is missing. One of our looks.
Result<std::uint64_t> search(State& state, const Queue& source, const std::set<MessageKey>& planned, Millis wait, std::vector<Received>* found,
                             Deadline deadline);

}  // namespace claw::sqs
