// What the API shows.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/brake.h"
#include "api/api.h"
#include "api/call.h"
#include "base/text.h"
#include "skill/skill.h"

namespace claw::api {
namespace {

constexpr std::size_t kListed = 200;
constexpr std::size_t kMaxFacts = 512;
constexpr std::size_t kMaxChanges = 500;  // tenants in one event; more make the readers fetch the list
constexpr std::size_t kPoints = 300;      // of a queue's history
constexpr std::uint64_t kEntries = 200;   // audit entries in one answer

// "breach" above a limit, "at_risk" from 80% of one on, "unknown" where nothing could be seen, else "ok".
std::string_view state_of(const TenantTopology& tenant, const TenantHealth& health) {
  if (health.severity_bps > 0) return "breach";
  if (tenant.queues.empty()) return "unknown";
  const Sla& sla = tenant.tenant.sla;
  const bool backlog = sla.max_backlog && health.backlog >= *sla.max_backlog / 5 * 4 && *sla.max_backlog > 0;
  const bool age = sla.max_age && health.oldest_age && *health.oldest_age >= *sla.max_age / 5 * 4;
  return backlog || age || !health.symptoms.empty() ? "at_risk" : "ok";
}

Json millis_or_null(const std::optional<Millis>& value) { return value ? Json(value->count()) : Json(nullptr); }

const TenantTopology* find_tenant(const Topology& topology, std::string_view id) {
  const auto it = std::lower_bound(topology.tenants.begin(), topology.tenants.end(), id, [](const TenantTopology& t, std::string_view wanted) { return t.tenant.id < wanted; });
  return it != topology.tenants.end() && it->tenant.id == id ? &*it : nullptr;
}

Error missing(const char* kind, const std::string& id, const char* words) { return make_error(Code::not_found, std::string(kind) + " " + id, words); }

Error not_seen(const std::string& what) { return make_error(Code::not_found, what, "is not among what the agent saw last"); }

Json finding_summary(const StoredFinding& found) {
  Json json = Json::parse(found.json);
  json["finding_id"] = found.id;
  json["at"] = rfc3339(found.at);
  return json;
}

// Of the newest findings, by tenant.
std::map<TenantId, std::uint64_t> poison_by_tenant(const std::vector<StoredFinding>& findings, WallTime since) {
  std::map<TenantId, std::uint64_t> out;
  for (const StoredFinding& f : findings)
    if (f.at >= since) out[f.tenant] += Json::parse(f.json).at("count").get<std::uint64_t>();
  return out;
}

}  // namespace

Result<http::Response> Api::health(const Call&) { return json_answer({{"status", "ok"}}); }

Result<http::Response> Api::ready(const Call&) {
  const auto seen = d_.board.latest();
  if (!seen) return problem(503, "unavailable", "no evaluation has ended yet");
  return json_answer({{"status", "ok"}, {"evaluated_at", rfc3339(seen->at)}});
}

Result<http::Response> Api::status(const Call& call) {
  const auto seen = d_.board.latest();
  Json troubles = Json::array();
  if (seen && call.who.sees_all())
    for (const BrokerTrouble& t : seen->topology.troubles) troubles.push_back({{"broker", t.broker}, {"error", to_json(t.error)}});
  Json brokers = Json::array();
  if (call.who.sees_all())
    for (const BrokerConfig& b : d_.agent.config().brokers) brokers.push_back(b.name);
  return json_answer({{"agent", d_.agent.config().agent_id}, {"user", call.actor}, {"brake", brake_on(d_.disk, d_.agent.config().data_dir)}, {"now", rfc3339(d_.clock.now())},
                      {"evaluation", seen ? seen->number : 0}, {"evaluated_at", seen ? Json(rfc3339(seen->at)) : Json(nullptr)}, {"brokers", brokers}, {"troubles", troubles},
                      {"audit_size", call.who.sees_all() ? d_.agent.audit().size() : 0}, {"uptime_s", std::chrono::duration_cast<std::chrono::seconds>(d_.clock.mono() - started_).count()}});
}

// By columns: ten thousand tenants are 40% smaller so, and parse faster.
Result<http::Response> Api::tenants(const Call& call) {
  const auto seen = d_.board.latest();
  if (!seen) return json_answer({{"evaluation", 0}, {"evaluated_at", nullptr}, {"id", Json::array()}, {"tier", Json::array()}, {"state", Json::array()}, {"severity_bps", Json::array()},
                                 {"backlog", Json::array()}, {"held", Json::array()}, {"oldest_age_ms", Json::array()}, {"max_age_ms", Json::array()}, {"max_backlog", Json::array()},
                                 {"time_to_drain_ms", Json::array()}, {"poison", Json::array()}, {"worst", Json::array()}});
  const bool all = call.who.sees_all();
  auto kept = !all ? std::string() : tenants_.with([&](const auto& t) { return t.first == seen->number ? t.second : std::string(); });
  if (!kept.empty()) return http::Response{.body = std::move(kept)};
  CLAW_TRY_ASSIGN(const auto findings, d_.agent.store().findings(1'000));
  const auto poison = poison_by_tenant(findings, d_.clock.now() - std::chrono::hours(24));
  Json out = {{"evaluation", seen->number}, {"evaluated_at", rfc3339(seen->at)}};
  for (const char* column : {"id", "tier", "state", "severity_bps", "backlog", "held", "oldest_age_ms", "max_age_ms", "max_backlog", "time_to_drain_ms", "poison", "worst"}) out[column] = Json::array();
  for (const TenantHealth& h : seen->health.tenants) {
    const TenantTopology* t = find_tenant(seen->topology, h.id);
    if (t == nullptr || !call.who.sees(h.id)) continue;
    const auto count = poison.find(h.id);
    const Sla& sla = t->tenant.sla;
    out["id"].push_back(h.id);
    out["tier"].push_back(std::string(name(h.tier)));
    out["state"].push_back(state_of(*t, h));
    out["severity_bps"].push_back(h.severity_bps);
    out["backlog"].push_back(h.backlog);
    out["held"].push_back(h.held);
    out["oldest_age_ms"].push_back(millis_or_null(h.oldest_age));
    out["max_age_ms"].push_back(millis_or_null(sla.max_age));
    out["max_backlog"].push_back(sla.max_backlog ? Json(*sla.max_backlog) : Json(nullptr));
    out["time_to_drain_ms"].push_back(millis_or_null(h.time_to_drain));
    out["poison"].push_back(count == poison.end() ? 0 : count->second);
    out["worst"].push_back(!h.breaches.empty() ? fmt::format("{} {}, limit {}", h.breaches[0].what, h.breaches[0].actual, h.breaches[0].limit) : h.symptoms.empty() ? "" : h.symptoms[0].words);
  }
  std::string text = out.dump();
  if (all) tenants_.with([&](auto& t) { t = {seen->number, text}; });
  return http::Response{.body = std::move(text)};
}

void Api::tell_evaluation(const Seen* before, const Seen& now) {
  std::map<std::string_view, const TenantHealth*> old;
  if (before != nullptr)
    for (const TenantHealth& h : before->health.tenants) old[h.id] = &h;
  Json rows = Json::array();
  bool more = false;
  for (const TenantHealth& h : now.health.tenants) {
    const auto it = old.find(h.id);
    if (it != old.end() && it->second->backlog == h.backlog && it->second->held == h.held && it->second->severity_bps == h.severity_bps) continue;
    const TenantTopology* t = find_tenant(now.topology, h.id);
    if (t == nullptr) continue;
    more = rows.size() == kMaxChanges;
    if (more) break;
    rows.push_back({h.id, state_of(*t, h), h.severity_bps, h.backlog, h.held, millis_or_null(h.oldest_age), millis_or_null(h.time_to_drain)});
  }
  d_.events.publish("tenants", Json{{"evaluation", now.number}, {"at", rfc3339(now.at)}, {"rows", rows}, {"more", more}}.dump());
}

Result<http::Response> Api::tenant(const Call& call) {
  const auto seen = d_.board.latest();
  const TenantTopology* t = seen ? find_tenant(seen->topology, call.names[0]) : nullptr;
  if (t == nullptr || !call.who.sees(call.names[0])) return not_seen("tenant " + call.names[0]);
  Json out = to_json(t->tenant);
  out["queues"] = Json::array();
  for (const QueueView& q : t->queues) out["queues"].push_back(to_json(q));
  for (const TenantHealth& h : seen->health.tenants)
    if (h.id == t->tenant.id) {
      out["health"] = to_json(h);
      out["state"] = state_of(*t, h);
    }
  out["evaluated_at"] = rfc3339(seen->at);
  return json_answer(out);
}

// Broken tenants first, so that a bounded picture shows what matters.
Result<http::Response> Api::topology(const Call& call) {
  CLAW_TRY_ASSIGN(const std::uint64_t limit, number_of(call.request, "limit", 50, 10'000));
  const auto seen = d_.board.latest();
  if (!seen) return json_answer({{"tenants", Json::array()}, {"troubles", Json::array()}, {"total", 0}});
  const std::string_view focus = call.request.param("focus");
  Topology some;
  if (call.who.sees_all()) some.troubles = seen->topology.troubles;
  for (const TenantHealth& h : seen->health.tenants) {
    if (some.tenants.size() == limit) break;
    if (!call.who.sees(h.id)) continue;
    if (!focus.empty() && h.id != focus) continue;
    if (const TenantTopology* t = find_tenant(seen->topology, h.id)) some.tenants.push_back(*t);
  }
  Json out = to_json(some);
  out["total"] = std::count_if(seen->topology.tenants.begin(), seen->topology.tenants.end(), [&](const TenantTopology& t) { return call.who.sees(t.tenant.id); });
  return json_answer(out);
}

// A queue is asked for by the name that was shown, which is escaped.
QueueId Api::real_queue(const std::string& broker, const std::string& shown) const {
  if (const auto seen = d_.board.latest())
    for (const TenantTopology& t : seen->topology.tenants)
      for (const QueueView& q : t.queues)
        if (q.id.broker == broker && escape(q.id.name) == shown) return q.id;
  return {broker, shown};
}

TenantId Api::owner_of(const QueueId& queue) const {
  if (const auto seen = d_.board.latest())
    for (const TenantTopology& t : seen->topology.tenants)
      for (const QueueView& q : t.queues)
        if (q.id == queue) return t.tenant.id;
  return {};
}

Result<http::Response> Api::queue(const Call& call) {
  const QueueId id = real_queue(call.names[0], call.names[1]);
  CLAW_TRY_ASSIGN(const std::uint64_t minutes, number_of(call.request, "minutes", 60, 7 * 24 * 60));
  const auto seen = d_.board.latest();
  if (!seen) return not_seen("queue " + escape(id.text()));
  for (const TenantTopology& t : seen->topology.tenants)
    for (const QueueView& q : t.queues) {
      if (q.id != id || !call.who.sees(t.tenant.id)) continue;
      CLAW_TRY_ASSIGN(const auto samples, d_.agent.store().samples(id, d_.clock.now() - std::chrono::minutes(minutes)));
      const std::size_t step = samples.size() / kPoints + 1;
      Json at = Json::array(), backlog = Json::array(), acknowledged = Json::array(), held = Json::array();
      for (std::size_t i = 0; i < samples.size(); i += step) {
        at.push_back(samples[i].at.time_since_epoch().count() / 1000);
        backlog.push_back(samples[i].backlog);
        acknowledged.push_back(samples[i].acknowledged);
        held.push_back(samples[i].held);
      }
      return json_answer({{"queue", to_json(q)}, {"tenant", to_json(t.tenant)}, {"evaluated_at", rfc3339(seen->at)},
                          {"history", {{"at_s", at}, {"backlog", backlog}, {"acknowledged", acknowledged}, {"held", held}}}});
    }
  return not_seen("queue " + escape(id.text()));
}

Result<http::Response> Api::findings(const Call& call) {
  CLAW_TRY_ASSIGN(const auto found, d_.agent.store().findings(1'000));
  const std::string_view tenant = call.request.param("tenant");
  Json all = Json::array();
  for (const StoredFinding& f : found)
    if (all.size() < kListed && (tenant.empty() || f.tenant == tenant) && call.who.sees(f.tenant)) all.push_back(finding_summary(f));
  return json_answer({{"findings", all}});
}

Result<http::Response> Api::finding(const Call& call) {
  CLAW_TRY_ASSIGN(const StoredFinding found, visible_finding(call, call.names[0]));
  return json_answer(finding_summary(found));
}

Result<StoredFinding> Api::visible_finding(const Call& call, const std::string& id) {
  CLAW_TRY_ASSIGN(StoredFinding found, d_.agent.store().finding(id));
  if (!call.who.sees(found.tenant)) return missing("finding", id, "no such finding; see: deployclaw findings list");
  return found;
}

Result<StoredPlan> Api::visible_plan(const Call& call, const std::string& hash) {
  Result<StoredPlan> found = d_.agent.store().plan(hash);
  const Error none = missing("plan", hash, "no such plan; make one with: deployclaw plan --tenant T");
  if (!found) return call.who.sees_all() ? std::move(found).error() : none;  // not even that two begin alike
  CLAW_TRY_ASSIGN(const std::string facts, plan_facts(found->hash));
  if (!call.who.sees(Json::parse(facts).at("tenant"))) return none;
  return found;
}

Result<ExecutionRecord> Api::visible_execution(const Call& call, const std::string& id) {
  CLAW_TRY_ASSIGN(ExecutionRecord record, d_.agent.store().execution(id));
  if (!call.who.sees(record.tenant)) return missing("execution", id, "no such execution; see: deployclaw executions list");
  return record;
}

Result<Operation> Api::visible_operation(const Call& call, const std::string& id) {
  CLAW_TRY_ASSIGN(Operation found, d_.operations.find(id));
  if (!call.who.sees(found.tenant)) return missing("operation", id, "no such operation; those that ended long ago are forgotten");
  return found;
}

Result<std::string> Api::plan_facts(const std::string& hash) {
  auto kept = plan_facts_.with([&](const auto& facts) {
    const auto it = facts.find(hash);
    return it == facts.end() ? std::string() : it->second;
  });
  if (!kept.empty()) return kept;
  CLAW_TRY_ASSIGN(const StoredPlan stored, d_.agent.store().plan(hash));
  CLAW_TRY_ASSIGN(const Plan plan, plan_from_text(stored.text, "plan " + hash.substr(0, 15)));
  Json signatures = Json::array(), queues = Json::array();
  for (const PlannedSignature& s : plan.signatures)
    signatures.push_back({{"signature", escape(s.signature.text)}, {"kind", s.signature.kind}, {"path", escape(s.signature.path)}, {"count", s.count}, {"confidence_bps", s.confidence_bps},
                          {"lower_bound_bps", s.lower_bound_bps}, {"explanation", escape(s.explanation)}, {"finding_id", s.signature.id() + "-" + plan.tenant}});
  for (const PlannedQueue& q : plan.queues)
    queues.push_back({{"broker", q.queue.broker}, {"name", escape(q.queue.name)}, {"type", std::string(name(q.type))}, {"entries", q.entries}, {"messages", q.messages.size()}, {"quarantine", escape(q.quarantine)}});
  const Limits& l = plan.limits;
  std::string text = Json{{"hash", hash}, {"id", hash.substr(7, 12)}, {"tenant", plan.tenant}, {"skill", plan.skill}, {"protocol", plan.protocol}, {"detector", plan.detector}, {"requester", plan.requester},
                          {"created", rfc3339(plan.created)}, {"expires", rfc3339(plan.expires)}, {"messages", plan.total()}, {"messages_seen", plan.messages_seen}, {"bytes", plan.bytes},
                          {"signatures", signatures}, {"queues", queues},
                          {"limits", {{"max_messages", l.max_messages}, {"max_queue_bps", l.max_queue_bps}, {"max_bytes", l.max_bytes}, {"refuse_above_bps", l.refuse_above_bps}, {"confidence_bps", l.confidence_bps}, {"waves_bps", l.waves_bps}}}}
                         .dump();
  plan_facts_.with([&](auto& facts) {
    if (facts.size() >= kMaxFacts) facts.clear();
    facts[hash] = text;
  });
  return text;
}

Result<http::Response> Api::plans(const Call& call) {
  CLAW_TRY_ASSIGN(const auto stored, d_.agent.store().plans(kListed));
  const std::string_view tenant = call.request.param("tenant");
  Json all = Json::array();
  for (const StoredPlan& plan : stored) {
    if (all.size() == 50) break;
    CLAW_TRY_ASSIGN(const std::string facts, plan_facts(plan.hash));
    Json one = Json::parse(facts);
    if ((!tenant.empty() && one.at("tenant") != tenant) || !call.who.sees(one.at("tenant"))) continue;
    one.update({{"state", plan.state}, {"decided_by", plan.approver}, {"reason", escape(plan.reason)}, {"moved_at", rfc3339(plan.at)}});
    all.push_back(std::move(one));
  }
  return json_answer({{"plans", all}});
}

Result<http::Response> Api::plan(const Call& call) {
  CLAW_TRY_ASSIGN(const StoredPlan plan, visible_plan(call, call.names[0]));
  CLAW_TRY_ASSIGN(const std::string facts, plan_facts(plan.hash));
  Json one = Json::parse(facts);
  one.update({{"state", plan.state}, {"decided_by", plan.approver}, {"reason", escape(plan.reason)}, {"moved_at", rfc3339(plan.at)}});
  http::Response response = json_answer(one);
  response.headers.emplace_back("ETag", '"' + plan.hash + '"');
  return response;
}

Result<http::Response> Api::executions(const Call& call) {
  CLAW_TRY_ASSIGN(const auto records, d_.agent.store().executions(kListed));
  const std::string_view tenant = call.request.param("tenant");
  Json all = Json::array();
  for (const ExecutionRecord& r : records)
    if ((tenant.empty() || r.tenant == tenant) && call.who.sees(r.tenant)) all.push_back(Json::parse(execution_to_json(r, -1)));
  return json_answer({{"executions", all}});
}

Result<http::Response> Api::execution(const Call& call) {
  CLAW_TRY_ASSIGN(const ExecutionRecord record, visible_execution(call, call.names[0]));
  return http::Response{.body = execution_to_json(record, -1)};
}

Result<http::Response> Api::operations(const Call& call) {
  std::string all;
  for (const Operation& o : d_.operations.list()) {
    if (all.size() > 512 * 1024) break;
    if (!call.who.sees(o.tenant)) continue;
    all += (all.empty() ? "" : ",") + operation_json(o);
  }
  return http::Response{.body = "{\"operations\":[" + all + "]}"};
}

Result<http::Response> Api::operation(const Call& call) {
  CLAW_TRY_ASSIGN(const Operation found, visible_operation(call, call.names[0]));
  return http::Response{.body = operation_json(found)};
}

Result<http::Response> Api::operation_result(const Call& call) {
  CLAW_TRY(visible_operation(call, call.names[0]));
  CLAW_TRY_ASSIGN(std::string result, d_.operations.result(call.names[0]));
  return http::Response{.body = std::move(result)};
}

Result<http::Response> Api::audit_head(const Call&) {
  CLAW_TRY_ASSIGN(const std::string note, d_.disk.read_all(d_.agent.config().data_dir + "/audit/checkpoint", 64 * 1024));
  return json_answer({{"size", d_.agent.audit().size()}, {"origin", d_.agent.audit().origin()}, {"verifier_key", d_.agent.audit().verifier_key()}, {"checkpoint", note}, {"witnessed", false}});
}

// The newest without `from`. An entry's bytes are canonical JSON: as text, so that a proof can be checked over them.
Result<http::Response> Api::audit_entries(const Call& call) {
  const std::uint64_t size = d_.agent.audit().size();
  CLAW_TRY_ASSIGN(const std::uint64_t count, number_of(call.request, "count", 100, kEntries));
  CLAW_TRY_ASSIGN(const std::uint64_t from, number_of(call.request, "from", size > count ? size - count : 0, UINT64_MAX));
  CLAW_TRY_ASSIGN(const auto entries, read_entries(d_.disk, d_.agent.config().data_dir + "/audit", from, count));
  Json all = Json::array();
  for (const AuditEntry& e : entries) all.push_back({{"index", e.index}, {"bytes", e.bytes}});
  return json_answer({{"size", size}, {"entries", all}});
}

Result<http::Response> Api::audit_proof(const Call& call) {
  const std::string& index = call.names[0];
  if (index.empty() || index.size() > 15 || index.find_first_not_of("0123456789") != std::string::npos) return make_error(Code::invalid, "index", "expected a number");
  const std::string dir = d_.agent.config().data_dir + "/audit";
  CLAW_TRY_ASSIGN(const std::string proof, prove(d_.disk, dir, std::stoull(index)));
  CLAW_TRY_ASSIGN(const auto entries, read_entries(d_.disk, dir, std::stoull(index), 1));
  if (entries.empty()) return make_error(Code::not_found, "audit entry " + index, "the log is shorter");
  return json_answer({{"index", std::stoull(index)}, {"bytes", entries.front().bytes}, {"proof", proof}, {"verifier_key", d_.agent.audit().verifier_key()}});
}

Result<http::Response> Api::snapshots(const Call& call) {
  CLAW_TRY_ASSIGN(const auto all, d_.agent.vault().list());
  Json out = Json::array();
  for (const SnapshotInfo& s : all) {
    if (!call.who.sees_all() && !visible_execution(call, s.execution_id)) continue;
    out.push_back({{"execution_id", s.execution_id}, {"queue", escape(s.queue)}, {"messages", s.messages}, {"plaintext_bytes", s.plaintext_bytes}, {"stored_bytes", s.stored_bytes},
                   {"ciphertext_sha256", s.ciphertext_sha256}, {"merkle_root", s.merkle_root}, {"key_id", s.key_id}});
  }
  return json_answer({{"snapshots", out}});
}

Result<http::Response> Api::skills(const Call&) {
  Json out = Json::array();
  for (const auto& [id, skill] : skill::built_in())
    out.push_back({{"name", id}, {"description", skill.description}, {"removes", skill.protocol.removes()}, {"max_messages", skill.protocol.limits.max_messages},
                   {"waves_bps", skill.protocol.limits.waves_bps}, {"block", skill.block}, {"block_hash", skill.block_hash}, {"folder_hash", skill.folder_hash}});
  return json_answer({{"skills", out}});
}

bool Api::still_good(const Token& token) const {
  const auto all = d_.agent.store().tokens();
  return all && std::any_of(all->begin(), all->end(), [&](const Token& t) { return t.id == token.id && is_good(t, d_.clock.now()); });
}

// What concerns nobody, and what concerns the caller's own tenants.
Result<http::Response> Api::follow(const Call& call) {
  const auto seen = d_.board.latest();
  std::string hello = Json{{"now", rfc3339(d_.clock.now())}, {"evaluation", seen ? seen->number : 0}}.dump();
  Events::Filter filter;
  if (call.who.token)
    filter = [who = call.who, good = true, this](const std::string& type, const std::string& json) mutable -> std::optional<std::string> {
      if (type == "tick") good = good && still_good(*who.token);  // every few seconds
      if (!good) return std::nullopt;
      if (type == "brake" || type == "tick" || who.sees_all()) return json;
      Json event = Json::parse(json);
      if (type != "tenants") return who.sees(event.value("tenant", "")) ? std::optional(json) : std::nullopt;
      Json mine = Json::array();
      for (Json& row : event["rows"])
        if (who.sees(row.at(0))) mine.push_back(std::move(row));
      event["rows"] = std::move(mine);
      return event.dump();
    };
  http::Response response{.type = "text/event-stream", .headers = {{"X-Accel-Buffering", "no"}}, .feed = d_.events.follow(call.request.header("last-event-id"), std::move(hello), std::move(filter))};
  return response;
}

}  // namespace claw::api
