#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "rabbitmq/gather.h"
#include "rabbitmq/operations.h"

namespace claw::rabbitmq {
namespace {

constexpr std::string_view kSuffix = ".quarantine";
constexpr std::uint64_t kMostInQuarantine = 500'000;  // held at once, whatever the broker's memory says: at most 1.7 GB of it
constexpr std::size_t kRestoreBatch = 100;  // a crash during a restore doubles at most so many

// Everything in a quarantine is held at once: its end must be seen.
Result<std::unique_ptr<Hold>> hold_quarantine(Session& session, const std::string& quarantine, Deadline deadline) {
  CLAW_TRY_ASSIGN(const QueueFacts facts, session.queue(quarantine, deadline));
  const HoldLimits limits{.messages = kMostInQuarantine, .bytes = 4ull << 30, .time = std::chrono::minutes(10), .quorum = facts.kind == QueueKind::quorum, .leader = facts.kind == QueueKind::quorum ? facts.node : "", .memory_floor = 1};
  return Hold::open(session, quarantine, limits, std::nullopt, deadline);
}

struct HeldCopy {
  std::uint64_t tag = 0;
  InQuarantine copy;
};

// The next message of the execution; nullopt at the end.
Result<std::optional<HeldCopy>> next_copy(Hold& hold, const std::string& execution_id, Deadline deadline) {
  for (Held held;;) {
    CLAW_TRY_ASSIGN(const bool more, hold.next(held, deadline));
    if (!more) break;
    CLAW_TRY_ASSIGN(const Envelope envelope, unpack(held.seen.envelope));
    CLAW_TRY_ASSIGN(auto copy, from_quarantine({.exchange = envelope.exchange, .routing_key = envelope.routing_key, .properties = envelope.properties, .body = held.body}));
    if (copy && copy->execution_id == execution_id) return std::optional(HeldCopy{held.tag, std::move(*copy)});
  }
  if (hold.taken() == kMostInQuarantine)
    return make_error(Code::full, "quarantine", fmt::format("holds {} messages or more; roll back or empty it before the next removal", grouped(kMostInQuarantine)));
  if (hold.taken() < hold.expected())
    return make_error(Code::unavailable, "quarantine", fmt::format("only {} of {} messages could be held: somebody else holds or takes them", hold.taken(), hold.expected()));
  return std::optional<HeldCopy>();
}

Status may_restore(Session& session, const std::string& queue, Deadline deadline) {
  CLAW_TRY_ASSIGN(const QueueFacts facts, session.queue(queue, deadline));
  CLAW_TRY_ASSIGN(const BrokerFacts broker, session.broker(deadline));
  const std::string reason = refuse_restore(facts, broker);
  if (!reason.empty()) return make_error(Code::refused, "restore to " + escape(queue, 120), reason);
  return {};
}

// One batch: confirmed in its queue before it leaves the quarantine.
Status put_back(Session& session, const std::string& queue, Hold& hold, std::span<const HeldCopy> batch, std::set<std::size_t>& restored, Deadline deadline) {
  CLAW_TRY_ASSIGN(Connection * publisher, session.publisher(deadline));
  for (const HeldCopy& one : batch) {
    if (!restored.insert(one.copy.number).second) continue;  // a double that a crash left: once is enough
    CLAW_TRY_ASSIGN(const Publishing message, for_queue(one.copy.fields, session.endpoint.user));
    CLAW_TRY(publisher->publish(queue, message.properties, message.body, deadline));
  }
  CLAW_TRY(publisher->confirmed(deadline));
  if (session.after) session.after("restored");
  std::vector<std::uint64_t> tags;
  for (const HeldCopy& one : batch) tags.push_back(one.tag);
  return hold.remove(tags, deadline);
}

}  // namespace

std::string quarantine_of(std::string_view queue) { return std::string(queue) + std::string(kSuffix); }
bool is_quarantine(std::string_view queue) { return queue.ends_with(kSuffix); }

Result<std::vector<Quarantined>> read_quarantine(Session& session, const std::string& quarantine, const std::string& execution_id, Deadline deadline) {
  std::map<std::size_t, Quarantined> by_number;
  CLAW_TRY_ASSIGN(Connection * control, session.control(deadline));
  const Result<Depth> depth = control->depth(quarantine, deadline);
  if (!depth && depth.error().code == Code::not_found) return std::vector<Quarantined>();
  if (!depth) return depth.error();
  CLAW_TRY_ASSIGN(const auto hold, hold_quarantine(session, quarantine, deadline));
  for (;;) {
    CLAW_TRY_ASSIGN(auto held, next_copy(*hold, execution_id, deadline));
    if (!held) break;
    const std::size_t number = held->copy.number;
    Quarantined one{.number = number, .quarantine_id = fmt::format("{}#{}", execution_id, number), .message = {}};
    one.message.fields = std::move(held->copy.fields);
    by_number.try_emplace(number, std::move(one));
  }
  CLAW_TRY(hold->release(deadline));
  std::vector<Quarantined> out;
  for (auto& [number, one] : by_number) out.push_back(std::move(one));
  return out;
}

Result<RestoreOutcome> restore_messages(Session& session, const RestoreRequest& request, Deadline deadline) {
  session.in_quarantine.erase({request.queue.name, request.execution_id});
  std::uint64_t removable = 0;
  for (const Message& m : request.messages) removable += m.fields.empty() ? 0 : 1;
  RestoreOutcome out{.achieved = RestoreOrder::tail, .why_not_exact = "a RabbitMQ queue takes messages at its tail only"};
  CLAW_TRY_ASSIGN(Connection * control, session.control(deadline));
  const Result<Depth> depth = control->depth(request.quarantine, deadline);
  if (!depth && depth.error().code != Code::not_found) return depth.error();
  if (!depth) {
    out.failed = removable;
    out.why_not_exact = "the quarantine queue is gone; the messages are in the snapshot";
    return out;
  }
  CLAW_TRY(may_restore(session, request.queue.name, deadline));
  CLAW_TRY_ASSIGN(const auto hold, hold_quarantine(session, request.quarantine, deadline));
  std::vector<HeldCopy> copies;
  for (;;) {
    CLAW_TRY_ASSIGN(auto held, next_copy(*hold, request.execution_id, deadline));
    if (!held) break;
    // Bytes that are not those of the snapshot stay where they are: somebody changed them.
    const bool ours = held->copy.number < request.messages.size() && held->copy.fields == request.messages[held->copy.number].fields;
    if (ours) copies.push_back(std::move(*held));
    else ++out.failed;
  }
  CLAW_TRY(hold->stop(deadline));
  std::set<std::size_t> restored;
  for (std::size_t first = 0; first < copies.size(); first += kRestoreBatch)
    CLAW_TRY(put_back(session, request.queue.name, *hold, std::span(copies).subspan(first, std::min(kRestoreBatch, copies.size() - first)), restored, deadline));
  CLAW_TRY(hold->release(deadline));
  out.restored = restored.size();
  out.already_present = removable - std::min(removable, out.restored + out.failed);
  return out;
}

}  // namespace claw::rabbitmq
