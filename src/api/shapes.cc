#include "api/shapes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/text.h"

namespace claw::api {
namespace {

Json millis_or_null(const std::optional<Millis>& value) { return value ? Json(value->count()) : Json(nullptr); }
std::optional<Millis> millis_of(const Json& json) { return json.is_null() ? std::nullopt : std::optional(Millis(json.get<std::int64_t>())); }
template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json id_json(const QueueId& id) { return {{"broker", id.broker}, {"name", escape(id.name)}}; }
QueueId id_from(const Json& j) { return {j.at("broker"), j.at("name")}; }

// The member whose name() is `text`; `all` in order of the enumeration.
template <class Enum>
Enum named(const Json& text, std::initializer_list<Enum> all) {
  for (const Enum one : all)
    if (name(one) == text.get<std::string>()) return one;
  throw std::invalid_argument("unknown name " + text.get<std::string>());
}

template <class T, class F>
auto list(const Json& array, F&& one) {
  std::vector<T> out;
  for (const Json& j : array) out.push_back(one(j));
  return out;
}
template <class T>
Json array(const std::vector<T>& all) {
  Json out = Json::array();
  for (const T& one : all) out.push_back(to_json(one));
  return out;
}

Json to_json(const BrokerTrouble& t) { return {{"broker", t.broker}, {"error", api::to_json(t.error)}}; }
std::vector<BrokerTrouble> troubles_from(const Json& j) {
  return list<BrokerTrouble>(j, [](const Json& t) { return BrokerTrouble{t.at("broker"), error_from(t.at("error"))}; });
}
Json troubles(const std::vector<BrokerTrouble>& all) {
  Json out = Json::array();
  for (const BrokerTrouble& t : all) out.push_back(to_json(t));
  return out;
}

LookPromise look_from(const Json& j) {
  LookPromise look;
  look.kind = j.at("changes_nothing").get<bool>() ? LookKind::peek : LookKind::take;
  look.sees_all = j.at("sees_all");
  look.keeps_order = j.at("keeps_order");
  if (!j.at("looks_left").is_null()) look.looks_left = j.at("looks_left").get<std::uint32_t>();
  look.caveat = j.at("caveat");
  look.refusal = j.at("refusal");
  look.no_removal = j.at("no_removal");
  return look;
}

QueueView queue_from(const Json& j) {
  QueueView q;
  q.id = id_from(j);
  if (const auto type = queue_type(j.at("type").get<std::string>())) q.type = *type;
  q.backlog = j.at("backlog");
  q.held = j.at("held");
  q.entries = j.at("entries");
  q.bytes = j.at("bytes");
  q.oldest_age = millis_of(j.at("oldest_age_ms"));
  q.groups = list<GroupView>(j.at("groups"), [](const Json& g) {
    return GroupView{g.at("name"), g.at("consumers"), g.at("pending"), g.at("lag"), g.at("lag_exact"), g.at("acknowledged"), g.at("last_delivered")};
  });
  q.consumers = list<ConsumerView>(j.at("consumers"), [](const Json& c) { return ConsumerView{c.at("group"), c.at("name"), c.at("pending"), c.at("idle_ms")}; });
  q.dead_letter = j.at("dead_letter").is_null() ? "" : j.at("dead_letter").get<std::string>();
  q.look = look_from(j.at("look"));
  return q;
}

Json to_json(const Finding& f) {
  Json queues = Json::array();
  for (const QueueId& id : f.queues) queues.push_back(id_json(id));
  const SignatureEvidence& e = f.evidence;
  return {{"kind", f.signature.kind}, {"path", escape(f.signature.path)}, {"signature", escape(f.signature.text)}, {"tenant", f.tenant}, {"queues", queues},
          {"explanation", escape(f.explanation)}, {"count", f.count}, {"confidence", f.confidence}, {"lower_bound", f.lower_bound}, {"sample", f.sample},
          {"excerpt", escape(f.excerpt)},
          {"evidence", {{"failures", e.failures}, {"failing_messages", e.failing_messages}, {"passes", e.passes}, {"waiting", e.waiting}, {"in_flight", e.in_flight},
                        {"other_failures", e.other_failures}, {"other_passes", e.other_passes}}}};
}

Finding finding_from(const Json& j) {
  const Json& e = j.at("evidence");
  Finding f;
  f.signature = {j.at("kind"), j.at("path"), j.at("signature")};
  f.tenant = j.at("tenant");
  f.queues = list<QueueId>(j.at("queues"), id_from);
  f.explanation = j.at("explanation");
  f.count = j.at("count");
  f.confidence = j.at("confidence");
  f.lower_bound = j.at("lower_bound");
  f.evidence = {e.at("failures"), e.at("failing_messages"), e.at("passes"), e.at("waiting"), e.at("in_flight"), e.at("other_failures"), e.at("other_passes")};
  f.sample = j.at("sample").get<std::vector<std::string>>();
  f.excerpt = j.at("excerpt");
  return f;
}

constexpr auto kRefusals = {Refusal::none, Refusal::brake_on, Refusal::autonomy, Refusal::needs_approval, Refusal::over_blast_radius, Refusal::too_much_poison, Refusal::outage,
                            Refusal::nothing_to_do, Refusal::cooling_down, Refusal::plan_expired, Refusal::other_execution, Refusal::disk_room, Refusal::stale_skill, Refusal::foreign_plan};
constexpr auto kSymptoms = {SymptomKind::no_consumers, SymptomKind::stalled, SymptomKind::redelivering, SymptomKind::hoarding, SymptomKind::falling_behind};
constexpr auto kTiers = {Tier::critical, Tier::standard, Tier::batch};
constexpr auto kCodes = {Code::timed_out, Code::unavailable, Code::throttled, Code::denied, Code::not_found, Code::conflict, Code::lease_lost, Code::unsupported, Code::invalid,
                         Code::refused, Code::full, Code::corrupt, Code::outcome_unknown};
constexpr const char* kLevels[] = {"ok", "warn", "fail"};

WallTime time_from(const Json& j) {
  const Result<WallTime> time = parse_rfc3339(j.get<std::string>());
  return time ? *time : WallTime{};
}

}  // namespace

Json to_json(const Error& error) { return {{"code", std::string(name(error.code))}, {"op", escape(error.op)}, {"detail", escape(error.detail)}}; }
Error error_from(const Json& j) { return {named(j.at("code"), kCodes), j.at("op"), j.at("detail")}; }

StageRecord stage_from(const Json& j) {
  return {j.at("stage"), Millis(j.at("duration_ms").get<std::int64_t>()),
          named(j.at("status"), {StageStatus::complete, StageStatus::skipped, StageStatus::refused, StageStatus::failed, StageStatus::rolled_back}), j.at("output")};
}

Json to_json(const QueueView& q) {
  Json groups = Json::array(), consumers = Json::array();
  for (const GroupView& g : q.groups)
    groups.push_back({{"name", escape(g.name)}, {"consumers", g.consumers}, {"pending", g.pending}, {"lag", g.lag}, {"lag_exact", g.lag_exact}, {"acknowledged", g.acknowledged}, {"last_delivered", g.last_delivered}});
  for (const ConsumerView& c : q.consumers) consumers.push_back({{"group", escape(c.group)}, {"name", escape(c.name)}, {"pending", c.pending}, {"idle_ms", c.idle_ms}});
  return {{"broker", q.id.broker}, {"name", escape(q.id.name)}, {"type", std::string(name(q.type))}, {"backlog", q.backlog}, {"held", q.held}, {"entries", q.entries}, {"bytes", q.bytes},
          {"oldest_age_ms", millis_or_null(q.oldest_age)}, {"groups", groups}, {"consumers", consumers}, {"dead_letter", q.dead_letter.empty() ? Json(nullptr) : Json(escape(q.dead_letter))},
          {"node", escape(q.node)},
          {"look", {{"changes_nothing", q.look.kind == LookKind::peek}, {"sees_all", q.look.sees_all}, {"keeps_order", q.look.keeps_order}, {"looks_left", or_null(q.look.looks_left)}, {"caveat", escape(q.look.caveat)},
                    {"refusal", escape(q.look.refusal)}, {"no_removal", escape(q.look.no_removal)}}}};
}

Json to_json(const Tenant& t) {
  return {{"id", t.id}, {"tier", std::string(name(t.tier))}, {"skill", t.skill}, {"autonomy", std::string(name(t.autonomy))}, {"confidence_bps", t.confidence_bps},
          {"sla", {{"max_backlog", or_null(t.sla.max_backlog)}, {"max_age_ms", millis_or_null(t.sla.max_age)}, {"drain_within_ms", millis_or_null(t.sla.drain_within)}, {"min_throughput_per_s", or_null(t.sla.min_throughput)}}}};
}

Json to_json(const Topology& topology) {
  Json tenants = Json::array();
  for (const TenantTopology& t : topology.tenants) {
    Json one = to_json(t.tenant);
    one["queues"] = array(t.queues);
    tenants.push_back(std::move(one));
  }
  return {{"tenants", tenants}, {"troubles", troubles(topology.troubles)}};
}

Topology topology_from(const Json& j) {
  Topology out;
  out.tenants = list<TenantTopology>(j.at("tenants"), [](const Json& t) {
    TenantTopology one;
    one.tenant.id = t.at("id");
    one.tenant.tier = named(t.at("tier"), kTiers);
    one.queues = list<QueueView>(t.at("queues"), queue_from);
    return one;
  });
  out.troubles = troubles_from(j.at("troubles"));
  return out;
}

Json to_json(const TenantHealth& h) {
  Json breaches = Json::array();
  for (const Breach& b : h.breaches)
    breaches.push_back({{"queue", b.queue.name.empty() ? Json(nullptr) : id_json(b.queue)}, {"what", b.what}, {"limit", b.limit}, {"actual", b.actual}, {"over_bps", b.over_bps}});
  Json symptoms = Json::array();
  for (const Symptom& s : h.symptoms) symptoms.push_back({{"queue", id_json(s.queue)}, {"kind", std::string(name(s.kind))}, {"since", rfc3339(s.since)}, {"words", s.words}});
  return {{"id", h.id}, {"tier", std::string(name(h.tier))}, {"severity_bps", h.severity_bps}, {"breaches", breaches}, {"oldest_age_ms", millis_or_null(h.oldest_age)},
          {"time_to_drain_ms", millis_or_null(h.time_to_drain)}, {"backlog", h.backlog}, {"held", h.held}, {"symptoms", symptoms}, {"heals_in_ms", millis_or_null(h.heals_in)}};
}

Json to_json(const Health& health) { return {{"tenants", array(health.tenants)}, {"troubles", troubles(health.troubles)}}; }

Health health_from(const Json& j) {
  Health out;
  out.tenants = list<TenantHealth>(j.at("tenants"), [](const Json& t) {
    TenantHealth h;
    h.id = t.at("id");
    h.tier = named(t.at("tier"), kTiers);
    h.severity_bps = t.at("severity_bps");
    h.breaches = list<Breach>(t.at("breaches"), [](const Json& b) {
      return Breach{b.at("queue").is_null() ? QueueId{} : id_from(b.at("queue")), b.at("what"), b.at("limit"), b.at("actual"), b.at("over_bps")};
    });
    h.oldest_age = millis_of(t.at("oldest_age_ms"));
    h.time_to_drain = millis_of(t.at("time_to_drain_ms"));
    h.backlog = t.at("backlog");
    h.held = t.at("held");
    h.symptoms = list<Symptom>(t.at("symptoms"), [](const Json& s) { return Symptom{id_from(s.at("queue")), named(s.at("kind"), kSymptoms), time_from(s.at("since")), s.at("words")}; });
    h.heals_in = millis_of(t.at("heals_in_ms"));
    return h;
  });
  out.troubles = troubles_from(j.at("troubles"));
  return out;
}

Json to_json(const Observation& seen) {
  Json members = Json::array();
  for (const std::vector<PoisonRef>& refs : seen.members) {
    Json ids = Json::array();
    for (const PoisonRef& ref : refs) ids.push_back({ref.queue, message_id(seen.queues.at(ref.queue).type, ref)});
    members.push_back(std::move(ids));
  }
  Json findings = Json::array();
  for (const Finding& f : seen.findings) findings.push_back(to_json(f));
  return {{"tenant", seen.tenant}, {"queues", array(seen.queues)}, {"messages_seen", seen.messages_seen}, {"bytes_seen", seen.bytes_seen}, {"findings", findings},
          {"members", members}, {"outage", escape(seen.outage)}};
}

namespace {

PoisonRef ref_from(const Json& j, const std::vector<QueueView>& queues) {
  const auto queue = j.at(0).get<std::uint32_t>();
  Result<PoisonRef> ref = ref_of_id(queues.at(queue).type, j.at(1).get<std::string>());
  if (!ref) throw std::invalid_argument(ref.error().message());
  ref->queue = queue;
  return *ref;
}

}  // namespace

Observation observation_from(const Json& j) {
  Observation seen;
  seen.tenant = j.at("tenant");
  seen.queues = list<QueueView>(j.at("queues"), queue_from);
  seen.messages_seen = j.at("messages_seen");
  seen.bytes_seen = j.at("bytes_seen");
  seen.findings = list<Finding>(j.at("findings"), finding_from);
  for (const Json& ids : j.at("members"))
    seen.members.push_back(list<PoisonRef>(ids, [&](const Json& m) { return ref_from(m, seen.queues); }));
  seen.outage = j.at("outage");
  return seen;
}

// The plan travels as the document that names every message: its hash is checked on arrival.
Json to_json(const Proposal& proposal) {
  return {{"hash", proposal.hash}, {"document", plan_to_text(proposal.plan)},
          {"verdict", {{"refusal", std::string(name(proposal.verdict.refusal))}, {"reason", escape(proposal.verdict.reason)}}}};
}

Result<Proposal> proposal_from(const Json& j) {
  Proposal out;
  CLAW_TRY_ASSIGN(out.plan, plan_from_text(j.at("document").get<std::string>(), "the agent's plan"));
  out.hash = j.at("hash");
  out.verdict = {named(j.at("verdict").at("refusal"), kRefusals), j.at("verdict").at("reason")};
  return out;
}

Json to_json(const Recovery& r) {
  return {{"groups", r.groups}, {"groups_connected", r.groups_connected}, {"throughput_bps", r.throughput_bps}, {"throughput_per_s", r.throughput_per_s},
          {"full_recovery_ms", millis_or_null(r.full_recovery)}, {"recovered", r.recovered}, {"words", r.words}};
}

Recovery recovery_from(const Json& j) {
  Recovery r;
  r.groups = j.at("groups");
  r.groups_connected = j.at("groups_connected");
  r.throughput_bps = j.at("throughput_bps");
  r.throughput_per_s = j.at("throughput_per_s");
  r.full_recovery = millis_of(j.at("full_recovery_ms"));
  r.recovered = j.at("recovered");
  r.words = j.at("words");
  return r;
}

namespace {

Json outcome_json(const RestoreOutcome& o) {
  return {{"restored", o.restored}, {"in_place", o.in_place}, {"already_present", o.already_present}, {"failed", o.failed}, {"from_vault", o.from_vault}, {"foreign", o.foreign},
          {"repeated_deliveries", o.repeats}, {"order", name(o.achieved)}, {"why", escape(o.why_not_exact)}};
}

RestoreOutcome outcome_from(const Json& j) {
  RestoreOutcome o;
  o.restored = j.at("restored");
  o.in_place = j.at("in_place");
  o.already_present = j.at("already_present");
  o.failed = j.at("failed");
  o.from_vault = j.at("from_vault");
  o.foreign = j.at("foreign");
  o.repeats = j.at("repeated_deliveries");
  o.achieved = j.at("order") == name(RestoreOrder::exact) ? RestoreOrder::exact : RestoreOrder::tail;
  o.why_not_exact = j.at("why");
  return o;
}

}  // namespace

Json to_json(const RollbackReport& r) {
  Json notes = Json::array(), queues = Json::array();
  for (const std::string& note : r.notes) notes.push_back(escape(note));
  for (const QueueRollback& q : r.queues) {
    Json one = outcome_json(q.outcome);
    one["queue"] = id_json(q.queue);
    queues.push_back(std::move(one));
  }
  Json out = outcome_json(r.outcome);
  out["rollback_key"] = r.rollback_key;
  out["queues"] = std::move(queues);
  out["notes"] = std::move(notes);
  return out;
}

RollbackReport rollback_from(const Json& j) {
  RollbackReport r;
  r.rollback_key = j.at("rollback_key");
  r.outcome = outcome_from(j);
  r.queues = list<QueueRollback>(j.at("queues"), [](const Json& q) { return QueueRollback{id_from(q.at("queue")), outcome_from(q)}; });
  r.notes = j.at("notes").get<std::vector<std::string>>();
  return r;
}

Json to_json(const std::vector<DoctorLine>& lines) {
  Json out = Json::array();
  for (const DoctorLine& l : lines) out.push_back({{"level", kLevels[static_cast<int>(l.level)]}, {"subject", l.subject}, {"text", escape(l.text)}, {"fix", l.fix}});
  return {{"checks", out}};
}

std::vector<DoctorLine> doctor_from(const Json& j) {
  return list<DoctorLine>(j.at("checks"), [](const Json& l) {
    const auto level = std::find(std::begin(kLevels), std::end(kLevels), l.at("level").get<std::string>());
    return DoctorLine{static_cast<DoctorLine::Level>(level - std::begin(kLevels)), l.at("subject"), l.at("text"), l.at("fix")};
  });
}

Json to_json(const std::vector<BreakerLine>& lines) {
  Json out = Json::array();
  for (const BreakerLine& l : lines) out.push_back({{"broker", l.broker}, {"state", l.state}, {"words", escape(l.words)}, {"openings", l.openings}});
  return {{"breakers", out}};
}

std::vector<BreakerLine> breakers_from(const Json& j) {
  return list<BreakerLine>(j.at("breakers"), [](const Json& l) { return BreakerLine{l.at("broker"), l.at("state"), l.at("words"), l.at("openings")}; });
}

Json to_json(const Token& token) {
  return {{"id", token.id}, {"name", token.name}, {"scopes", names(token.scopes)}, {"tenants", token.tenants ? Json(*token.tenants) : Json(nullptr)}, {"creator", escape(token.creator)},
          {"created", rfc3339(token.created)}, {"expires", rfc3339(token.expires)}, {"revoked", token.revoked}};
}

Token token_from(const Json& j) {
  Token token{.id = j.at("id"), .name = j.at("name"), .scopes = {}, .tenants = {}, .creator = j.at("creator"), .created = time_from(j.at("created")), .expires = time_from(j.at("expires")), .revoked = j.at("revoked")};
  for (const Json& one : j.at("scopes"))
    if (const auto known = scope(one.get<std::string>())) token.scopes.insert(*known);
  if (!j.at("tenants").is_null()) token.tenants = j.at("tenants").get<std::set<TenantId>>();
  return token;
}

Json to_json(const RestartReport& r) {
  Json words = Json::array();
  for (const std::string& word : r.command) words.push_back(escape(word, 200));
  return {{"entry", r.entry}, {"command", words}, {"user", r.user}, {"status", r.exit.status}, {"timed_out", r.exit.timed_out}, {"took_ms", r.exit.took.count()},
          {"output_bytes", r.exit.output_bytes}, {"output_sha256", r.exit.output_sha256}};
}

RestartReport restart_from(const Json& j) {
  return {.entry = j.at("entry"), .command = j.at("command").get<std::vector<std::string>>(), .user = j.at("user"),
          .exit = {.status = j.at("status"), .timed_out = j.at("timed_out"), .took = Millis(j.at("took_ms").get<std::int64_t>()), .output_bytes = j.at("output_bytes"), .output_sha256 = j.at("output_sha256")}};
}

}  // namespace claw::api
