#include "api/remote.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/shapes.h"
#include "base/text.h"
#include "http/client.h"

namespace claw::api {
namespace {

constexpr Millis kCall{30'000};
constexpr Millis kPoll{100};

// Answers of our own program: one that cannot be read comes of another version.
template <class F>
auto read_as(const std::string& text, F&& shape) -> Result<decltype(shape(Json()))> {
  try {
    return shape(Json::parse(text));
  } catch (const std::exception& e) {
    return make_error(Code::unsupported, "answer of the agent", std::string("is of another version than this program: ") + e.what());
  }
}

// The error that an answer tells of.
Error fault_of(const std::string& text, std::string_view member = {}) {
  try {
    const Json json = Json::parse(text);
    return error_from(member.empty() ? json : json.at(std::string(member)));
  } catch (const std::exception& e) {
    return make_error(Code::unsupported, "answer of the agent", std::string("is of another version than this program: ") + e.what());
  }
}

class Remote final : public AgentCalls {
 public:
  Remote(std::string socket, Clock& clock, const std::atomic<bool>& interrupted) : socket_(std::move(socket)), clock_(clock), interrupted_(interrupted) {}

  Result<std::string> ask(const std::string& method, const std::string& target, const Json& body = Json::object(), const http::Headers& more = {}) const {
    http::Headers headers = {{"Content-Type", "application/json"}};
    headers.insert(headers.end(), more.begin(), more.end());
    CLAW_TRY_ASSIGN(const http::Answer answer, http::ask(socket_, method, target, headers, method == "GET" ? std::string() : body.dump(), Deadline::in(clock_, kCall), clock_));
    if (answer.status < 300) return answer.body;
    return fault_of(answer.body);
  }

  Result<Health> analyze_queue_health(const std::optional<TenantId>& tenant) override {
    return call("/api/v1/analyses", tenant ? Json{{"tenant", *tenant}} : Json::object(), silent(), health_from);
  }
  Result<Topology> topology() override { return call("/api/v1/topologies", Json::object(), silent(), topology_from); }
  Result<Observation> detect_poison_messages(const ScanTarget& target, Progress& progress) override {
    const Json body = target.tenant ? Json{{"tenant", *target.tenant}} : Json{{"broker", target.queue->broker}, {"queue", escape(target.queue->name)}};
    return call("/api/v1/scans", body, progress, observation_from);
  }
  Result<Proposal> plan(const TenantId& tenant, const std::optional<std::string>& skill, const std::string&, Progress& progress) override {
    Json body = {{"tenant", tenant}};
    if (skill) body["skill"] = *skill;
    CLAW_TRY_ASSIGN(const std::string result, carry_out("/api/v1/plans", body, {}, progress, {}));
    CLAW_TRY_ASSIGN(auto proposal, read_as(result, proposal_from));
    return proposal;
  }
  Status approve(const std::string& hash, const std::string&, const std::string& reason) override { return decide(hash, "approve", reason); }
  Status reject(const std::string& hash, const std::string&, const std::string& reason) override { return decide(hash, "reject", reason); }

  // By asking for it with a hash that is not its own: the agent refuses and records that, and says so with a conflict.
  Status refuse_edited_plan(const std::string& claimed, const std::string&, const std::string& reason) override {
    const std::string digits = claimed.starts_with("sha256:") ? claimed.substr(7) : claimed;
    const auto answer = ask("POST", "/api/v1/plans/" + http::percent_encode(digits) + "/apply", {{"reason", reason}}, {{"If-Match", "\"edited\""}});
    if (answer.ok()) return make_error(Code::corrupt, "plan " + digits.substr(0, 12), "the agent took a plan that it must refuse");
    return answer.error().code == Code::conflict ? Status{} : Status(answer.error());
  }

  Status label(const std::string& finding, Said said, const std::string&, const std::string& reason) override {
    CLAW_TRY(carry_out(fmt::format("/api/v1/findings/{}/label", http::percent_encode(finding)), {{"label", name(said)}, {"reason", reason}}, {}, silent(), {}));
    return {};
  }

  // The agent has the plan: it made it, or it refuses. Its members need not travel again.
  Result<ExecutionRecord> execute_safe_drain(const Plan& plan, const std::string&, Progress& progress) override {
    const std::string hash = plan_hash(plan);
    CLAW_TRY_ASSIGN(const std::string result, carry_out("/api/v1/plans/" + hash.substr(7) + "/apply", {{"phrase", "apply " + hash.substr(7, 12)}}, {{"If-Match", '"' + hash + '"'}}, progress, {}));
    return execution_from_json(result);
  }
  Result<Recovery> verify_consumer_recovery(const std::string& id, Millis timeout, Progress& progress) override {
    return call("/api/v1/executions/" + http::percent_encode(id) + "/verify", {{"timeout_ms", timeout.count()}}, progress, recovery_from);
  }
  Result<ExecutionRecord> remediate(const TenantId& tenant, const std::optional<std::string>& skill, const std::string&, const std::function<bool(const Proposal&)>& confirm,
                                    Progress& progress) override {
    Json body = {{"tenant", tenant}, {"ask", static_cast<bool>(confirm)}};
    if (skill) body["skill"] = *skill;
    CLAW_TRY_ASSIGN(const std::string result, carry_out("/api/v1/remediations", body, {}, progress, confirm));
    return execution_from_json(result);
  }
  Result<RollbackReport> rollback(const std::string& key, const std::string&, Progress& progress, RestoreOrder wanted) override {
    return call("/api/v1/rollbacks", {{"rollback_key", key}, {"phrase", "roll back " + key}, {"order", name(wanted)}}, progress, rollback_from);
  }
  Result<std::vector<DoctorLine>> doctor() override { return call("/api/v1/checks", Json::object(), silent(), doctor_from); }
  Result<std::vector<BreakerLine>> breakers() override { return call("/api/v1/breakers", Json::object(), silent(), breakers_from); }
  Status reset_breaker(const BrokerName& broker, const std::string&, const std::string& reason) override {
    CLAW_TRY(carry_out(fmt::format("/api/v1/breakers/{}/reset", http::percent_encode(broker)), {{"reason", reason}}, {}, silent(), {}));
    return {};
  }
  Result<RestartReport> restart(const TenantId& tenant, const std::string& entry, const std::string&, const std::string& reason) override {
    return call("/api/v1/restarts", {{"tenant", tenant}, {"entry", entry}, {"reason", reason}, {"phrase", "restart " + entry + " for " + tenant}}, silent(), restart_from);
  }
  Result<NewToken> create_token(const TokenWish& wish, const std::string&) override {
    Json body = {{"name", wish.name}, {"scopes", names(wish.scopes)}, {"life_s", wish.life.count() / 1'000}};
    if (wish.tenants) body["tenants"] = *wish.tenants;
    CLAW_TRY_ASSIGN(const std::string made, ask("POST", "/api/v1/tokens", body));
    return read_as(made, [](const Json& j) { return NewToken{token_from(j), j.at("secret").get<std::string>()}; });
  }
  Result<std::vector<Token>> tokens() override {
    CLAW_TRY_ASSIGN(const std::string all, ask("GET", "/api/v1/tokens"));
    return read_as(all, [](const Json& j) {
      std::vector<Token> out;
      for (const Json& one : j.at("tokens")) out.push_back(token_from(one));
      return out;
    });
  }
  Status revoke_token(const std::string& id, const std::string&) override {
    CLAW_TRY(ask("POST", "/api/v1/tokens/" + http::percent_encode(id) + "/revoke", Json::object()));
    return {};
  }

 private:
  template <class F>
  auto call(const std::string& target, const Json& body, Progress& progress, F&& shape) const -> Result<decltype(shape(Json()))> {
    CLAW_TRY_ASSIGN(const std::string result, carry_out(target, body, {}, progress, {}));
    return read_as(result, shape);
  }

  Status decide(const std::string& hash, const char* verb, const std::string& reason) const {
    const std::string digits = hash.starts_with("sha256:") ? hash.substr(7) : hash;
    CLAW_TRY(carry_out(fmt::format("/api/v1/plans/{}/{}", http::percent_encode(digits), verb), {{"reason", reason}}, {}, silent(), {}));
    return {};
  }

  // Sends the wish and watches what becomes of it; the result's text.
  Result<std::string> carry_out(const std::string& target, const Json& body, const http::Headers& headers, Progress& progress, const std::function<bool(const Proposal&)>& confirm) const {
    CLAW_TRY_ASSIGN(const std::string accepted, ask("POST", target, body, headers));
    CLAW_TRY_ASSIGN(const std::string id, read_as(accepted, [](const Json& j) { return j.at("id").get<std::string>(); }));
    Shown shown;
    for (;;) {
      CLAW_TRY_ASSIGN(const std::string text, ask("GET", "/api/v1/operations/" + id));
      CLAW_TRY_ASSIGN(const std::string state, read_as(text, [&](const Json& j) { return show(j, shown, progress); }));
      if (state == "done") return ask("GET", "/api/v1/operations/" + id + "/result");
      if (state == "failed") return fault_of(text, "error");
      if (state == "cancelled") return make_error(Code::refused, id, "somebody took it back before it began");
      if (state == "asking" && confirm) CLAW_TRY(answer(id, confirm));
      if (interrupted_) return make_error(Code::outcome_unknown, id, "interrupted while the agent works on it; see: deployclaw executions list");
      clock_.sleep(kPoll);
    }
  }

  Status answer(const std::string& id, const std::function<bool(const Proposal&)>& confirm) const {
    CLAW_TRY_ASSIGN(const std::string question, ask("GET", "/api/v1/operations/" + id + "/result"));
    CLAW_TRY_ASSIGN(const auto proposal, read_as(question, proposal_from));
    if (!proposal) return proposal.error();
    CLAW_TRY(ask("POST", "/api/v1/operations/" + id + "/answer", {{"yes", confirm(*proposal)}}));
    return {};
  }

  struct Shown {
    std::string stage;
    std::size_t stages = 0, notes = 0;
  };
  // Tells `progress` what is new since the last look; the operation's state.
  static std::string show(const Json& operation, Shown& shown, Progress& progress) {
    for (const Json& stages = operation.at("stages"); shown.stages < stages.size(); ++shown.stages) progress.finish(stage_from(stages[shown.stages]));
    for (const Json& notes = operation.at("notes"); shown.notes < notes.size(); ++shown.notes) progress.note(notes[shown.notes].get<std::string>());
    const std::string stage = operation.at("stage");
    if (!stage.empty() && stage != shown.stage) progress.stage(stage);
    shown.stage = stage;
    if (const std::uint64_t total = operation.at("total"); total > 0) progress.advance(operation.at("done"), total);
    return operation.at("state");
  }

  const std::string socket_;
  Clock& clock_;
  const std::atomic<bool>& interrupted_;
};

}  // namespace

Result<std::unique_ptr<AgentCalls>> remote_agent(const std::string& socket_path, Clock& clock, const std::atomic<bool>& interrupted) {
  auto remote = std::make_unique<Remote>(socket_path, clock, interrupted);
  CLAW_TRY(remote->ask("GET", "/healthz"));
  return std::unique_ptr<AgentCalls>(std::move(remote));
}

Status remote_brake(const std::string& socket_path, bool on, const std::string& reason, const Clock& clock) {
  Json body = {{"on", on}};
  if (!reason.empty()) body["reason"] = reason;
  CLAW_TRY_ASSIGN(const http::Answer answer, http::ask(socket_path, "POST", "/api/v1/brake", {{"Content-Type", "application/json"}}, body.dump(), Deadline::in(clock, kCall), clock));
  if (answer.status < 300) return {};
  return fault_of(answer.body);
}

}  // namespace claw::api
