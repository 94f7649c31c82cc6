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
#include "base/digest.h"
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
  // After the end: what the user should know about how this look went, in words; empty when there is nothing.
  virtual std::string remark() const { return {}; }
  // After the end: what an earlier look saw and this one did not is no longer in the queue, unless a consumer holds it.
  virtual bool tells_what_left() const { return true; }
  // After the end: it still hides what it saw, until settle() or its end.
  virtual bool holds() const { return false; }
  // Ends the look, naming what is about to be removed; everything else goes back now. The named ones may stay hidden for some
  // minutes, so that remove needs no second look.
  virtual Status settle(std::span<const MessageKey>, Deadline) { return {}; }
};

enum class Fate {
  removed,    // moved to quarantine by this call, or by an earlier try of the same execution
  gone,       // consumed, acknowledged or trimmed meanwhile; nothing was done
  not_found,  // its place is taken by other bytes and it was not found nearby; nothing was done
  too_deep,   // reaching it would hold the server longer than the budget; nothing was done, and a later plan may reach it
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
  bool again = false;                 // an earlier try of these may have had effect: what it moved is not looked for again
};

// What reconciles a crash: which of an execution's messages are in quarantine now.
struct Quarantined {
  std::size_t number = 0;      // as given at removal
  std::string quarantine_id;   // native id within the quarantine queue
  Message message;             // original id, fields, groups at removal
};

struct QuarantinedDigest {
  std::size_t number = 0;
  std::string quarantine_id;
  Digest digest{};  // of its content
};

// A quarantine entry that names our execution and yet cannot be ours has no number.
inline constexpr std::size_t kNoNumber = SIZE_MAX;
// The entries that are what this execution put there, one a message, byte-equal to the vault's copy. What is left over was
// put there or changed by somebody else.
std::vector<const Quarantined*> genuine(std::span<const Quarantined> held, std::span<const Message> messages);

enum class RestoreOrder { exact, tail };
std::string_view name(RestoreOrder order);  // "original", "tail"

struct RestoreRequest {
  QueueId queue;
  QueueType type = QueueType::stream;
  std::string execution_id;
  std::string quarantine;
  std::span<const Message> messages;  // from the vault, by number: what an entry must be equal to
  ListEnd takes_from = ListEnd::tail;
  RestoreOrder wanted = RestoreOrder::exact;
  Millis block_budget{25};
  // Asked before every effect, with its name; an error ends the call there, with nothing half done. Empty: nobody asks.
  std::function<Status(std::string_view step)> before = {};
};

struct RestoreOutcome {
  std::uint64_t restored = 0;
  std::uint64_t in_place = 0;         // of those, where they were: under the old id, between the old neighbours
  std::uint64_t already_present = 0;  // put back earlier
  std::uint64_t failed = 0;           // nowhere to be found in the broker; still in the vault
  std::uint64_t from_vault = 0;       // of the restored: somebody had deleted them from quarantine
  std::uint64_t foreign = 0;          // entries that say they are ours and are not: left where they are
  std::uint64_t repeats = 0;          // deliveries to groups that had acknowledged a message and get it again
  RestoreOrder achieved = RestoreOrder::tail;
  std::string why_not_exact;          // empty when exact
};

// A claim on queues of this broker, for discovery in one pass over all tenants.
struct Claim {
  TenantId tenant;  // empty: "{tenant}" in match.match stands for it, and the queue's name tells
  QueueMatch match;
};
// Neither a glob nor a tenant pattern: there is at most one queue of that name.
bool names_one_queue(const Claim& claim);

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
  // The same, without the content: an execution may have moved more than fits in memory.
  virtual Result<std::vector<QuarantinedDigest>> quarantined_digests(const QueueId& queue, const std::string& quarantine, const std::string& execution_id, Deadline deadline);
  // Idempotent: a message that is no longer in quarantine was restored earlier. Cut off anywhere, a message is in the
  // queue or in quarantine, and the same call again finishes it and clears away what the first left behind.
  virtual Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) = 0;
  // Writes messages of the vault into quarantine again, as remove() left them, for entries that somebody deleted. Only for
  // numbers that are known to be neither in the queue nor in quarantine. Not every broker can.
  virtual Status quarantine_again(const RestoreRequest& request, std::span<const std::size_t> numbers, Deadline deadline);
  // How many messages of a plan remove() would call too_deep, as far as can be told without touching anything.
  virtual std::uint64_t out_of_reach(const PlannedQueue& queue, Millis block_budget) const;
  // Name of the quarantine queue beside `queue`.
  virtual std::string quarantine_name(const QueueId& queue) const = 0;
};

}  // namespace claw
