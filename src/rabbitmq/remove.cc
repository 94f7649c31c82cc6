// A removal: hold from the head, copy exactly the planned messages to quarantine with confirms, then acknowledge them, then give
// the rest back by closing the channel. The copy is confirmed before the acknowledgement is sent: a crash in between leaves a
// message in both places, never in none, and the next try finds it there.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "rabbitmq/gather.h"
#include "rabbitmq/operations.h"

namespace claw::rabbitmq {
namespace {

constexpr Millis kRemembered{3'000};   // a queue that is so old outlives its broker
constexpr Millis kKeepHold{60'000};    // between waves; then the rest is given back and held anew
constexpr Millis kReturned{10'000};    // what a broken connection held is back by then, unless its node is down
constexpr Millis kPolicyKnown{8'000};  // the management API shows a new queue's policy after one statistics interval (5 s)

void step(Session& session, std::string_view what) {
  if (session.after) session.after(what);
}

Result<QueueFacts> facts_when_known(Session& session, const std::string& queue, Deadline deadline) {
  const Deadline patience = Deadline::in(session.clock, kPolicyKnown).or_sooner(deadline);
  for (;;) {
    CLAW_TRY_ASSIGN(QueueFacts facts, session.queue(queue, deadline));
    if (facts.kind != QueueKind::unknown || patience.expired(session.clock)) return facts;
    session.clock.sleep(Millis(200));
  }
}

// What a quorum queue replicates must not come to stand on one node alone.
Status declare_quarantine(Session& session, const std::string& queue, const std::string& quarantine, Deadline deadline) {
  CLAW_TRY_ASSIGN(const QueueFacts source, session.queue(queue, deadline));
  CLAW_TRY_ASSIGN(const BrokerFacts broker, session.broker(deadline));
  CLAW_TRY_ASSIGN(Connection * control, session.control(deadline));
  const bool quorum = source.kind == QueueKind::quorum;
  Status made = quorum ? control->declare_quorum(quarantine, broker.major >= 4, deadline) : control->declare_classic(quarantine, deadline);
  if (made.ok()) session.declared[quarantine] = session.clock.mono();
  if (made.ok() || made.error().code != Code::denied) return made;
  return make_error(Code::denied, "quarantine " + escape(quarantine, 120), fmt::format("is not there and may not be declared; declare it as a durable {} queue without limits", quorum ? "quorum" : "classic"));
}

// The quarantine is there and loses nothing by itself.
Status ready_quarantine(Session& session, const std::string& queue, const std::string& quarantine, Deadline deadline) {
  if (quarantine.size() > 255) return make_error(Code::unsupported, "quarantine " + escape(quarantine, 80), "the name has more than 255 bytes");
  CLAW_TRY_ASSIGN(Connection * control, session.control(deadline));
  Result<Depth> depth = control->depth(quarantine, deadline);
  if (!depth && depth.error().code == Code::not_found) {
    CLAW_TRY(declare_quarantine(session, queue, quarantine, deadline));
  } else if (!depth) {
    return depth.error();
  }
  CLAW_TRY_ASSIGN(const QueueFacts facts, facts_when_known(session, quarantine, deadline));
  CLAW_TRY_ASSIGN(const BrokerFacts broker, session.broker(deadline));
  const std::string reason = refuse_quarantine(facts, broker);
  if (!reason.empty()) return make_error(Code::refused, "quarantine " + escape(quarantine, 120), reason);
  return {};
}

// A broker that is killed may forget a queue that was declared in its last seconds, with all that was confirmed into it (seen on 3.10
// under load: its schema is written late). So nothing leaves its queue for a quarantine that is so young.
void await_remembered(Session& session, const std::string& quarantine) {
  const auto made = session.declared.find(quarantine);
  if (made == session.declared.end()) return;
  const Millis age = elapsed(made->second, session.clock.mono());
  if (age < kRemembered) session.clock.sleep(kRemembered - age);
  session.declared.erase(made);
}

// Which numbers of this execution are in quarantine; looked up once a session.
Result<std::set<std::size_t>*> numbers_in_quarantine(Session& session, const RemoveRequest& request, Deadline deadline) {
  const std::pair key(request.queue.queue.name, request.execution_id);
  auto known = session.in_quarantine.find(key);
  if (known == session.in_quarantine.end()) {
    CLAW_TRY(ready_quarantine(session, request.queue.queue.name, request.queue.quarantine, deadline));
    CLAW_TRY_ASSIGN(const auto there, read_quarantine(session, request.queue.quarantine, request.execution_id, deadline));
    std::set<std::size_t> numbers;
    for (const Quarantined& one : there) numbers.insert(one.number);
    known = session.in_quarantine.emplace(key, std::move(numbers)).first;
  }
  return &known->second;
}

// What a connection held that broke comes back to the queue, as a rule at once; not what a quorum queue gave to a node that died with
// its leader (see Session::holder()): it is neither here nor gone. False: some may still be held.
Result<bool> await_return(Session& session, const RemoveRequest& request, std::size_t missing, Deadline deadline) {
  const Deadline patience = Deadline::in(session.clock, kReturned).or_sooner(deadline);
  for (;;) {
    CLAW_TRY_ASSIGN(Connection * control, session.control(deadline));
    CLAW_TRY_ASSIGN(const Depth depth, control->depth(request.queue.queue.name, deadline));
    if (depth.ready >= missing) return true;
    if (patience.expired(session.clock)) break;
    session.clock.sleep(Millis(100));
  }
  CLAW_TRY_ASSIGN(const BrokerFacts broker, session.broker(deadline));
  if (broker.warnings.empty()) return false;  // live consumers have it
  return make_error(Code::unavailable, "remove from " + escape(request.queue.queue.text(), 120), broker.warnings.front() + ", and what it held of the queue is not back");
}

Result<Kept*> kept_of(Session& session, const RemoveRequest& request, const std::set<std::size_t>& quarantined, Deadline deadline) {
  const std::string& queue = request.queue.queue.name;
  if (const auto found = session.kept.find(queue); found != session.kept.end() && session.clock.mono() - found->second.since > kKeepHold) let_go(session, queue);
  auto found = session.kept.find(queue);
  if (found == session.kept.end()) {
    bool all_back = true;
    if (request.again) {
      std::size_t missing = 0;
      for (std::size_t i = 0; i < request.messages.size(); ++i) missing += !request.messages[i].fields.empty() && !quarantined.contains(request.first_number + i);
      CLAW_TRY_ASSIGN(all_back, await_return(session, request, missing, deadline));
    }
    CLAW_TRY_ASSIGN(Kept kept, gather(session, request.queue, false, deadline));
    kept.exhausted = kept.exhausted && all_back;
    found = session.kept.emplace(queue, std::move(kept)).first;
  }
  return &found->second;
}

// The broker answers for acknowledgements before a quorum queue has them from its leader. When that one is lost in this moment, so
// may they be (measured): then the next try finds out, and acknowledges what is in quarantine already once more.
Status still_led(Session& session, const QueueId& queue, const std::string& before, Deadline deadline) {
  CLAW_TRY_ASSIGN(const std::string now, session.leadership(queue.name, deadline));
  if (now == before) return {};
  return make_error(Code::outcome_unknown, "remove from " + escape(queue.text(), 120), fmt::format("the queue was {} and is {}: acknowledgements may be lost", before, now));
}

struct Work {
  std::vector<std::size_t> copy;          // indexes into the request: to quarantine
  std::vector<std::uint64_t> acknowledge; // tags
};

std::optional<HeldTag> take_first(std::deque<HeldTag>& held, bool only_redelivered) {
  const auto hit = std::find_if(held.begin(), held.end(), [&](const HeldTag& h) { return h.redelivered || !only_redelivered; });
  if (hit == held.end()) return std::nullopt;
  const HeldTag out = *hit;
  held.erase(hit);
  return out;
}

// A message whose copy an earlier try left in quarantine may still be in the queue: its acknowledgement was never sent, or was not
// applied. It is only acknowledged. Of equal bytes no more are taken for such than there are beyond those still to be removed.
void plan_leftovers(const RemoveRequest& request, const std::set<std::size_t>& quarantined, Kept& kept, std::vector<Removal>& removals, Work& work,
                    const std::vector<std::string>& digests) {
  std::map<std::uint64_t, std::size_t> still_to_remove;
  for (std::size_t n = 0; n < request.queue.messages.size(); ++n) {
    const bool taken_now = n >= request.first_number && n < request.first_number + request.messages.size();
    if (!taken_now && !quarantined.contains(n)) ++still_to_remove[request.queue.messages[n].key.low];
  }
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    if (digests[i].empty() || !quarantined.contains(request.first_number + i)) continue;
    removals[i].fate = Fate::removed;
    const auto held = kept.by_digest.find(digests[i]);
    if (held == kept.by_digest.end() || held->second.size() <= still_to_remove[short_digest(digests[i])]) continue;
    if (const auto tag = take_first(held->second, true)) work.acknowledge.push_back(tag->tag);
  }
}

void plan_copies(const RemoveRequest& request, const std::set<std::size_t>& quarantined, Kept& kept, std::vector<Removal>& removals, Work& work,
                 const std::vector<std::string>& digests) {
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    removals[i].index = i;
    if (digests[i].empty() || quarantined.contains(request.first_number + i)) continue;
    removals[i].fate = kept.exhausted ? Fate::gone : Fate::not_found;
    const auto held = kept.by_digest.find(digests[i]);
    if (held == kept.by_digest.end()) continue;
    const auto tag = take_first(held->second, false);
    if (!tag) continue;
    removals[i].fate = Fate::removed;
    work.copy.push_back(i);
    work.acknowledge.push_back(tag->tag);
  }
}

Status copy_to_quarantine(Session& session, const RemoveRequest& request, const Work& work, Deadline deadline) {
  if (work.copy.empty()) return {};
  CLAW_TRY_ASSIGN(Connection * publisher, session.publisher(deadline));
  for (const std::size_t i : work.copy) {
    CLAW_TRY_ASSIGN(const Publishing copy, for_quarantine(request.messages[i].fields, request.execution_id, request.first_number + i));
    CLAW_TRY(publisher->publish(request.queue.quarantine, copy.properties, copy.body, deadline));
  }
  step(session, "published");
  CLAW_TRY(publisher->confirmed(deadline));
  step(session, "confirmed");
  return {};
}

Result<std::vector<Removal>> remove_held(Session& session, const RemoveRequest& request, Deadline deadline) {
  CLAW_TRY_ASSIGN(std::set<std::size_t> * quarantined, numbers_in_quarantine(session, request, deadline));
  CLAW_TRY_ASSIGN(Kept * kept, kept_of(session, request, *quarantined, deadline));
  CLAW_TRY_ASSIGN(const std::string led, session.leadership(request.queue.queue.name, deadline));
  std::vector<Removal> removals(request.messages.size());
  std::vector<std::string> digests;
  for (const Message& message : request.messages) digests.push_back(message.fields.empty() ? std::string() : message.content_digest());
  Work work;
  plan_copies(request, *quarantined, *kept, removals, work, digests);
  plan_leftovers(request, *quarantined, *kept, removals, work, digests);
  CLAW_TRY(copy_to_quarantine(session, request, work, deadline));
  await_remembered(session, request.queue.quarantine);
  CLAW_TRY(kept->hold->remove(work.acknowledge, deadline));
  step(session, "acknowledged");
  CLAW_TRY(still_led(session, request.queue.queue, led, deadline));
  for (const std::size_t i : work.copy) quarantined->insert(request.first_number + i);
  if (request.first_number + request.messages.size() < request.queue.messages.size()) return removals;  // the next wave goes on with this hold
  CLAW_TRY(kept->hold->release(deadline));
  let_go(session, request.queue.queue.name);
  step(session, "released");
  return removals;
}

}  // namespace

Result<std::vector<Removal>> remove_messages(Session& session, const RemoveRequest& request, Deadline deadline) {
  Result<std::vector<Removal>> removals = remove_held(session, request, deadline);
  if (!removals) {  // what is where is not known any more: looked up before the next try
    let_go_all(session);
    session.in_quarantine.clear();
  }
  return removals;
}

}  // namespace claw::rabbitmq
