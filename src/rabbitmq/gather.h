// The planned messages of a queue, found again in one hold. A message of RabbitMQ has no id that the broker would know: it is
// recognised by the digest of all its bytes. Equal bytes are different messages: they are counted.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "broker/broker.h"
#include "rabbitmq/hold.h"

namespace claw::rabbitmq {

struct HeldTag {
  std::uint64_t tag = 0;
  bool redelivered = false;
};

// What one hold found of a plan. Kept between a look or read() and the wave that follows, so that both cost one delivery.
struct Kept {
  std::unique_ptr<Hold> hold;
  std::map<std::string, std::deque<HeldTag>> by_digest;             // 32 raw bytes
  std::map<std::string, std::vector<OwnedField>> content;           // only when it was asked for
  bool exhausted = false;                                           // what is not here was not in the queue
  MonoTime since;                                                   // when all of it was held
};

// Holds the queue from its head until every planned message was met, or to the bound. Refuses by the look policy.
Result<Kept> gather(Session& session, const PlannedQueue& queue, bool with_content, Deadline deadline);

// Gives back what is kept of this queue, or of all, and what the last look left.
void let_go(Session& session, const std::string& queue);
void let_go_all(Session& session);

// The facts that a look at this queue stands on, or Code::refused with the reason.
struct Permission {
  HoldLimits limits;
  std::optional<std::int64_t> delivery_limit;
  LookPromise promise;
  bool priorities = false;  // a message may overtake others
};
Result<Permission> may_look(Session& session, const std::string& queue, Deadline deadline);

}  // namespace claw::rabbitmq
