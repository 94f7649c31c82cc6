#include "rabbitmq/gather.h"

#include "base/text.h"

namespace claw::rabbitmq {

Result<Permission> may_look(Session& session, const std::string& queue, Deadline deadline) {
  CLAW_TRY_ASSIGN(const QueueFacts facts, session.queue(queue, deadline));
  CLAW_TRY_ASSIGN(const BrokerFacts broker, session.broker(deadline));
  Permission out{.limits = hold_limits(facts, broker), .delivery_limit = delivery_limit(facts, broker), .promise = judge_look(facts, broker), .priorities = facts.max_priority > 0};
  if (!out.promise.refusal.empty()) return make_error(Code::refused, "look at " + session.name + "/" + escape(queue, 120), out.promise.refusal);
  return out;
}

Result<Kept> gather(Session& session, const PlannedQueue& queue, bool with_content, Deadline deadline) {
  CLAW_TRY_ASSIGN(Permission may, may_look(session, queue.queue.name, deadline));
  may.limits.in_order = may.limits.quorum;  // a classic queue sorts what comes back
  if (!may.promise.no_removal.empty()) return make_error(Code::unsupported, "remove from " + escape(queue.queue.text(), 120), may.promise.no_removal);
  std::map<std::uint64_t, std::size_t> missing;  // by short digest, as the plan has it
  for (const PlannedMessage& message : queue.messages) ++missing[message.key.low];
  std::size_t left = queue.messages.size();
  Kept out;
  session.looked.reset();
  CLAW_TRY_ASSIGN(out.hold, Hold::open(session, queue.queue.name, may.limits, may.delivery_limit, deadline));
  while (left > 0) {
    Held held;
    CLAW_TRY_ASSIGN(const bool more, out.hold->next(held, deadline));
    if (!more) break;
    const std::string digest = digest_of(held.body, held.seen.envelope);
    const auto wanted = missing.find(short_digest(digest));
    if (wanted == missing.end()) continue;
    // More of the same bytes than were planned: only after a crash, when some are in quarantine too. All are remembered.
    out.by_digest[digest].push_back({held.tag, held.redelivered});
    if (with_content) out.content.try_emplace(digest, fields_of(held.body, held.seen.envelope));
    if (wanted->second > 0) {
      --wanted->second;
      --left;
    }
  }
  out.exhausted = out.hold->exhausted();
  CLAW_TRY(out.hold->stop(deadline));
  out.since = session.clock.mono();
  return out;
}

void let_go(Session& session, const std::string& queue) {
  session.looked.reset();
  session.kept.erase(queue);
}
void let_go_all(Session& session) {
  session.looked.reset();
  session.kept.clear();
}

}  // namespace claw::rabbitmq
