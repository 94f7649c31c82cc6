// What the API is asked to do: a wish for the agent's thread, answered with 202 and an operation to watch.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/brake.h"
#include "api/api.h"
#include "api/call.h"
#include "base/text.h"

namespace claw::api {
namespace {

constexpr Millis kMaxTimeout = std::chrono::minutes(10);

Operation wish(std::string kind, std::string tenant, std::string subject) {
  Operation o;
  o.kind = std::move(kind);
  o.tenant = std::move(tenant);
  o.subject = std::move(subject);
  return o;
}

template <class T>
Result<std::string> as_result(const Result<T>& value) {
  if (!value) return value.error();
  return to_json(*value).dump();
}

Result<std::string> as_result(const Result<ExecutionRecord>& record) {
  if (!record) return record.error();
  return execution_to_json(*record, -1);
}

Status phrase_is(const Json& body, const std::string& expected) {
  CLAW_TRY_ASSIGN(const std::string phrase, text_of(body, "phrase"));
  if (phrase != expected) return make_error(Code::invalid, "body.phrase", "expected exactly: " + expected);
  return {};
}

}  // namespace

Result<http::Response> Api::accept(const Call& call, Operation asked, Operations::Work work) {
  if (!call.who.sees(asked.tenant)) return make_error(Code::denied, asked.kind, asked.tenant.empty() ? "speaks of all tenants, and the token is for some" : "the token is not for this tenant");
  asked.actor = call.actor;
  const std::string key(call.request.header("idempotency-key"));
  if (key.size() > 200) return make_error(Code::invalid, "Idempotency-Key", "at most 200 bytes");
  CLAW_TRY_ASSIGN(const Operation operation, d_.operations.submit(std::move(asked), std::move(work), key));
  return http::Response{.status = 202, .headers = {{"Location", "/api/v1/operations/" + operation.id}}, .body = operation_json(operation)};
}

Result<http::Response> Api::wish_analysis(const Call& call) {
  CLAW_TRY_ASSIGN(const std::string tenant, text_or(call.body, "tenant", ""));
  return accept(call, wish("analyze", tenant, ""), [tenant](Agent& agent, Operations::Task&) { return as_result(agent.analyze_queue_health(tenant.empty() ? std::nullopt : std::optional(tenant))); });
}

Result<http::Response> Api::wish_topology(const Call& call) {
  return accept(call, wish("topology", "", ""), [](Agent& agent, Operations::Task&) { return as_result(agent.topology()); });
}

Result<http::Response> Api::wish_scan(const Call& call) {
  ScanTarget target;
  CLAW_TRY_ASSIGN(const std::string tenant, text_or(call.body, "tenant", ""));
  if (!tenant.empty()) {
    target.tenant = tenant;
  } else {
    CLAW_TRY_ASSIGN(const std::string broker, text_of(call.body, "broker"));
    CLAW_TRY_ASSIGN(const std::string queue, text_of(call.body, "queue"));
    target.queue = real_queue(broker, queue);
  }
  return accept(call, wish("scan", target.queue ? owner_of(*target.queue) : tenant, target.queue ? target.queue->text() : ""),
                [target](Agent& agent, Operations::Task& task) { return as_result(agent.detect_poison_messages(target, task)); });
}

Result<http::Response> Api::wish_plan(const Call& call) {
  CLAW_TRY_ASSIGN(const std::string tenant, text_of(call.body, "tenant"));
  CLAW_TRY_ASSIGN(const std::string skill, text_or(call.body, "skill", ""));
  return accept(call, wish("plan", tenant, skill), [tenant, skill, actor = call.actor](Agent& agent, Operations::Task& task) {
    return as_result(agent.plan(tenant, skill.empty() ? std::nullopt : std::optional(skill), actor, task));
  });
}

Result<http::Response> Api::wish_breakers(const Call& call) {
  return accept(call, wish("breakers", "", ""), [](Agent& agent, Operations::Task&) { return as_result(agent.breakers()); });
}

Result<http::Response> Api::wish_breaker_reset(const Call& call) {
  CLAW_TRY_ASSIGN(const std::string reason, text_of(call.body, "reason"));
  return accept(call, wish("breaker reset", "", call.names[0]), [broker = call.names[0], actor = call.actor, reason](Agent& agent, Operations::Task&) -> Result<std::string> {
    CLAW_TRY(agent.reset_breaker(broker, actor, reason));
    return Json{{"broker", broker}, {"state", "closed"}}.dump();
  });
}

Result<http::Response> Api::wish_label(const Call& call) {
  CLAW_TRY_ASSIGN(const StoredFinding found, visible_finding(call, call.names[0]));
  CLAW_TRY_ASSIGN(const std::string label, text_of(call.body, "label"));
  CLAW_TRY_ASSIGN(const std::string reason, text_of(call.body, "reason"));
  const std::optional<Said> known = said(label);
  if (!known) return make_error(Code::invalid, "body.label", "expected poison, not-poison or none");
  return accept(call, wish("label", found.tenant, found.id), [id = found.id, said = *known, actor = call.actor, reason](Agent& agent, Operations::Task&) -> Result<std::string> {
    CLAW_TRY(agent.label(id, said, actor, reason));
    return Json{{"finding", id}, {"label", name(said)}}.dump();
  });
}

Result<http::Response> Api::wish_approval(const Call& call) { return decide(call, true); }
Result<http::Response> Api::wish_rejection(const Call& call) { return decide(call, false); }

Result<http::Response> Api::decide(const Call& call, bool approve) {
  CLAW_TRY_ASSIGN(const StoredPlan stored, visible_plan(call, call.names[0]));
  CLAW_TRY_ASSIGN(const std::string reason, text_of(call.body, "reason"));
  CLAW_TRY_ASSIGN(const std::string facts, plan_facts(stored.hash));
  return accept(call, wish(approve ? "approve" : "reject", Json::parse(facts).at("tenant"), stored.hash),
                [hash = stored.hash, actor = call.actor, reason, approve](Agent& agent, Operations::Task&) -> Result<std::string> {
                  CLAW_TRY(approve ? agent.approve(hash, actor, reason) : agent.reject(hash, actor, reason));
                  return Json{{"hash", hash}, {"state", approve ? "approved" : "rejected"}}.dump();
                });
}

// What is applied is what was shown: If-Match names the plan by its whole hash, the phrase says that a person read it. Another hash is
// a plan that was edited on the way: refused and recorded.
Result<http::Response> Api::wish_apply(const Call& call) {
  CLAW_TRY_ASSIGN(const StoredPlan stored, visible_plan(call, call.names[0]));
  const std::string_view match = call.request.header("if-match");
  if (match.empty()) return problem(428, "invalid", "If-Match with the plan's hash is required");
  if (match != '"' + stored.hash + '"') {
    CLAW_TRY_ASSIGN(const std::string facts, plan_facts(stored.hash));
    CLAW_TRY_ASSIGN(const std::string reason, text_or(call.body, "reason", "If-Match names another plan than this one"));
    CLAW_TRY(d_.agent.audit().append({{"type", "refusal"}, {"ts", rfc3339(d_.clock.now())}, {"tenant", Json::parse(facts).at("tenant")}, {"plan", stored.hash}, {"actor", escape(call.actor)},
                                      {"refusal", std::string(name(Refusal::edited_plan))}, {"reason", escape(reason)}}));
    CLAW_TRY(d_.agent.audit().checkpoint());
    return problem(412, "conflict", "If-Match names another plan than this one: " + stored.hash);
  }
  CLAW_TRY(phrase_is(call.body, "apply " + stored.hash.substr(7, 12)));
  CLAW_TRY_ASSIGN(const Plan plan, plan_from_text(stored.text, "plan " + stored.hash.substr(0, 15)));
  return accept(call, wish("apply", plan.tenant, stored.hash),
                [plan, actor = call.actor](Agent& agent, Operations::Task& task) { return as_result(agent.execute_safe_drain(plan, actor, task)); });
}

Result<http::Response> Api::wish_remediation(const Call& call) {
  CLAW_TRY_ASSIGN(const std::string tenant, text_of(call.body, "tenant"));
  CLAW_TRY_ASSIGN(const std::string skill, text_or(call.body, "skill", ""));
  const bool ask = call.body.value("ask", true);
  return accept(call, wish("remediate", tenant, skill), [tenant, skill, ask, actor = call.actor](Agent& agent, Operations::Task& task) {
    const auto question = [&](const Proposal& proposal) { return !ask || task.ask(to_json(proposal).dump()); };
    return as_result(agent.remediate(tenant, skill.empty() ? std::nullopt : std::optional(skill), actor, question, task));
  });
}

Result<http::Response> Api::wish_rollback(const Call& call) {
  CLAW_TRY_ASSIGN(const std::string key, text_of(call.body, "rollback_key"));
  CLAW_TRY(phrase_is(call.body, "roll back " + key));
  CLAW_TRY_ASSIGN(const std::string order, text_or(call.body, "order", std::string(name(RestoreOrder::exact))));
  if (order != name(RestoreOrder::exact) && order != name(RestoreOrder::tail))
    return make_error(Code::invalid, "body.order", "expected original or tail");
  const RestoreOrder wanted = order == name(RestoreOrder::exact) ? RestoreOrder::exact : RestoreOrder::tail;
  CLAW_TRY_ASSIGN(const std::string id, execution_of_rollback_key(key));
  CLAW_TRY_ASSIGN(const ExecutionRecord record, visible_execution(call, id));
  return accept(call, wish("rollback", record.tenant, key), [key, id, wanted, tenant = record.tenant, actor = call.actor](Agent& agent, Operations::Task& task) {
    task.execution(id, tenant);
    return as_result(agent.rollback(key, actor, task, wanted));
  });
}

Result<http::Response> Api::wish_verification(const Call& call) {
  const Json timeout = call.body.value("timeout_ms", Json(10'000));
  if (!timeout.is_number_unsigned() || Millis(timeout.get<std::int64_t>()) > kMaxTimeout) return make_error(Code::invalid, "body.timeout_ms", "expected milliseconds, at most ten minutes");
  CLAW_TRY_ASSIGN(const ExecutionRecord record, visible_execution(call, call.names[0]));
  return accept(call, wish("verify", record.tenant, record.execution_id), [id = record.execution_id, wait = Millis(timeout.get<std::int64_t>())](Agent& agent, Operations::Task& task) {
    return as_result(agent.verify_consumer_recovery(id, wait, task));
  });
}

Result<http::Response> Api::wish_check(const Call& call) {
  return accept(call, wish("doctor", "", ""), [](Agent& agent, Operations::Task&) { return as_result(agent.doctor()); });
}

Result<http::Response> Api::answer_question(const Call& call) {
  const auto yes = call.body.find("yes");
  if (yes == call.body.end() || !yes->is_boolean()) return make_error(Code::invalid, "body.yes", "expected true or false");
  CLAW_TRY_ASSIGN(const Operation asked, visible_operation(call, call.names[0]));
  if (asked.actor != call.actor) return make_error(Code::denied, "operation " + asked.id, "asks " + asked.actor);
  CLAW_TRY(d_.operations.answer(asked.id, yes->get<bool>()));
  return json_answer({{"id", asked.id}, {"yes", yes->get<bool>()}});
}

Result<http::Response> Api::cancel(const Call& call) {
  CLAW_TRY(visible_operation(call, call.names[0]));
  CLAW_TRY(d_.operations.cancel(call.names[0]));
  CLAW_TRY_ASSIGN(const Operation operation, d_.operations.find(call.names[0]));
  return http::Response{.body = operation_json(operation)};
}

Result<http::Response> Api::wish_restart(const Call& call) {
  CLAW_TRY_ASSIGN(const std::string tenant, text_of(call.body, "tenant"));
  CLAW_TRY_ASSIGN(const std::string entry, text_of(call.body, "entry"));
  CLAW_TRY_ASSIGN(const std::string reason, text_of(call.body, "reason"));
  CLAW_TRY(phrase_is(call.body, "restart " + entry + " for " + tenant));
  return accept(call, wish("restart", tenant, entry), [tenant, entry, reason, actor = call.actor](Agent& agent, Operations::Task&) { return as_result(agent.restart(tenant, entry, actor, reason)); });
}

Result<http::Response> Api::tokens(const Call&) {
  CLAW_TRY_ASSIGN(const auto all, d_.agent.store().tokens());
  Json out = Json::array();
  for (const Token& token : all) out.push_back(to_json(token));
  return json_answer({{"tokens", out}, {"now", rfc3339(d_.clock.now())}});
}

// The secret is in this answer and nowhere else, ever.
Result<http::Response> Api::create_token(const Call& call) {
  TokenWish wish;
  CLAW_TRY_ASSIGN(wish.name, text_of(call.body, "name"));
  CLAW_TRY_ASSIGN(const std::vector<std::string> scopes, texts_of(call.body, "scopes"));
  for (const std::string& word : scopes) {
    const auto one = scope(word);
    if (!one) return make_error(Code::invalid, "body.scopes", "expected observe, plan, approve, apply or restore");
    wish.scopes.insert(*one);
  }
  if (call.body.contains("tenants")) {
    CLAW_TRY_ASSIGN(const std::vector<std::string> tenants, texts_of(call.body, "tenants"));
    wish.tenants.emplace(tenants.begin(), tenants.end());
  }
  if (const auto life = call.body.find("life_s"); life != call.body.end()) {
    if (!life->is_number_unsigned() || life->get<std::uint64_t>() > 400u * 24 * 3'600) return make_error(Code::invalid, "body.life_s", "expected seconds, at most a year");
    wish.life = Millis(life->get<std::int64_t>() * 1'000);
  }
  CLAW_TRY_ASSIGN(const NewToken made, claw::create_token(wish, call.actor, d_.agent.store(), d_.agent.audit(), d_.random, d_.clock));
  Json out = to_json(made.token);
  out["secret"] = made.secret;
  return json_answer(out, 201);
}

Result<http::Response> Api::revoke_token(const Call& call) {
  CLAW_TRY(claw::revoke_token(call.names[0], call.actor, d_.agent.store(), d_.agent.audit(), d_.clock));
  return json_answer({{"id", call.names[0]}, {"revoked", true}});
}

// At once, on this thread: the brake waits for nobody. On first, recorded afterwards; off the other way round.
Result<http::Response> Api::brake(const Call& call) {
  const auto on = call.body.find("on");
  if (on == call.body.end() || !on->is_boolean()) return make_error(Code::invalid, "body.on", "expected true or false");
  CLAW_TRY_ASSIGN(const std::string reason, text_or(call.body, "reason", ""));
  const std::string& dir = d_.agent.config().data_dir;
  const bool wanted = on->get<bool>();
  if (wanted) CLAW_TRY(set_brake(d_.disk, dir, true));
  CLAW_TRY(d_.agent.audit().append({{"type", "brake"}, {"ts", rfc3339(d_.clock.now())}, {"on", wanted}, {"actor", escape(call.actor)}, {"reason", escape(reason)}}));
  CLAW_TRY(d_.agent.audit().checkpoint());
  if (!wanted) CLAW_TRY(set_brake(d_.disk, dir, false));
  d_.events.publish("brake", Json{{"on", wanted}, {"actor", call.actor}}.dump());
  return json_answer({{"on", wanted}});
}

}  // namespace claw::api
