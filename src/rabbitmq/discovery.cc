#include <algorithm>
#include <map>

#include "base/text.h"
#include "broker/claims.h"
#include "rabbitmq/operations.h"

namespace claw::rabbitmq {
namespace {

constexpr std::size_t kAskedOneByOne = 64;  // the API's depths are up to 5 s old; so many queues are asked for theirs by AMQP
constexpr std::size_t kMostExchanges = 64;
constexpr const char* kGroup = "consumers";

// Dead-letter targets by (exchange, key), each exchange's bindings asked for once.
class DeadLetters {
 public:
  DeadLetters(Session& session, Deadline deadline) : session_(session), deadline_(deadline) {}

  // The first queue that gets it; empty when there is none or it cannot be told.
  std::string target_of(const QueueFacts& queue) {
    if (!queue.dead_letter_exchange) return {};
    const std::string key = queue.dead_letter_key.value_or("");
    if (queue.dead_letter_exchange->empty()) return queue.dead_letter_key ? key : std::string();
    for (const Binding& binding : bindings_of(*queue.dead_letter_exchange))
      if (!queue.dead_letter_key || binding.key == key || binding.key.empty() || binding.key == "#") return binding.queue;
    return {};
  }

 private:
  const std::vector<Binding>& bindings_of(const std::string& exchange) {
    auto known = bindings_.find(exchange);
    if (known == bindings_.end()) {
      Result<std::vector<Binding>> list = bindings_.size() < kMostExchanges ? session_.management->bindings(exchange, deadline_) : std::vector<Binding>();
      known = bindings_.emplace(exchange, list ? std::move(*list) : std::vector<Binding>()).first;
    }
    return known->second;
  }
  Session& session_;
  Deadline deadline_;
  std::map<std::string, std::vector<Binding>> bindings_;
};

QueueType type_of(QueueKind kind) {
  switch (kind) {
    case QueueKind::quorum: return QueueType::quorum;
    case QueueKind::stream: return QueueType::stream;
    case QueueKind::classic:
    case QueueKind::unknown: return QueueType::classic;
  }
  std::abort();
}

void fill(QueueView& view, const QueueFacts& facts, const BrokerFacts& broker, const Clock& clock) {
  view.type = type_of(facts.kind);
  view.backlog = view.entries = facts.ready;
  view.held = facts.unacked;
  view.bytes = facts.bytes;
  view.node = facts.node;
  view.look = judge_look(facts, broker);
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
  view.oldest_age.reset();
  if (facts.head_timestamp && *facts.head_timestamp <= now && facts.ready > 0) view.oldest_age = std::chrono::seconds(now - *facts.head_timestamp);
  view.groups = {{.name = kGroup, .consumers = facts.consumers, .pending = facts.unacked, .lag = facts.ready, .acknowledged = facts.acked}};
  view.redelivered = facts.redelivered;
  view.tells_progress = facts.sent_without_ack == 0;
}

// Who consumes, by queue.
Result<std::map<std::string, std::vector<ConsumerView>>> consumers_of(Session& session, Deadline deadline) {
  CLAW_TRY_ASSIGN(const auto consumers, session.management->consumers(deadline));
  std::map<std::string, std::vector<ConsumerView>> out;
  for (const ConsumerFacts& c : consumers) {
    ConsumerView view{.group = kGroup, .name = c.connection + " " + c.tag, .pending = c.unacked, .idle_ms = 0};
    if (c.stuck()) view.stuck = "holds all " + std::to_string(c.unacked) + " messages of its prefetch and acknowledged none in the last seconds";
    out[c.queue].push_back(std::move(view));
  }
  return out;
}

Status exact_depths(Session& session, std::span<QueueView> views, Deadline deadline) {
  if (views.size() > kAskedOneByOne) return {};
  CLAW_TRY_ASSIGN(Connection * control, session.control(deadline));
  for (QueueView& view : views) {
    if (view.type == QueueType::stream) continue;  // a passive declare says 0
    const Result<Depth> depth = control->depth(view.id.name, deadline);
    if (!depth && control->broken()) return depth.error();
    // Deleted meanwhile; or its node is down, which the API has said.
    if (!depth && depth.error().code == Code::not_found && view.look.refusal.empty()) view = QueueView{.id = view.id, .tenant = view.tenant, .type = view.type};
    if (!depth) continue;  // exclusive to another connection, or no right: what the API said stands
    if (view.type == QueueType::quorum && depth->nothing_at_all()) continue;  // the API's number, some seconds old, is the better one
    view.backlog = view.entries = depth->ready;
    if (!view.groups.empty()) view.groups[0].lag = depth->ready;
  }
  return {};
}

// Without the management API queues cannot be listed; those that claims name in full are found by AMQP.
Result<std::vector<QueueView>> discover_named(Session& session, std::span<const Claim> claims, Deadline deadline) {
  std::vector<QueueView> views;
  for (const Claim& claim : claims) {
    if (!names_one_queue(claim))
      return make_error(Code::unsupported, "broker " + session.name, "no management_url: queues cannot be listed, so '" + escape(claim.match.match, 80) + "' cannot be matched; expected a queue's full name");
    CLAW_TRY_ASSIGN(Connection * control, session.control(deadline));
    const Result<Depth> depth = control->depth(claim.match.match, deadline);
    if (!depth && depth.error().code == Code::not_found) continue;
    if (!depth) return depth.error();
    QueueView view{.id = {session.name, claim.match.match}, .tenant = claim.tenant, .type = QueueType::classic};
    view.backlog = view.entries = depth->ready;
    view.groups = {{.name = kGroup, .consumers = depth->consumers, .lag = depth->ready}};
    view.tells_progress = false;
    view.look.kind = LookKind::take;
    view.look.refusal = "no management_url: its type, limits and policies are unknown, and a look could use up a delivery limit";
    views.push_back(std::move(view));
  }
  return views;
}

}  // namespace

Result<std::vector<QueueView>> discover_queues(Session& session, std::span<const Claim> claims, Deadline deadline) {
  if (session.management == nullptr) return discover_named(session, claims, deadline);
  CLAW_TRY_ASSIGN(const BrokerFacts broker, session.broker(deadline));
  CLAW_TRY_ASSIGN(const auto all, session.management->queues(deadline));
  CLAW_TRY_ASSIGN(auto consumers, consumers_of(session, deadline));
  DeadLetters letters(session, deadline);
  const Claims index(session.name, claims);
  std::vector<QueueView> views;
  for (const QueueFacts& facts : all) {
    if (is_quarantine(facts.name)) continue;
    CLAW_TRY_ASSIGN(const std::optional<Owner> owner, index.owner_of(facts.name));
    if (!owner) continue;
    QueueView view{.id = {session.name, facts.name}, .tenant = owner->tenant};
    fill(view, facts, broker, session.clock);
    view.consumers = std::move(consumers[facts.name]);
    view.dead_letter = letters.target_of(facts);
    views.push_back(std::move(view));
  }
  std::sort(views.begin(), views.end(), [](const QueueView& a, const QueueView& b) { return a.id < b.id; });
  CLAW_TRY(exact_depths(session, views, deadline));
  return views;
}

Status measure_queues(Session& session, std::span<QueueView> views, Deadline deadline) {
  if (session.management == nullptr) return exact_depths(session, views, deadline);
  CLAW_TRY_ASSIGN(const BrokerFacts broker, session.broker(deadline));
  CLAW_TRY_ASSIGN(const auto all, session.management->queues(deadline));
  CLAW_TRY_ASSIGN(auto consumers, consumers_of(session, deadline));
  std::map<std::string_view, const QueueFacts*> by_name;
  for (const QueueFacts& facts : all) by_name.emplace(facts.name, &facts);
  for (QueueView& view : views) {
    const auto found = by_name.find(view.id.name);
    if (found == by_name.end()) {
      view = QueueView{.id = view.id, .tenant = view.tenant, .type = view.type};
      continue;
    }
    fill(view, *found->second, broker, session.clock);
    view.consumers = std::move(consumers[view.id.name]);
  }
  return exact_depths(session, views, deadline);
}

}  // namespace claw::rabbitmq
