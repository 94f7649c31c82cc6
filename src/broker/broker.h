// The seam between the agent and a broker. Adapters implement it; nothing above knows a wire protocol.
//
// The honest common part of all brokers is a window: a bounded look at messages that ends by naming what
// to remove; everything else goes back. Redis does more: a look costs nothing (peek), a removal is one atomic
// script that moves a message from the queue to its quarantine, so a message is in exactly one place always.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/message.h"
#include "model/plan.h"
#include "model/queue.h"

namespace claw {

// A stream of pages over one queue, in queue order, each message once. Destroying it releases everything
// and removes nothing. Used by one thread. Bounded memory: one page plus what is in flight.
class Window {
 public:
  virtual ~Window() = default;
  // Fills `page`, or returns false at the end. A queue deleted meanwhile is the end, not an error.
  virtual Result<bool> next(Batch& page, Deadline deadline) = 0;
  // Ends the look, naming what is about to be removed; everything else goes back now. Of a queue whose look hides what
  // it sees (LookKind::take) the named ones may stay hidden for some minutes, so that remove needs no second look.
  virtual Status settle(std::span<const MessageKey>, Deadline) { return {}; }
};

enum class Fate {
  removed,    // moved to quarantine by this call, or by an earlier try of the same execution
  gone,       // consumed, acknowledged or trimmed meanwhile; nothing was done
  not_found,  // its place is taken by other bytes and it was not found nearby; nothing was done
};
std::string_view name(Fate fate);

struct Removal {
  std::size_t index = 0;  // into RemoveRequest::messages
  Fate fate = Fate::gone;
  std::vector<GroupState> groups;  // as they stood in the instant of removal
};

struct RemoveRequest {
  const PlannedQueue& queue;
  std::span<const Message> messages;  // full content, as in the snapshot, in plan order
  std::string execution_id;           // written beside each quarantined message
  std::size_t first_number = 0;       // number of messages[0] within the execution's queue
  Millis block_budget{25};
};

// What reconciles a crash: which of an execution's messages are in quarantine now.
struct Quarantined {
  std::size_t number = 0;      // as given at removal
  std::string quarantine_id;   // native id within the quarantine queue
  Message message;             // original id, fields, groups at removal
};

enum class RestoreOrder { exact, tail };

struct RestoreRequest {
  QueueId queue;
  QueueType type = QueueType::stream;
  std::string execution_id;
  std::string quarantine;
  std::span<const Message> messages;  // from the vault, by number; used to check and, if quarantine was lost, to put back
  RestoreOrder wanted = RestoreOrder::exact;
  Millis block_budget{25};
};

struct RestoreOutcome {
  std::uint64_t restored = 0;
  std::uint64_t already_present = 0;  // put back earlier
  std::uint64_t failed = 0;           // nowhere to be found in the broker; still in the vault
  RestoreOrder achieved = RestoreOrder::tail;
  std::string why_not_exact;          // empty when exact
};

// One tenant's claim on queues of this broker, for discovery in one pass over all tenants.
struct Claim {
  TenantId tenant;
  QueueMatch match;
};

struct Pong {
  std::string server;                 // "redis 7.0.15 standalone"
  Millis round_trip{0};
  std::vector<std::string> warnings;  // rights, limits, clock skew, persistence
};

// One connection (a lane). Not thread-safe: one thread uses it at a time. Every call has a deadline.
class Broker {
 public:
  virtual ~Broker() = default;

  virtual Result<Pong> check(Deadline deadline) = 0;
  // All queues that a claim matches, with measures, sorted by name. A queue matched by two tenants is
  // Code::conflict naming both. Our own quarantine queues are never matched.
  virtual Result<std::vector<QueueView>> discover(std::span<const Claim> claims, Deadline deadline) = 0;
  // Fresh measures of queues known by discover. A queue that vanished comes back with zero entries.
  virtual Result<std::vector<QueueView>> measure(std::span<const QueueView> queues, Deadline deadline) = 0;
  virtual Result<std::unique_ptr<Window>> look(const QueueView& queue, Deadline deadline) = 0;
  // The content and group state of planned messages, in plan order; one that is gone has no fields. `known` is content
  // that a look read before: an adapter whose messages never change under their id need not read it again.
  virtual Result<std::vector<Message>> read(const PlannedQueue& queue, std::span<const PlannedMessage> messages,
                                            const ContentByKey& known, Deadline deadline) = 0;
  // Idempotent by (execution_id, number). On outcome_unknown call quarantined() before anything else.
  virtual Result<std::vector<Removal>> remove(const RemoveRequest& request, Deadline deadline) = 0;
  // What the quarantine holds of this execution, by number.
  virtual Result<std::vector<Quarantined>> quarantined(const QueueId& queue, const std::string& quarantine,
                                                       const std::string& execution_id, Deadline deadline) = 0;
  // Idempotent: a message that is no longer in quarantine was restored earlier.
  virtual Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) = 0;
  // Name of the quarantine queue beside `queue`.
  virtual std::string quarantine_name(const QueueId& queue) const = 0;
};

}  // namespace claw
