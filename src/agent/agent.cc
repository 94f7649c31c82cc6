#include "agent/agent.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "agent/brake.h"
#include "agent/lanes.h"
#include "agent/recovery.h"
#include "agent/scan.h"
#include "base/digest.h"
#include "base/text.h"
#include "broker/claims.h"
#include "notify/notice.h"
#include "policy/alerts.h"
#include "remedy/drain.h"
#include "remedy/planner.h"
#include "skill/skill.h"
#include "skill/trigger.h"

namespace claw {
namespace {

using nlohmann::json;

constexpr Millis kCallTimeout{30'000};
constexpr Millis kAskedPatience{40'000};  // with brokers that do not answer, when somebody asked
constexpr Millis kTickPatience{1'500};    // and when nobody did: the next turn takes their answer in
constexpr Millis kPlanLife = std::chrono::minutes(15);
constexpr Millis kLookAgain{30'000};  // after a look that gave no plan to propose
constexpr Millis kFirstPause{5'000};  // after one that gave the acting agent nothing to do; doubles
constexpr const char* kNoRecovery = "no-recovery";  // journal steps beside those of the drain
constexpr const char* kExpected = "recovery-expected";
constexpr const char* kReached = "recovery-reached";
constexpr std::string_view kTenantWord = "{tenant}";
constexpr Millis kHeldPause = std::chrono::minutes(1);  // before an execution that is held is tried again; doubles
constexpr Millis kLongestHeldPause = std::chrono::hours(1);
constexpr Millis kLongestPause = std::chrono::minutes(5);
constexpr Millis kHistoryWindow = std::chrono::minutes(10);
constexpr Millis kBaselineWindow = std::chrono::hours(6);
constexpr std::size_t kMostKept = 40u << 20;  // bytes in memory of what a look keeps: about 850,000 messages

class Silent final : public Progress {
 public:
  void stage(std::string_view) override {}
  void advance(std::uint64_t, std::uint64_t) override {}
  void finish(const StageRecord&) override {}
  void note(std::string_view) override {}
};

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return fmt::format("{:.2f}", whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

json finding_json(const Finding& finding) {
  json queues = json::array();
  for (const QueueId& queue : finding.queues) queues.push_back(escape(queue.text()));
  const SignatureEvidence& e = finding.evidence;
  return {{"id", finding.signature.id()}, {"tenant", finding.tenant}, {"signature", escape(finding.signature.text)}, {"kind", finding.signature.kind},
          {"path", escape(finding.signature.path)}, {"explanation", escape(finding.explanation)}, {"count", finding.count},
          {"confidence", finding.confidence}, {"lower_bound", finding.lower_bound}, {"queues", queues}, {"sample", finding.sample},
          {"excerpt", escape(finding.excerpt)},
          {"evidence", {{"failures", e.failures}, {"failing_messages", e.failing_messages}, {"passes", e.passes}, {"waiting", e.waiting},
                        {"in_flight", e.in_flight}, {"other_failures", e.other_failures}, {"other_passes", e.other_passes}}}};
}

// Times one stage and writes its record, however it ends.
class StageTimer {
 public:
  StageTimer(std::string stage, Clock& clock, Progress& progress) : clock_(clock), progress_(progress), start_(clock.mono()) {
    record_.stage = std::move(stage);
    progress_.stage(record_.stage);
  }
  StageRecord end(StageStatus status, std::string output) {
    record_.duration = elapsed(start_, clock_.mono());
    record_.status = status;
    record_.output = std::move(output);
    progress_.finish(record_);
    return record_;
  }

 private:
  Clock& clock_;
  Progress& progress_;
  MonoTime start_;
  StageRecord record_;
};

class LocalAgent final : public Agent {
 public:
  LocalAgent(Config config, AgentDeps deps)
      : config_(std::move(config)), deps_(std::move(deps)), claims_(claims_on(config_)), lanes_(config_, deps_, [this] { return brake_on(); }) {}

  Status open(Progress& progress) {
    const std::string& dir = config_.data_dir;
    CLAW_TRY(deps_.disk.make_dirs(dir));
    CLAW_TRY_ASSIGN(lock_, deps_.disk.lock(dir + "/agent.lock"));
    CLAW_TRY_ASSIGN(store_, Store::open(dir, deps_.clock));
    CLAW_TRY_ASSIGN(vault_, Vault::open(deps_.disk, deps_.random, dir + "/vault"));
    CLAW_TRY_ASSIGN(audit_, AuditLog::open(deps_.disk, deps_.random, dir + "/audit", "deployclaw/" + config_.agent_id));
    CLAW_TRY(restore_alerts());
    CLAW_TRY(restore_expectations());
    CLAW_TRY(settle_unfinished(progress));
    return audit_->checkpoint();  // over what an agent that was cut off recorded
  }

  Result<Topology> topology() override { return topology_within(kAskedPatience, std::nullopt); }

  Result<Health> analyze_queue_health(const std::optional<TenantId>& tenant) override { return health_within(kAskedPatience, tenant); }

  Result<Observation> detect_poison_messages(const ScanTarget& target, Progress& progress) override {
    CLAW_TRY(known(target.tenant));
    CLAW_TRY_ASSIGN(const auto queues, queues_of(target, progress));
    return observe(queues.empty() ? target.tenant.value_or("") : queues.front().tenant, queues, Then::nothing, progress);
  }

  Result<Proposal> plan(const TenantId& tenant, const std::optional<std::string>& skill, const std::string& actor, Progress& progress) override {
    CLAW_TRY(known(tenant));
    CLAW_TRY_ASSIGN(const auto queues, queues_of({.tenant = tenant, .queue = {}}, progress));
    CLAW_TRY_ASSIGN(Observation seen, observe(tenant, queues, Then::nothing, progress));
    return propose(*tenant_of(tenant), skill, actor, std::move(seen));
  }

  Status approve(const std::string& hash, const std::string& actor, const std::string& reason) override {
    CLAW_TRY_ASSIGN(const StoredPlan stored, store_->plan(hash));
    CLAW_TRY_ASSIGN(const Plan plan, plan_from_text(stored.text, "plan"));
    if (plan.requester == actor) return refuse_decision(stored.hash, plan.tenant, actor, {Refusal::self_approval, "a plan is never approved by the one who asked for it"});
    if (deps_.clock.now() > plan.expires)
      return refuse_decision(stored.hash, plan.tenant, actor, {Refusal::plan_expired, "the plan expired at " + rfc3339(plan.expires) + "; make a new one"});
    CLAW_TRY(store_->move_plan(stored.hash, "proposed", "approved", actor, reason));
    return record_decision(stored.hash, "approved", plan.tenant, actor, reason);
  }

  Status refuse_edited_plan(const std::string& claimed, const std::string& actor, const std::string& reason) override {
    const json fields = {{"plan", escape(claimed, 100)}, {"actor", escape(actor)}, {"refusal", std::string(name(Refusal::edited_plan))}, {"reason", escape(reason)}};
    CLAW_TRY(record_immutable("refusal", fields.dump()));
    return {};
  }

  Status reject(const std::string& hash, const std::string& actor, const std::string& reason) override {
    CLAW_TRY_ASSIGN(const StoredPlan stored, store_->plan(hash));
    CLAW_TRY_ASSIGN(const Plan plan, plan_from_text(stored.text, "plan"));
    CLAW_TRY(store_->move_plan(stored.hash, stored.state == "approved" ? "approved" : "proposed", "rejected", actor, reason));
    return record_decision(stored.hash, "rejected", plan.tenant, actor, reason);
  }

  Status label(const std::string& finding, Said said, const std::string& actor, const std::string& reason) override {
    CLAW_TRY_ASSIGN(const StoredFinding found, store_->finding(finding));
    CLAW_TRY_ASSIGN(const json facts, parse_json(found.json, "finding " + finding));
    const std::string signature = facts.at("id").get<std::string>();
    const json record = {{"tenant", found.tenant}, {"actor", escape(actor)}, {"signature", escape(facts.at("signature").get<std::string>())}, {"finding", found.id}, {"label", name(said)}, {"reason", escape(reason)}};
    CLAW_TRY(record_immutable("label", record.dump()));
    return store_->save_label(found.tenant, signature, said != Said::none ? std::optional(Label{.poison = said == Said::poison, .actor = actor, .reason = reason, .at = deps_.clock.now()}) : std::nullopt);
  }

  Result<ExecutionRecord> execute_safe_drain(const Plan& plan, const std::string& actor, Progress& progress) override {
    ExecutionRecord record = begin(plan.tenant, progress);
    const std::string hash = plan_hash(plan);
    const Result<StoredPlan> stored = store_->plan(hash);
    if (!stored && stored.error().code != Code::not_found) return stored.error();
    if (!stored) return refuse(std::move(record), "drain_execution", {Refusal::foreign_plan, "this agent made no such plan; make one with: deployclaw plan"}, actor, progress);
    // What the hash does not pin (times, requester) is taken from the store: a file may have been edited.
    CLAW_TRY_ASSIGN(const Plan own, plan_from_text(stored->text, "plan " + hash.substr(0, 15)));
    const Verdict verdict = judge_applying(own, facts_of(own, actor, stored->state == "approved" ? stored->approver : "", ""));
    if (!verdict.allowed()) return refuse(std::move(record), "drain_execution", verdict, actor, progress);
    return carry_out(std::move(record), own, hash, {}, actor, progress);
  }

  Result<ExecutionRecord> remediate(const TenantId& tenant, const std::optional<std::string>& skill, const std::string& actor,
                                    const std::function<bool(const Proposal&)>& confirm, Progress& progress) override {
    CLAW_TRY(known(tenant));
    ExecutionRecord record = begin(tenant, progress);
    if (brake_on()) return refuse(std::move(record), "topology_analysis", {Refusal::brake_on, "the brake is on (or cannot be read): nothing is touched"}, actor, progress);

    StageTimer topology_timer("topology_analysis", deps_.clock, progress);
    Result<Found> answered = find_queues({.tenant = tenant, .queue = {}}, actor == "agent" ? kTickPatience : kAskedPatience);
    if (const std::string open = open_breaker(brokers_of(tenant)); !answered && !open.empty())
      return refuse(std::move(record), "topology_analysis", {Refusal::breaker_open, open}, actor, progress);
    CLAW_TRY_ASSIGN(Found found, std::move(answered));
    if (actor == "agent") {
      CLAW_TRY_ASSIGN(found, look_again(tenant, std::move(found)));
    }
    const std::vector<QueueView>& queues = found.queues;
    std::uint64_t groups = 0, backlog = 0;
    for (const QueueView& queue : queues) {
      groups += queue.consumer_groups();
      backlog += queue.backlog;
    }
    record.stages.push_back(topology_timer.end(StageStatus::complete, fmt::format("Detected {} queue instances, {} consumer groups, backlog_size: {} messages{}",
                                                                                  queues.size(), groups, backlog, unasked_words(found.troubles))));

    StageTimer detection_timer("poison_detection", deps_.clock, progress);
    CLAW_TRY_ASSIGN(Observation seen, observe(tenant, queues, Then::removal, progress));
    record.stages.push_back(detection_timer.end(StageStatus::complete, detection_words(seen, *tenant_of(tenant))));

    StageTimer threshold_timer("threshold_evaluation", deps_.clock, progress);
    CLAW_TRY_ASSIGN(const Proposal proposal, propose(*tenant_of(tenant), skill, actor, std::move(seen)));
    for (const QueueView& queue : queues) CLAW_TRY(begin_history(queue.id));
    const TenantHealth health = evaluate(*tenant_of(tenant), queues, rates_of(queues), history_);
    // Between the tick that saw a breach and now others were attended to.
    const bool healed = actor == "agent" && health.breaches.empty() && health.symptoms.empty();
    const Verdict verdict = healed ? Verdict{Refusal::nothing_to_do, "no SLA is breached any more"}
                                   : judge(proposal.plan, facts_of(proposal.plan, actor, "", proposal.observation.outage));
    record.stages.push_back(threshold_timer.end(verdict.allowed() ? StageStatus::complete : StageStatus::refused,
                                                threshold_words(health, proposal.plan, verdict)));
    if (verdict.refusal == Refusal::nothing_to_do) return nothing_to_do(std::move(record), {verdict.refusal, verdict.reason + unseen_words(queues)}, actor);
    if (!verdict.allowed()) return refuse(std::move(record), "drain_execution", verdict, actor, progress);
    if (confirm && !confirm(proposal)) {
      record.state = "refused";
      record.reason = "not confirmed";
      CLAW_TRY(store_->save_execution(record));
      return record;
    }
    return carry_out(std::move(record), proposal.plan, proposal.hash, proposal.observation.kept, actor, progress);
  }

  Result<Recovery> verify_consumer_recovery(const std::string& execution_id, Millis timeout, Progress& progress) override {
    CLAW_TRY_ASSIGN(const ExecutionRecord record, store_->execution(execution_id));
    CLAW_TRY_ASSIGN(const Plan plan, stored_plan(record.plan_hash));
    CLAW_TRY_ASSIGN(const Watched seen, watch_consumers(watch_of(plan.tenant, {}, progress), timeout, [](const Watched& w) { return w.recovery.recovered; }));
    return seen.recovery;
  }

  Result<RollbackReport> rollback(const std::string& key, const std::string& actor, Progress& progress, RestoreOrder wanted) override {
    CLAW_TRY_ASSIGN(const std::string id, execution_of_rollback_key(key));
    CLAW_TRY_ASSIGN(ExecutionRecord record, store_->execution(id));
    if (record.plan_hash.empty()) return make_error(Code::invalid, "rollback " + key, "that execution removed nothing");
    CLAW_TRY_ASSIGN(const Plan plan, stored_plan(record.plan_hash));
    progress.stage("rollback");
    remedy::Surroundings around = surroundings(progress);
    CLAW_TRY_ASSIGN(remedy::Ledger ledger, remedy::Ledger::open(around, id));
    CLAW_TRY(ledger.record("rollback", json{{"phase", "open"}, {"actor", escape(actor)}}.dump()));
    CLAW_TRY(ledger.journal("rollback-open", json{{"order", name(wanted)}}.dump()));
    // Unfinished until it is done: a start of the agent that finds it so goes on with it.
    record.state = "running";
    CLAW_TRY(store_->save_execution(record));
    const auto restores = remedy::roll_back(plan, ledger, around, wanted);
    if (!restores) {
      record.state = "held";
      record.reason = "rollback: " + restores.error().message();
      for (const BrokerConfig& broker : config_.brokers) lanes_.drop(broker.name);
      CLAW_TRY(store_->save_execution(record));
      return restores.error();
    }
    CLAW_TRY(ledger.journal("rollback-close", "{}"));
    if (record.record.compliance_fingerprint.empty()) record.record.compliance_fingerprint = ledger.last_fingerprint();  // it was never closed
    record.state = "rolled_back";
    CLAW_TRY(store_->save_execution(record));
    CLAW_TRY(audit_->checkpoint());
    return report_of(key, *restores);
  }

  Result<std::uint64_t> record_immutable(const std::string& type, const std::string& text) override {
    CLAW_TRY_ASSIGN(json record, parse_json(text, "audit record"));
    record["type"] = type;
    record["ts"] = rfc3339(deps_.clock.now());
    CLAW_TRY_ASSIGN(const std::uint64_t index, audit_->append(record));
    CLAW_TRY(audit_->checkpoint());
    return index;
  }

  Result<std::vector<DoctorLine>> doctor() override {
    using Level = DoctorLine::Level;
    std::vector<DoctorLine> lines;
    CLAW_TRY_ASSIGN(const std::uint64_t room, deps_.disk.free_bytes(config_.data_dir));
    lines.push_back({room > (1ull << 30) ? Level::ok : Level::warn, "data directory", fmt::format("{}: {} MiB free", config_.data_dir, room >> 20),
                     room > (1ull << 30) ? "" : "a snapshot needs twice the bytes that it removes"});
    const VerifyReport log = verify_log(deps_.disk, config_.data_dir + "/audit", audit_->verifier_key());
    lines.push_back({log.ok ? Level::ok : Level::fail, "audit log", log.ok ? fmt::format("{} entries, verified; unwitnessed", log.size) : log.problem, ""});
    for (const BrokerConfig& broker : config_.brokers) {
      const Result<Broker*> lane = lanes_.get(broker.name);
      const Result<Pong> pong = lane ? (*lane)->check(deadline()) : Result<Pong>(lane.error());
      if (!pong) {
        lines.push_back({Level::fail, broker.name, pong.error().message(), "check the url, the password and that the server runs"});
        continue;
      }
      lines.push_back({Level::ok, broker.name, fmt::format("{}, round trip {}", pong->server, human(pong->round_trip)), ""});
      for (const std::string& warning : pong->warnings) lines.push_back({Level::warn, broker.name, warning, ""});
    }
    std::set<std::string> contracts;
    for (const Tenant& tenant : config_.tenants) contracts.insert(tenant.contract);
    for (const auto& [name, profile] : config_.profiles) contracts.insert(profile.contract);
    contracts.erase("");
    for (const std::string& file : contracts) {
      const auto contract = contract_of(file);
      const std::string what = !contract ? escape(contract.error().message(), 200) : contract->first.avro ? "bodies are read with it" : "bodies are checked against it";
      lines.push_back({contract ? Level::ok : Level::fail, "contract", escape(file, 120) + ": " + what,
                       contract ? "" : "a look goes on without it, and says so"});
    }
    return lines;
  }

  Result<std::vector<BreakerLine>> breakers() override { return lanes_.breakers(); }

  Status reset_breaker(const BrokerName& broker, const std::string& actor, const std::string& reason) override {
    CLAW_TRY(lanes_.reset_breaker(broker));
    CLAW_TRY(record_immutable("breaker", json{{"broker", broker}, {"actor", escape(actor)}, {"to", "closed"}, {"reason", escape(reason)}}.dump()));
    return {};
  }

  Result<RestartReport> restart(const TenantId& tenant, const std::string& entry, const std::string& actor, const std::string& reason) override {
    constexpr Millis kBetween = std::chrono::minutes(1);
    CLAW_TRY(known(tenant));
    const auto found = std::find_if(config_.restarts.begin(), config_.restarts.end(), [&](const RestartEntry& e) { return e.name == entry; });
    const std::string what = "restart " + escape(entry, 64);
    if (found == config_.restarts.end()) return make_error(Code::not_found, what, "is not under restarts: in " + config_.file);
    json fields = {{"tenant", tenant}, {"entry", entry}, {"actor", escape(actor)}, {"reason", escape(reason)}};
    const auto refused = [&](const std::string& why) -> Error {
      fields["refusal"] = why;
      const auto recorded = record_immutable("refusal", fields.dump());
      return recorded ? make_error(Code::refused, what, why) : recorded.error();
    };
    if (brake_on()) return refused("the brake is on (or cannot be read): nothing is touched");
    if (tenant.starts_with('-') || tenant.starts_with('.')) return refused("a tenant of that name cannot stand in a command");
    const auto before = restarted_.find({tenant, entry});
    if (before != restarted_.end() && deps_.clock.mono() - before->second < kBetween) return refused("it was restarted less than " + human(kBetween) + " ago");

    RestartReport report{.entry = entry, .command = found->command, .user = found->user, .exit = {}};
    for (std::string& word : report.command)
      for (std::size_t at = word.find(kTenantWord); at != std::string::npos; at = word.find(kTenantWord, at + tenant.size())) word.replace(at, kTenantWord.size(), tenant);
    for (const std::string& word : report.command) fields["command"].push_back(escape(word, 200));
    fields["phase"] = "intent";
    CLAW_TRY(record_immutable("restart", fields.dump()));
    restarted_[{tenant, entry}] = deps_.clock.mono();
    const Result<Exit> exit = run_command({.argv = report.command, .user = report.user, .timeout = found->timeout}, deps_.clock);
    fields["phase"] = "result";
    if (exit) fields.update({{"status", exit->status}, {"timed_out", exit->timed_out}, {"took_ms", exit->took.count()}, {"output_bytes", exit->output_bytes}, {"output", exit->output_sha256}});
    else fields["error"] = escape(exit.error().message());
    CLAW_TRY(record_immutable("restart", fields.dump()));
    if (!exit) return exit.error();
    report.exit = *exit;
    return report;
  }

  Result<NewToken> create_token(const TokenWish& wish, const std::string& actor) override { return claw::create_token(wish, actor, *store_, *audit_, deps_.random, deps_.clock); }
  Result<std::vector<Token>> tokens() override { return store_->tokens(); }
  Status revoke_token(const std::string& id, const std::string& actor) override { return claw::revoke_token(id, actor, *store_, *audit_, deps_.clock); }

  Result<std::vector<ExecutionRecord>> tick(const std::function<void(std::string_view)>& event, Progress& progress) override {
    CLAW_TRY_ASSIGN(const Health health, health_within(kTickPatience, std::nullopt));
    CLAW_TRY(tell(health, event));
    CLAW_TRY(check_expectations(health, event));
    CLAW_TRY(try_held_again(event, progress));
    std::vector<ExecutionRecord> done;
    for (const TenantHealth& tenant : health.tenants) {
      const Tenant& known = *tenant_of(tenant.id);
      const bool triggered = triggers_[tenant.id].met(skill::built_in().at(known.skill).protocol, tenant, deps_.clock.mono());
      if (tenant.severity_bps <= 0 && !triggered) {
        pauses_.erase(tenant.id);
        continue;
      }
      if (!triggered) continue;
      if (known.autonomy == Autonomy::propose) offer(tenant.id, event, progress);
      Pause& pause = pauses_[tenant.id];
      if (known.autonomy != Autonomy::act || cooling_down(tenant.id) || deps_.clock.mono() < pause.until) continue;
      Result<ExecutionRecord> record = remediate(tenant.id, std::nullopt, "agent", {}, progress);
      const std::string why = !record ? escape(record.error().message()) : record->plan_hash.empty() ? record->reason : std::string();
      if (!why.empty()) {  // nothing was done: a look costs, and will hardly find more at once
        pause.length = std::clamp(pause.length * 2, kFirstPause, kLongestPause);
        pause.until = deps_.clock.mono() + pause.length;
        if (std::exchange(pause.why, why) != why) event(fmt::format("{}: nothing done: {}", tenant.id, why));
        if (record && record->state == "refused") done.push_back(std::move(*record));
        continue;
      }
      pauses_.erase(tenant.id);
      event(fmt::format("{}: {} {}{}", tenant.id, record->execution_id, record->state, record->reason.empty() ? "" : ": " + record->reason));
      done.push_back(std::move(*record));
    }
    return done;
  }

  Result<std::vector<DeadLetters>> dead_letters(const std::optional<TenantId>& tenant, Progress& progress) override {
    CLAW_TRY(known(tenant));
    CLAW_TRY_ASSIGN(const Topology seen, topology());
    if (!seen.troubles.empty()) return seen.troubles.front().error;
    std::vector<DeadLetters> out;
    for (const TenantTopology& t : seen.tenants)
      for (const QueueView& view : t.queues) {
        if (view.dead_letter.empty() || (tenant && t.tenant.id != *tenant)) continue;
        const auto same = std::find_if(out.begin(), out.end(), [&](const DeadLetters& d) { return d.queue.id == QueueId{view.id.broker, view.dead_letter} && d.seen.tenant == t.tenant.id; });
        if (same != out.end()) {  // of another of the tenant's queues too: one look is enough
          DeadLetters shared = *same;
          shared.source = view.id;
          out.push_back(std::move(shared));
          continue;
        }
        CLAW_TRY_ASSIGN(std::optional<QueueView> queue, dead_letter_of(t.tenant.id, view));
        if (!queue) continue;
        CLAW_TRY_ASSIGN(Observation inside, observe(t.tenant.id, {*queue}, Then::nothing, progress));
        out.push_back({view.id, std::move(*queue), std::move(inside)});
      }
    return out;
  }

  Result<RedriveReport> redrive(const RedriveRequest& request, const std::string& actor, Progress& progress) override {
    const std::string what = "redrive " + escape(request.dead_letter.text(), 120);
    if (brake_on()) return make_error(Code::refused, what, "the brake is on");
    CLAW_TRY_ASSIGN(const auto route, route_of(request, what));
    const auto& [source, queue] = route;
    const TenantId tenant = source.tenant;
    if (unfinished_of(tenant)) return make_error(Code::refused, what, "an earlier execution of tenant " + tenant + " is not finished");

    CLAW_TRY_ASSIGN(Observation seen, observe(tenant, {queue}, Then::nothing, progress));
    CLAW_TRY(keep_signature(seen, request.signature, what));
    ExecutionRecord record = begin(tenant, progress);
    CLAW_TRY_ASSIGN(Broker * broker, lanes_.get(queue.id.broker));
    const auto& skill = skill::built_in().at("dlq-redrive");
    Limits limits;
    limits.confidence_bps = 0;  // a person names the signature
    limits.waves_bps = {10'000};
    Plan plan = remedy::make_plan({.observation = seen, .skill = "dlq-redrive", .protocol = skill.block_hash, .detector = detect::kDetectorVersion, .limits = limits,
                                   .quarantine_name = [&](const QueueId& id) { return broker->quarantine_name(id); }});
    if (plan.queues.empty()) return make_error(Code::unsupported, what, queue.look.no_removal.empty() ? "no message of that signature can be named" : queue.look.no_removal);
    CLAW_TRY_ASSIGN(const std::string hash, pin_for(plan, actor));
    CLAW_TRY_ASSIGN(const StoredPlan stored, take_plan(record, hash, actor));

    StageTimer timer("redrive", deps_.clock, progress);
    remedy::Surroundings around = surroundings(progress);
    CLAW_TRY_ASSIGN(remedy::Ledger ledger, remedy::Ledger::open(around, record.execution_id));
    CLAW_TRY(open_ledger(ledger, plan, actor, stored));
    const auto failures = [&](const std::set<std::uint64_t>& identities) { return count_in(queue, identities); };
    const auto outcome = remedy::redrive(plan, {.target = source.id, .target_type = source.type, .takes_from = source.takes_from, .canary = request.canary, .rate_per_s = request.rate_per_s, .wait = request.wait},
                                         failures, ledger, around);
    if (!outcome) {
      CLAW_TRY(cut_off(std::move(record), std::move(timer), outcome.error()));
      return outcome.error();
    }
    CLAW_TRY(close(record, plan, {.planned = plan.total(), .removed = outcome->taken, .failed = plan.total() - outcome->taken}, ledger));
    record.stages.push_back(timer.end(outcome->failed_again > 0 ? StageStatus::rolled_back : StageStatus::complete, redrive_words(*outcome)));
    record.reason = redrive_words(*outcome);
    CLAW_TRY(store_->save_execution(record));
    return RedriveReport{record.execution_id, source.id, seen.findings.front().signature, *outcome};
  }

  Store& store() override { return *store_; }
  Vault& vault() override { return *vault_; }
  AuditLog& audit() override { return *audit_; }
  const Config& config() const override { return config_; }

 private:
  Deadline deadline() const { return Deadline::in(deps_.clock, kCallTimeout); }

  Status known(const std::optional<TenantId>& tenant) const {
    const bool may_be_found = tenant && is_plain_name(*tenant) && !config_.patterns.empty();
    if (!tenant || config_.tenant(*tenant) != nullptr || may_be_found) return {};
    return make_error(Code::not_found, "tenant " + escape(*tenant, 64), "is not in " + config_.file);
  }

  // Named in the config, or found by a pattern in an earlier discovery.
  const Tenant* tenant_of(const TenantId& id) const {
    if (const Tenant* named = config_.tenant(id)) return named;
    const auto found = found_tenants_.find(id);
    return found == found_tenants_.end() ? nullptr : &found->second;
  }

  static std::map<BrokerName, std::vector<Claim>> claims_on(const Config& config) {
    std::map<BrokerName, std::vector<Claim>> claims;
    for (const BrokerConfig& broker : config.brokers) claims[broker.name];
    for (const Tenant& t : config.tenants)
      for (const QueueMatch& match : t.queues) claims[match.broker].push_back({t.id, match});
    for (const TenantPattern& pattern : config.patterns) claims[pattern.broker].push_back({"", {.broker = pattern.broker, .match = pattern.match}});
    return claims;
  }

  // Brokers that may hold a queue of the tenant, or of anybody.
  std::vector<BrokerName> brokers_of(const std::optional<TenantId>& tenant) const {
    std::vector<BrokerName> brokers;
    for (const auto& [broker, claims] : claims_)
      if (std::any_of(claims.begin(), claims.end(), [&](const Claim& claim) { return !tenant || claim.tenant.empty() || claim.tenant == *tenant; })) brokers.push_back(broker);
    return brokers;
  }

  // What these brokers hold of all tenants: a queue that a second one claims too is nobody's to touch.
  std::map<BrokerName, Lanes::Views> survey(const std::vector<BrokerName>& brokers, Millis patience) {
    std::map<BrokerName, Lanes::Survey> asked;
    for (const BrokerName& name : brokers)
      asked.emplace(name, [&claims = claims_.at(name)](Broker& broker, Deadline deadline) { return broker.discover(claims, deadline); });
    auto answers = lanes_.survey(std::move(asked), patience);
    for (const auto& [broker, views] : answers)
      if (views) take_in(*views);
    return answers;
  }

  Result<std::vector<QueueView>> discover(const BrokerName& name, std::span<const Claim> claims) {
    CLAW_TRY_ASSIGN(Broker * broker, lanes_.get(name));
    CLAW_TRY_ASSIGN(auto views, broker->discover(claims, deadline()));
    take_in(views);
    return views;
  }

  // Tenants that patterns find.
  void take_in(const std::vector<QueueView>& views) {
    for (const QueueView& view : views) {
      if (tenant_of(view.tenant) != nullptr) continue;
      if (auto tenant = config_.tenant_of_pattern(view.tenant, view.id)) found_tenants_.emplace(view.tenant, std::move(*tenant));
    }
  }

  Result<Topology> topology_within(Millis patience, const std::optional<TenantId>& only) {
    Topology out;
    std::map<TenantId, std::vector<QueueView>> by_tenant;
    for (auto& [broker, views] : survey(brokers_of(only), patience)) {
      if (!views) out.troubles.push_back({broker, std::move(views).error()});
      else
        for (QueueView& view : *views) by_tenant[view.tenant].push_back(std::move(view));
    }
    for (const Tenant& tenant : config_.tenants) out.tenants.push_back({tenant, std::move(by_tenant[tenant.id])});
    for (const auto& [id, tenant] : found_tenants_)
      if (const auto queues = by_tenant.find(id); queues != by_tenant.end()) out.tenants.push_back({tenant, std::move(queues->second)});
    std::sort(out.tenants.begin(), out.tenants.end(), [](const auto& a, const auto& b) { return a.tenant.id < b.tenant.id; });
    return out;
  }

  Result<Health> health_within(Millis patience, const std::optional<TenantId>& tenant) {
    CLAW_TRY(known(tenant));
    CLAW_TRY_ASSIGN(Topology seen, topology_within(patience, tenant));
    Health health;
    health.troubles = seen.troubles;
    std::vector<StoredSample> samples;
    for (const TenantTopology& t : seen.tenants) {
      for (const QueueView& view : t.queues) {
        CLAW_TRY(begin_history(view.id));
        const Sample now = sample_of(view, deps_.clock.now());
        if (const auto grain = history_.add(view.id, now)) samples.push_back({view.id, now, static_cast<int>(*grain)});
      }
      if (tenant && t.tenant.id != *tenant) continue;
      health.tenants.push_back(evaluate(t.tenant, t.queues, rates_of(t.queues), history_));
    }
    CLAW_TRY(store_->add_samples(samples));
    std::sort(health.tenants.begin(), health.tenants.end(), worse);
    if (deps_.evaluated && !tenant) deps_.evaluated(seen, health);
    return health;
  }

  struct Found {
    std::vector<QueueView> queues;
    std::vector<BrokerTrouble> troubles;  // brokers that could not be asked: what they hold is left out
  };

  // A broker that cannot be asked is no reason to leave a tenant's other queues alone; an error when none could be.
  Result<Found> find_queues(const ScanTarget& target, Millis patience) {
    std::vector<BrokerName> brokers = brokers_of(target.tenant);
    if (target.queue) std::erase_if(brokers, [&](const BrokerName& name) { return name != target.queue->broker; });
    Found found;
    for (auto& [broker, views] : survey(brokers, patience)) {
      if (!views) {
        found.troubles.push_back({broker, std::move(views).error()});
        continue;
      }
      for (QueueView& view : *views)
        if ((!target.queue || view.id == *target.queue) && (!target.tenant || view.tenant == *target.tenant)) found.queues.push_back(std::move(view));
    }
    if (found.queues.empty() && !found.troubles.empty()) return found.troubles.front().error;
    if (target.tenant && tenant_of(*target.tenant) == nullptr)
      return make_error(Code::not_found, "tenant " + *target.tenant, "is not in " + config_.file + " and no pattern finds a queue of it");
    if (target.queue && found.queues.empty())
      return make_error(Code::not_found, "queue " + escape(target.queue->text()), "no such queue, or no tenant of " + config_.file + " claims it");
    return found;
  }

  // As often as the tenant's skill wants to have seen the queues before it goes on: a burst that heals by itself heals meanwhile.
  Result<Found> look_again(const TenantId& tenant, Found found) {
    const auto& stages = skill::built_in().at(tenant_of(tenant)->skill).protocol.stages;
    const auto observe = std::find_if(stages.begin(), stages.end(), [](const skill::Stage& s) { return s.verb == skill::Verb::observe; });
    for (std::int64_t sample = 1; observe != stages.end() && sample < observe->samples; ++sample) {
      deps_.clock.sleep(observe->interval);
      CLAW_TRY_ASSIGN(found, find_queues({.tenant = tenant, .queue = {}}, kTickPatience));
    }
    return found;
  }

  Result<std::vector<QueueView>> queues_of(const ScanTarget& target, Progress& progress, Millis patience = kAskedPatience) {
    CLAW_TRY_ASSIGN(Found found, find_queues(target, patience));
    for (const BrokerTrouble& trouble : found.troubles) progress.note("left out: " + escape(trouble.error.message(), 300));
    return std::move(found.queues);
  }

  static std::string unasked_words(const std::vector<BrokerTrouble>& troubles) {
    std::string words;
    for (const BrokerTrouble& trouble : troubles) words += "; " + trouble.broker + " could not be asked and is left out: " + escape(trouble.error.detail, 200);
    return words;
  }

  // Compiled, and the label of its text.
  Result<std::pair<content::Agreed, std::string>> contract_of(const std::string& file) {
    constexpr std::uint64_t kLargestContract = 4u << 20;
    CLAW_TRY_ASSIGN(const std::string text, deps_.disk.read_all(file, kLargestContract));
    CLAW_TRY_ASSIGN(content::Agreed agreed, content::Agreed::parse(file, text));
    return std::pair(std::move(agreed), sha256_label(text));
  }

  enum class Then { nothing, removal };  // what follows the look

  // Of each broker by a thread of its own: none waits for a slower one.
  Result<std::vector<OpenLook>> look_at_all(const std::vector<QueueView>& queues, const content::Agreed& agreed, detect::Tally& tally,
                                            Progress& progress) {
    struct OfBroker {
      std::size_t first = 0, count = 0;  // of `queues`
      Broker* broker = nullptr;
      std::uint64_t done = 0, total = 0;
      std::vector<OpenLook> open;
      Status read;
    };
    std::vector<OfBroker> looks;
    for (std::size_t i = 0; i < queues.size(); ++i) {
      if (i == 0 || queues[i].id.broker != queues[i - 1].id.broker) {
        OfBroker& one = looks.emplace_back();
        one.first = i;
        CLAW_TRY_ASSIGN(one.broker, lanes_.get(queues[i].id.broker));
      }
      ++looks.back().count;
      looks.back().total += queues[i].entries;
    }
    std::mutex mutex;
    const auto look = [&](OfBroker& one) {
      const ScanProgress hooks{.advance = [&](std::uint64_t done, std::uint64_t total) {
                                 const std::lock_guard lock(mutex);
                                 one.done = done, one.total = total;
                                 std::uint64_t all_done = 0, all = 0;
                                 for (const OfBroker& other : looks) all_done += other.done, all += other.total;
                                 progress.advance(all_done, all);
                               },
                               .brake_on = [this] { return brake_on(); },
                               .note = [&](std::string_view text) {
                                 const std::lock_guard lock(mutex);
                                 progress.note(text);
                               }};
      one.read = scan_queues(*one.broker, std::span(queues).subspan(one.first, one.count), static_cast<std::uint32_t>(one.first), agreed, tally, one.open, deps_.clock, hooks);
    };
    {
      std::vector<std::jthread> others;
      for (std::size_t i = 1; i < looks.size(); ++i) others.emplace_back([&, i] { look(looks[i]); });
      if (!looks.empty()) look(looks.front());
    }
    std::vector<OpenLook> open;
    for (OfBroker& one : looks) std::move(one.open.begin(), one.open.end(), std::back_inserter(open));
    for (OfBroker& one : looks) {
      if (one.read.ok()) continue;
      open.clear();  // gives back what the looks hide, before the connection goes
      lanes_.drop(queues[one.first].id.broker);
      return std::move(one.read).error();
    }
    return open;
  }

  Result<Observation> observe(const TenantId& tenant, const std::vector<QueueView>& queues, Then then, Progress& progress) {
    const Tenant* owner = tenant_of(tenant);
    content::Agreed agreed;
    detect::ConcludeOptions options{.critical = owner != nullptr && owner->tier == Tier::critical, .now = deps_.clock.now()};
    if (owner != nullptr && !owner->contract.empty()) {
      auto compiled = contract_of(owner->contract);
      if (compiled) std::tie(agreed, options.contract) = std::move(*compiled);
      else progress.note("contract " + escape(owner->contract, 120) + " is not checked: " + escape(compiled.error().message(), 200));
    }
    detect::Tally tally(deps_.disk, config_.data_dir, kMostKept);
    CLAW_TRY_ASSIGN(std::vector<OpenLook> open, look_at_all(queues, agreed, tally, progress));
    CLAW_TRY_ASSIGN(options.labels, store_->labels(tenant));
    CLAW_TRY_ASSIGN(std::vector<detect::Memory> memories, memories_of(queues));
    options.memories = memories;
    CLAW_TRY_ASSIGN(Observation seen, detect::conclude(tally, tenant, queues, options));
    seen.kept = tally.take_kept(queues);
    for (OpenLook& look : open) {
      const std::vector<MessageKey> keys = then == Then::removal ? removable(seen, queues[look.queue].id) : std::vector<MessageKey>();
      CLAW_TRY(look.window->settle(keys, deadline()));
    }
    CLAW_TRY(remember(seen));
    CLAW_TRY(save_memories(queues, memories));
    return seen;
  }

  // Nothing where there is none or it cannot be read: then it is begun anew, for a memory only adds to what a look sees.
  Result<std::optional<detect::Memory>> memory_of(const QueueId& queue) {
    CLAW_TRY_ASSIGN(const std::string bytes, store_->memory(queue));
    if (bytes.empty()) return std::optional<detect::Memory>();
    Result<detect::Memory> known = detect::Memory::from_bytes(bytes);
    return known ? std::optional(std::move(*known)) : std::nullopt;
  }
  Result<std::vector<detect::Memory>> memories_of(const std::vector<QueueView>& queues) {
    std::vector<detect::Memory> memories;
    for (const QueueView& queue : queues) {
      CLAW_TRY_ASSIGN(std::optional<detect::Memory> known, memory_of(queue.id));
      if (known) {
        memories.push_back(std::move(*known));
        continue;
      }
      std::uint64_t salt = 0;
      deps_.random.fill(std::as_writable_bytes(std::span(&salt, 1)));
      memories.emplace_back(salt);
    }
    return memories;
  }
  Status save_memories(const std::vector<QueueView>& queues, const std::vector<detect::Memory>& memories) {
    std::vector<std::pair<QueueId, std::string>> bytes;
    for (std::size_t q = 0; q < queues.size(); ++q) bytes.emplace_back(queues[q].id, memories[q].to_bytes());
    return store_->save_memories(bytes);
  }
  // What we are about to take out will be gone, and that proves nothing.
  Status forget_planned(const Plan& plan) {
    std::vector<std::pair<QueueId, std::string>> changed;
    for (const PlannedQueue& queue : plan.queues) {
      CLAW_TRY_ASSIGN(std::string bytes, store_->memory(queue.queue));
      detect::Memory::compare_no_more(bytes);
      if (!bytes.empty()) changed.emplace_back(queue.queue, std::move(bytes));
    }
    return store_->save_memories(changed);
  }

  // The queue that `source` sends to what it gives up; nothing when it is gone.
  Result<std::optional<QueueView>> dead_letter_of(const TenantId& tenant, const QueueView& source) {
    if (source.dead_letter.find_first_of("*?[") != std::string::npos) return std::optional<QueueView>();  // it would be taken for a pattern
    std::vector<Claim> claims = claims_.at(source.id.broker);  // so that another tenant's is nobody's to touch
    claims.push_back({tenant, {.broker = source.id.broker, .match = source.dead_letter}});
    // A dead list that the config names is part of its queue, and a queue of its own only when asked for by itself.
    for (const auto& asked : {claims, {claims.back()}}) {
      CLAW_TRY_ASSIGN(const auto views, discover(source.id.broker, asked));
      for (const QueueView& view : views)
        if (view.id.name == source.dead_letter) return std::optional(view);
    }
    return std::optional<QueueView>();
  }

  // Where the request's messages came from, and their dead-letter queue.
  Result<std::pair<QueueView, QueueView>> route_of(const RedriveRequest& request, const std::string& what) {
    CLAW_TRY_ASSIGN(const Topology seen, topology());
    std::vector<QueueView> sources;
    for (const TenantTopology& t : seen.tenants)
      for (const QueueView& view : t.queues) {
        const bool points = view.id.broker == request.dead_letter.broker && view.dead_letter == request.dead_letter.name;
        if (points && (!request.target || view.id == *request.target)) sources.push_back(view);
      }
    if (sources.empty()) return make_error(Code::not_found, what, request.target ? "the target does not send to it, or no tenant claims it" : "no tenant's queue sends to it");
    if (sources.size() > 1) return make_error(Code::conflict, what, fmt::format("{} queues send to it, {} and {} among them; say which with --to", sources.size(), escape(sources[0].id.text(), 60), escape(sources[1].id.text(), 60)));
    CLAW_TRY_ASSIGN(const auto queue, dead_letter_of(sources.front().tenant, sources.front()));
    if (!queue) return make_error(Code::not_found, what, "there is no such queue");
    if (!queue->look.refusal.empty()) return make_error(Code::refused, what, queue->look.refusal);
    return std::pair(sources.front(), *queue);
  }

  // Leaves the finding that `wanted` begins the id of.
  static Status keep_signature(Observation& seen, const std::string& wanted, const std::string& what) {
    std::string ids;
    for (std::size_t i = 0; i < seen.findings.size(); ++i) {
      const std::string id = seen.findings[i].signature.id();
      if (wanted.empty() || !id.starts_with(wanted)) {
        ids += (ids.empty() ? "" : ", ") + id;
        continue;
      }
      seen.findings = {std::move(seen.findings[i])};
      seen.members = {std::move(seen.members[i])};
      return {};
    }
    return make_error(Code::not_found, what, "no signature " + escape(wanted, 40) + (ids.empty() ? "; it holds none that is known" : "; it holds " + ids));
  }

  // How many of these messages are in the queue.
  Result<std::uint64_t> count_in(const QueueView& queue, const std::set<std::uint64_t>& identities) {
    CLAW_TRY_ASSIGN(Broker * broker, lanes_.get(queue.id.broker));
    CLAW_TRY_ASSIGN(const auto window, broker->look(queue, deadline()));
    std::uint64_t count = 0;
    for (Batch page;;) {
      CLAW_TRY_ASSIGN(const bool more, window->next(page, deadline()));
      if (!more) break;
      for (const Batch::Entry& entry : page.entries()) count += identities.contains(remedy::identity_of(queue.type, page.fields(entry)));
    }
    CLAW_TRY(window->settle({}, deadline()));
    return count;
  }

  static std::string redrive_words(const remedy::RedriveOutcome& o) {
    if (o.failed_again == 0) return fmt::format("{} sent back; none was seen to fail again.", counted(o.sent, "message"));
    return fmt::format("Stopped: {} of {} sent back failed again. {} that were not sent are in the dead-letter queue as before.", o.failed_again, counted(o.sent, "message"), o.returned);
  }

  // The messages of one queue that a plan for them would name.
  std::vector<MessageKey> removable(const Observation& seen, const QueueId& queue) const {
    const Tenant* tenant = tenant_of(seen.tenant);
    std::vector<MessageKey> keys;
    for (std::size_t f = 0; tenant != nullptr && f < seen.findings.size(); ++f) {
      if (seen.findings[f].lower_bound * 10'000 < static_cast<double>(tenant->confidence_bps)) continue;
      for (const PoisonRef& ref : seen.members[f])
        if (seen.queues[ref.queue].id == queue) keys.push_back(ref.key);
    }
    return keys;
  }

  Status remember(const Observation& seen) {
    std::vector<StoredFinding> findings;
    for (const Finding& f : seen.findings)
      findings.push_back({.id = f.signature.id() + "-" + seen.tenant, .tenant = seen.tenant, .at = deps_.clock.now(), .json = finding_json(f).dump()});
    return store_->save_findings(findings);
  }

  Result<Proposal> propose(const Tenant& tenant, const std::optional<std::string>& skill, const std::string& actor, Observation seen) {
    const std::string chosen = skill.value_or(tenant.skill);
    const auto known = skill::built_in().find(chosen);
    if (known == skill::built_in().end()) return make_error(Code::not_found, "skill " + chosen, "is not one of the built-in skills; see: deployclaw skills list");
    const skill::Protocol& protocol = known->second.protocol;
    const Limits limits = skill::effective_limits(protocol, tenant.confidence_bps);
    std::map<QueueId, std::string> quarantines;
    for (const QueueView& queue : seen.queues) {
      CLAW_TRY_ASSIGN(Broker * broker, lanes_.get(queue.id.broker));
      quarantines[queue.id] = broker->quarantine_name(queue.id);
    }
    Proposal proposal;
    proposal.plan = remedy::make_plan({.observation = seen, .skill = chosen, .protocol = known->second.block_hash, .detector = detect::kDetectorVersion, .limits = limits,
                                       .quarantine_name = [&](const QueueId& id) { return quarantines.at(id); }});
    CLAW_TRY_ASSIGN(proposal.hash, pin_for(proposal.plan, actor));
    proposal.verdict = judge(proposal.plan, facts_of(proposal.plan, "user:", "", seen.outage));
    proposal.observation = std::move(seen);
    for (const PlannedQueue& queue : proposal.plan.queues) {
      CLAW_TRY_ASSIGN(Broker * broker, lanes_.get(queue.queue.broker));
      const std::uint64_t left = broker->out_of_reach(queue, proposal.plan.limits.block_budget);
      if (left > 0)
        proposal.notes.push_back(fmt::format("{}: about {} of {} lie too deep to be reached within {} a call and will be left alone; a later plan finds them again",
                                             escape(queue.queue.text()), left, queue.messages.size(), human(proposal.plan.limits.block_budget)));
    }
    return proposal;
  }

  Facts facts_of(const Plan& plan, const std::string& actor, const std::string& approver, const std::string& outage) {
    Facts facts;
    facts.brake_on = brake_on();
    facts.by_person = actor != "agent";
    std::vector<BrokerName> touched;
    for (const PlannedQueue& queue : plan.queues) touched.push_back(queue.queue.broker);
    facts.open_breaker = open_breaker(touched);
    facts.autonomy = tenant_of(plan.tenant) != nullptr ? tenant_of(plan.tenant)->autonomy : Autonomy::observe;
    facts.approver = approver;
    const Result<std::uint64_t> room = deps_.disk.free_bytes(config_.data_dir);
    facts.disk_free = room ? *room : 0;
    const Lately lately = executions_of(plan.tenant);
    facts.last_execution_end = lately.last;
    if (const auto known = skill::built_in().find(plan.skill); known != skill::built_in().end()) {
      facts.cooldown = cooldown_after(Millis(known->second.protocol.cooldown), lately.of_the_day);
      facts.approvals = known->second.protocol.approvals;
    }
    facts.other_execution = unfinished_of(plan.tenant);
    facts.now = deps_.clock.now();
    facts.outage = outage;
    return facts;
  }

  // The first of these brokers whose breaker is open, in words; empty when none is.
  std::string open_breaker(const std::vector<BrokerName>& brokers) const {
    for (const BreakerLine& line : lanes_.breakers())
      if (line.state == name(Breaker::State::open) && std::find(brokers.begin(), brokers.end(), line.broker) != brokers.end())
        return "the breaker of " + line.broker + " is " + line.words;
    return {};
  }

  bool unfinished_of(const TenantId& tenant) {
    const auto ids = store_->unfinished();
    if (!ids) return true;  // unreadable: as if there were one
    return std::any_of(ids->begin(), ids->end(), [&](const std::string& id) {
      const auto record = store_->execution(id);
      return !record || record->tenant == tenant;
    });
  }

  bool brake_on() { return claw::brake_on(deps_.disk, config_.data_dir); }

  struct Lately {
    std::optional<WallTime> last;  // execution that removed something
    std::size_t of_the_day = 0;
  };
  Lately executions_of(const TenantId& tenant) {
    Lately lately;
    const auto records = store_->executions(100);
    if (!records) return {.last = deps_.clock.now(), .of_the_day = 1};  // unreadable history: as if it were just now
    for (const ExecutionRecord& r : *records) {
      if (r.tenant != tenant || r.record.messages_removed == 0) continue;
      if (!lately.last) lately.last = r.timestamp;
      if (deps_.clock.now() - r.timestamp < std::chrono::hours(24)) ++lately.of_the_day;
    }
    return lately;
  }

  // A plan for a person to look at: one at a time for a tenant, none while it cools down, none without messages.
  void offer(const TenantId& tenant, const std::function<void(std::string_view)>& event, Progress& progress) {
    WallTime& until = offered_until_[tenant];
    if (deps_.clock.now() < until || cooling_down(tenant) || brake_on()) return;
    until = deps_.clock.now() + kLookAgain;
    const Result<std::optional<Proposal>> proposal = worth_proposing(*tenant_of(tenant), progress);
    if (!proposal) event(fmt::format("{}: {}", tenant, escape(proposal.error().message())));
    if (!proposal || !*proposal) return;
    until = (*proposal)->plan.expires;
    event(fmt::format("{}: proposes plan {}: {} messages", tenant, (*proposal)->hash.substr(7, 12), grouped((*proposal)->plan.total())));
  }

  Result<std::optional<Proposal>> worth_proposing(const Tenant& tenant, Progress& progress) {
    CLAW_TRY_ASSIGN(const auto queues, queues_of({.tenant = tenant.id, .queue = {}}, progress, kTickPatience));
    CLAW_TRY_ASSIGN(Observation seen, observe(tenant.id, queues, Then::nothing, progress));
    const auto sure = [&](const Finding& f) { return f.lower_bound * 10'000 >= static_cast<double>(tenant.confidence_bps); };
    if (!seen.outage.empty() || std::none_of(seen.findings.begin(), seen.findings.end(), sure)) return std::optional<Proposal>();
    CLAW_TRY_ASSIGN(Proposal proposal, propose(tenant, std::nullopt, "agent", std::move(seen)));
    return std::optional(std::move(proposal));
  }

  // In the log each state once, when it begins; outside what has lasted, once when it opens and once when it closes.
  Status tell(const Health& health, const std::function<void(std::string_view)>& event) {
    std::map<std::string, std::string> said;
    std::map<BrokerName, std::string> unreachable;
    std::set<TenantId> unknown;
    for (const BrokerTrouble& trouble : health.troubles) {
      said[trouble.broker] = std::string(name(trouble.error.code));
      if (said_[trouble.broker] != said[trouble.broker]) event(fmt::format("{}: {}", trouble.broker, escape(trouble.error.message())));
      if (trouble.error.code != Code::refused) unreachable[trouble.broker] = escape(trouble.error.detail, 300);  // the brake is somebody's wish
      for (const Claim& claim : claims_.at(trouble.broker))
        if (!claim.tenant.empty()) unknown.insert(claim.tenant);
    }
    for (const TenantHealth& tenant : health.tenants) {
      const auto say = [&](const std::string& about, std::string state, const std::string& line) {
        if (const auto before = said_.find(about); before == said_.end() || before->second != state) event(tenant.id + ": " + line);
        said[about] = std::move(state);
      };
      if (!tenant.breaches.empty()) {
        const Breach& worst = tenant.breaches.front();
        say("breach " + tenant.id, worst.what + (tenant.heals_in ? " heals" : ""),
            fmt::format("breach of {}: {} against {} (over by {}%){}", worst.what, worst.actual, worst.limit, worst.over_bps / 100, tenant.heals_in ? "; heals by itself in " + human(*tenant.heals_in) : ""));
      } else if (const auto before = said_.find("breach " + tenant.id); before != said_.end()) {
        if (unknown.contains(tenant.id)) said.insert(*before);  // not seen is not gone
        else event(tenant.id + ": within its SLA again");
      }
      for (const Symptom& s : tenant.symptoms) say(fmt::format("symptom {} {}", tenant.id, s.queue.text()), std::string(name(s.kind)), fmt::format("{}: {}: {}", escape(s.queue.text(), 120), name(s.kind), s.words));
    }
    for (const auto& [about, state] : said_)
      if (config_.broker(about) != nullptr && !said.contains(about)) event(about + ": answers again");
    said_ = std::move(said);

    const Alerts::Change change = alerts_.update(health.tenants, unreachable, unknown, deps_.clock.now());
    if (change.opened.empty() && change.closed.empty()) return {};
    std::vector<std::pair<std::string, std::string>> opened;
    std::vector<std::string> closed;
    std::vector<Notice> notices;
    for (const Alert& alert : change.opened) {
      opened.emplace_back(alert.id, notify::alert_text(alert));
      notify_all(alert, notify::Event::open, notices);
    }
    for (const Alert& alert : change.closed) {
      closed.push_back(alert.id);
      notify_all(alert, notify::Event::close, notices);
    }
    return store_->save_alerts(opened, closed, notices);
  }

  void notify_all(const Alert& alert, notify::Event what, std::vector<Notice>& notices) const {
    const WallTime now = deps_.clock.now();
    const std::string body = notify::to_text({.agent = config_.agent_id, .event = what, .alert = alert, .at = now});
    for (const NotifyRoute& route : config_.routes)
      if (told_by(route.name, alert.tenant)) notices.push_back({.number = 0, .route = route.name, .body = body, .attempts = 0, .next = now, .at = now});
  }

  Status restore_alerts() {
    CLAW_TRY_ASSIGN(const auto open, store_->alerts());
    for (const auto& [id, text] : open) {
      CLAW_TRY_ASSIGN(const Alert alert, notify::alert_from_text(text));
      alerts_.restore(alert);
    }
    return {};
  }

  bool told_by(const std::string& route, const TenantId& tenant) const {
    const Tenant* of = tenant.empty() ? nullptr : tenant_of(tenant);
    return of == nullptr || !of->notify || std::find(of->notify->begin(), of->notify->end(), route) != of->notify->end();
  }

  bool cooling_down(const TenantId& tenant) {
    const Lately lately = executions_of(tenant);
    const auto known = skill::built_in().find(tenant_of(tenant)->skill);
    const Millis of_skill = known == skill::built_in().end() ? kCooldown : Millis(known->second.protocol.cooldown);
    return lately.last && deps_.clock.now() - *lately.last < cooldown_after(of_skill, lately.of_the_day);
  }

  // What a plan was made under may have changed since: the skill's text, whose queues they are.
  Verdict judge_applying(const Plan& plan, const Facts& facts) const {
    const auto known = skill::built_in().find(plan.skill);
    if (known == skill::built_in().end() || known->second.block_hash != plan.protocol)
      return {Refusal::stale_skill, "the plan was made under another text of the skill " + plan.skill + "; make a new one"};
    for (const PlannedQueue& queue : plan.queues) {
      const auto on_broker = claims_.find(queue.queue.broker);
      const Claims claims(queue.queue.broker, on_broker == claims_.end() ? std::span<const Claim>() : on_broker->second);
      const Result<std::optional<Owner>> owner = claims.owner_of(queue.queue.name);
      if (!owner || !*owner || (*owner)->tenant != plan.tenant)
        return {Refusal::foreign_plan, "the config gives queue " + escape(queue.queue.text(), 120) + " to no tenant or to another one by now; make a new plan"};
    }
    return judge(plan, facts);
  }

  Result<Plan> stored_plan(const std::string& hash) {
    CLAW_TRY_ASSIGN(const StoredPlan stored, store_->plan(hash));
    return plan_from_text(stored.text, "plan " + hash.substr(0, 15));
  }

  ExecutionRecord begin(const TenantId& tenant, Progress& progress) {
    // The id stands beside each message in quarantine, where other agents (or this one before it lost its data directory) left
    // theirs: it must never have been there.
    constexpr std::uint64_t kLeast = 100'000'000'000, kMost = 999'999'999'999;
    ExecutionRecord record;
    record.execution_id = fmt::format("queue_remediation_{}", kLeast + deps_.random.below(kMost - kLeast + 1));
    record.timestamp = deps_.clock.now();
    record.tenant = tenant;
    record.state = "running";
    progress.execution(record.execution_id, tenant);
    return record;
  }

  // Kept for the person who asked; the agent looks often.
  Result<ExecutionRecord> nothing_to_do(ExecutionRecord record, const Verdict& verdict, const std::string& actor) {
    record.stages.back().status = StageStatus::complete;
    record.state = "completed";
    record.reason = verdict.reason;
    if (actor != "agent") CLAW_TRY(store_->save_execution(record));
    return record;
  }

  Status record_decision(const std::string& plan, const char* decision, const TenantId& tenant, const std::string& actor, const std::string& reason) {
    const json record = {{"tenant", tenant}, {"plan", plan}, {"actor", escape(actor)}, {"decision", decision}, {"reason", escape(reason)}};
    CLAW_TRY(record_immutable("decision", record.dump()));
    return {};
  }

  // What somebody was not allowed to decide is recorded as what was decided is.
  Status refuse_decision(const std::string& plan, const TenantId& tenant, const std::string& actor, const Verdict& verdict) {
    const json fields = {{"tenant", tenant}, {"plan", plan}, {"actor", escape(actor)}, {"refusal", std::string(name(verdict.refusal))}, {"reason", escape(verdict.reason)}};
    CLAW_TRY(record_immutable("refusal", fields.dump()));
    return make_error(Code::refused, "approve", std::string(name(verdict.refusal)) + ": " + verdict.reason);
  }

  Result<ExecutionRecord> refuse(ExecutionRecord record, const std::string& stage, const Verdict& verdict, const std::string& actor, Progress& progress) {
    StageTimer timer(stage, deps_.clock, progress);
    record.stages.push_back(timer.end(StageStatus::refused, "Nothing was removed: " + verdict.reason));
    record.state = "refused";
    record.reason = std::string(name(verdict.refusal)) + ": " + verdict.reason;
    const json fields = {{"tenant", record.tenant}, {"actor", escape(actor)}, {"refusal", std::string(name(verdict.refusal))}, {"reason", escape(verdict.reason)}};
    CLAW_TRY(record_immutable("refusal", fields.dump()));
    CLAW_TRY(store_->save_execution(record));
    return record;
  }

  // Gives the plan its time and its requester, and stores it; its hash.
  Result<std::string> pin_for(Plan& plan, const std::string& actor) {
    plan.created = deps_.clock.now();
    plan.expires = plan.created + kPlanLife;
    plan.requester = actor;
    PlanText pinned = pin(plan);
    CLAW_TRY(store_->save_plan(pinned.hash, pinned.text));
    return std::move(pinned.hash);
  }

  // The execution is this plan's, and nobody else's; the plan as it was before.
  Result<StoredPlan> take_plan(ExecutionRecord& record, const std::string& hash, const std::string& actor) {
    record.plan_hash = hash;
    CLAW_TRY_ASSIGN(StoredPlan stored, store_->plan(hash));
    record.record.rollback_key = rollback_key_of(record.execution_id);
    // First the execution: one that is cut off here is found and closed at the next start, a plan that is applied by nobody is not.
    CLAW_TRY(store_->save_execution(record));
    if (const Status taken = store_->move_plan(hash, stored.state == "approved" ? "approved" : "proposed", "applied", actor, ""); !taken) {
      record.state = "failed";
      record.reason = taken.error().message();
      CLAW_TRY(store_->save_execution(record));
      return taken.error();
    }
    return stored;
  }

  // The plan is in the store under `hash`.
  Result<ExecutionRecord> carry_out(ExecutionRecord record, const Plan& plan, const std::string& hash, const KeptContent& kept, const std::string& actor,
                                    Progress& progress) {
    CLAW_TRY_ASSIGN(const StoredPlan stored, take_plan(record, hash, actor));
    const skill::Protocol& protocol = skill::built_in().at(plan.skill).protocol;
    const auto before = before_of(plan);

    StageTimer timer("drain_execution", deps_.clock, progress);
    remedy::Surroundings around = surroundings(progress);
    CLAW_TRY_ASSIGN(remedy::Ledger ledger, remedy::Ledger::open(around, record.execution_id));
    around.kept = &kept;
    around.check = checks_of(plan, protocol, before, progress);
    CLAW_TRY(open_ledger(ledger, plan, actor, stored));
    Result<remedy::Totals> totals = remedy::drain(plan, ledger, around);
    if (!totals) return cut_off(std::move(record), std::move(timer), totals.error());
    count(record, plan, *totals);
    const bool whole = totals->stopped.empty();
    record.stages.push_back(timer.end(whole ? StageStatus::complete : StageStatus::failed, drain_words(*totals, plan)));
    if (!whole) return put_back(std::move(record), plan, totals->stopped, progress);

    StageTimer recovery_timer("consumer_recovery", deps_.clock, progress);
    const Result<Watched> seen = watch_recovery(plan, protocol, before, progress);
    record.stages.push_back(seen ? recovery_timer.end(StageStatus::complete, seen->recovery.words) : recovery_timer.end(StageStatus::failed, seen.error().message()));
    if (seen) {
      const skill::Stage& verify = verify_after(protocol, 0, 1);
      const remedy::Check check = check_of(ask_guards(verify, *seen));
      CLAW_TRY(ledger.record("guard", json{{"guard", "skill"}, {"stage", verify.id}, {"seen", check.words}, {"verdict", check.passed ? "pass" : "fail"}}.dump()));
      if (!check.passed) {
        record.stages.back().status = StageStatus::failed;
        CLAW_TRY(ledger.journal(kNoRecovery, json{{"words", check.words}}.dump()));
        return put_back(std::move(record), plan, "after the last wave: " + check.words, progress);
      }
    }
    CLAW_TRY(close(record, plan, *totals, ledger));
    if (seen) CLAW_TRY(expect_recovery(record, *seen));
    return record;
  }

  // Until the consumers work and the skill's last guards hold, or its time is up. Where nobody is seen to ask for work there is
  // little to wait for.
  Result<Watched> watch_recovery(const Plan& plan, const skill::Protocol& protocol, const Befores& before, Progress& progress) {
    constexpr Millis kShortLook{2'000}, kUnseen{5'000};
    const skill::Stage& verify = verify_after(protocol, 0, 1);
    const MonoTime start = deps_.clock.mono();
    const auto enough = [&](const Watched& seen) {
      const auto answers = ask_guards(verify, seen);
      if (std::any_of(answers.begin(), answers.end(), [](const GuardAnswer& a) { return a.holds == Holds::no; })) return false;
      return seen.recovery.recovered || deps_.clock.mono() - start >= (seen.unseen() ? kUnseen : kShortLook);
    };
    return watch_consumers(watch_of(plan.tenant, before, progress), std::max(kShortLook, Millis(verify.time)), enough);
  }

  // What a removal did no good to is put back, by the skill's own word, and somebody is told.
  Result<ExecutionRecord> put_back(ExecutionRecord record, const Plan& plan, const std::string& why, Progress& progress) {
    CLAW_TRY(store_->save_execution(record));
    const auto known = skill::built_in().find(plan.skill);
    const bool exact = known == skill::built_in().end() || known->second.protocol.exact_order;
    progress.note(record.execution_id + ": putting back what was removed: " + why);
    const auto report = rollback(record.record.rollback_key, "agent", progress, exact ? RestoreOrder::exact : RestoreOrder::tail);
    CLAW_TRY_ASSIGN(record, store_->execution(record.execution_id));
    record.reason = why + (report ? fmt::format("; put back: {}", report->outcome.restored) : "; it could not all be put back yet: " + escape(report.error().message()));
    CLAW_TRY(store_->save_execution(record));
    CLAW_TRY(escalate(record));
    return record;
  }

  // Told at once and never closed by us: a person has to look.
  Status escalate(const ExecutionRecord& record) {
    const Alert alert{.id = "execution:" + record.execution_id, .tenant = record.tenant, .severity = "critical",
                      .summary = record.tenant + ": a removal was taken back, the queue is as it was", .details = {record.execution_id + ": " + record.reason}, .since = deps_.clock.now()};
    std::vector<Notice> notices;
    notify_all(alert, notify::Event::open, notices);
    return store_->save_alerts({}, {}, notices);
  }

  Status expect_recovery(const ExecutionRecord& record, const Watched& seen) {
    if (!seen.recovery.full_recovery || seen.backlog == 0) return {};
    Expectation expected{.execution_id = record.execution_id, .since = deps_.clock.now(), .expected = *seen.recovery.full_recovery, .backlog = seen.backlog, .looked = deps_.clock.now()};
    CLAW_TRY(store_->journal(record.execution_id, kExpected, expectation_text(expected)));
    expectations_.insert_or_assign(record.tenant, std::move(expected));
    return {};
  }

  // An agent that was not there when a backlog ended cannot say when that was.
  Status restore_expectations() {
    CLAW_TRY_ASSIGN(const auto records, store_->executions(20));
    for (const ExecutionRecord& record : records) {
      CLAW_TRY_ASSIGN(const auto journal, store_->journal_of(record.execution_id));
      std::optional<Expectation> open;
      for (const JournalEntry& entry : journal) {
        if (entry.step == kExpected) {
          CLAW_TRY_ASSIGN(open, expectation_from_text(entry.data, record.execution_id));
        }
        if (entry.step == kReached) open.reset();
      }
      if (open && record.state == "completed") expectations_.emplace(record.tenant, std::move(*open));  // the newest
    }
    return {};
  }

  // Was the backlog gone when we said it would be? The error of the prediction is recorded and shown with the execution.
  Status check_expectations(const Health& health, const std::function<void(std::string_view)>& event) {
    constexpr Millis kGap = std::chrono::minutes(2);
    const WallTime now = deps_.clock.now();
    for (const TenantHealth& tenant : health.tenants) {
      const auto found = expectations_.find(tenant.id);
      if (found == expectations_.end()) continue;
      Expectation& expected = found->second;
      const bool missed = now - expected.looked > kGap || now < expected.looked;
      expected.looked = now;
      if (!missed && !is_gone(expected, tenant.backlog)) continue;
      const Expectation done = expected;
      expectations_.erase(found);
      if (missed) {
        CLAW_TRY(store_->journal(done.execution_id, kReached, "{}"));
        continue;
      }
      const Millis took = now - done.since;
      CLAW_TRY(store_->journal(done.execution_id, kReached, json{{"took_ms", took.count()}}.dump()));
      CLAW_TRY(record_immutable("recovery", json{{"of", done.execution_id}, {"expected_ms", done.expected.count()}, {"took_ms", took.count()}, {"backlog", done.backlog}}.dump()));
      CLAW_TRY_ASSIGN(ExecutionRecord record, store_->execution(done.execution_id));
      for (StageRecord& stage : record.stages)
        if (stage.stage == "consumer_recovery") stage.output += " " + expectation_words(done, took);
      CLAW_TRY(store_->save_execution(record));
      event(fmt::format("{}: {}: {}", tenant.id, done.execution_id, expectation_words(done, took)));
    }
    return {};
  }

  Status open_ledger(remedy::Ledger& ledger, const Plan& plan, const std::string& actor, const StoredPlan& stored) {
    if (!ledger.has("open")) {
      CLAW_TRY(forget_planned(plan));
      CLAW_TRY(ledger.record("open", json{{"actor", escape(actor)}, {"tenant", plan.tenant}, {"skill", plan.skill}, {"protocol", plan.protocol}, {"detector", plan.detector}}.dump()));
      CLAW_TRY(ledger.record("plan", json{{"plan_hash", stored.hash}, {"messages", plan.total()}, {"queues", plan.queues.size()}, {"messages_seen", plan.messages_seen}}.dump()));
      if (stored.state == "approved")
        CLAW_TRY(ledger.record("approval", json{{"plan_hash", stored.hash}, {"approver", escape(stored.approver)}, {"reason", escape(stored.reason)}}.dump()));
      CLAW_TRY(ledger.journal("open", "{}"));
    }
    return {};
  }

  static void count(ExecutionRecord& record, const Plan& plan, const remedy::Totals& totals) {
    record.record.messages_removed = totals.removed;
    record.record.messages_preserved = plan.messages_seen - totals.removed - totals.gone;
    record.record.messages_left = totals.failed;
  }

  Status close(ExecutionRecord& record, const Plan& plan, const remedy::Totals& totals, remedy::Ledger& ledger) {
    count(record, plan, totals);
    const json fields = {{"plan_hash", record.plan_hash}, {"planned", totals.planned}, {"removed", totals.removed}, {"gone", totals.gone},
                         {"failed", totals.failed}, {"too_deep", totals.too_deep}, {"messages_preserved", record.record.messages_preserved}, {"rollback_key", record.record.rollback_key}};
    CLAW_TRY(ledger.record("close", fields.dump()));
    record.record.compliance_fingerprint = ledger.last_fingerprint();
    record.state = "completed";
    CLAW_TRY(ledger.journal("close", "{}"));
    CLAW_TRY(audit_->checkpoint());
    return store_->save_execution(record);
  }

  // The execution stays unfinished in the store: the next start of the agent, or a rollback, settles it.
  Result<ExecutionRecord> cut_off(ExecutionRecord record, StageTimer timer, const Error& error) {
    if (error.code == Code::refused) braked_.insert(record.execution_id);
    record.stages.push_back(timer.end(StageStatus::failed, error.message()));
    record.state = "held";
    record.reason = error.message();
    for (const BrokerConfig& broker : config_.brokers) lanes_.drop(broker.name);
    CLAW_TRY(store_->save_execution(record));
    return record;
  }

  Status settle_unfinished(Progress& progress) {
    CLAW_TRY_ASSIGN(const std::vector<std::string> ids, store_->unfinished());
    for (const std::string& id : ids) {
      const Status settled = settle(id, progress);
      if (!settled) CLAW_TRY(hold(id, settled.error(), progress));
    }
    return {};
  }

  // What was held because a broker went away goes on when it is back; each time in vain doubles the pause. What the brake stopped
  // somebody stopped: it waits for a rollback or a new start of the agent.
  Status try_held_again(const std::function<void(std::string_view)>& event, Progress& progress) {
    if (brake_on()) return {};
    CLAW_TRY_ASSIGN(const std::vector<std::string> ids, store_->unfinished());
    std::erase_if(held_, [&](const auto& h) { return std::find(ids.begin(), ids.end(), h.first) == ids.end(); });
    for (const std::string& id : ids) {
      if (braked_.contains(id)) continue;
      Pause& pause = held_[id];
      if (pause.length == Millis(0)) {  // seen for the first time
        pause = {.until = deps_.clock.mono() + kHeldPause, .length = kHeldPause};
        continue;
      }
      if (deps_.clock.mono() < pause.until) continue;
      pause.length = std::min(pause.length * 2, kLongestHeldPause);
      pause.until = deps_.clock.mono() + pause.length;
      const Status settled = settle(id, progress);
      if (!settled) CLAW_TRY(hold(id, settled.error(), progress));
      CLAW_TRY_ASSIGN(const ExecutionRecord record, store_->execution(id));
      event(fmt::format("{}: {} {}{}", record.tenant, id, record.state, record.reason.empty() ? "" : ": " + escape(record.reason)));
    }
    return {};
  }

  // What cannot be settled now stops neither the other executions nor the agent: the next start tries again.
  Status hold(const std::string& id, const Error& error, Progress& progress) {
    if (error.code == Code::refused) braked_.insert(id);
    CLAW_TRY_ASSIGN(ExecutionRecord record, store_->execution(id));
    record.state = "held";
    record.reason = error.message();
    for (const BrokerConfig& broker : config_.brokers) lanes_.drop(broker.name);
    progress.note(id + ": held: " + escape(record.reason));
    return store_->save_execution(record);
  }

  Status settle(const std::string& id, Progress& progress) {
    CLAW_TRY_ASSIGN(ExecutionRecord record, store_->execution(id));
    CLAW_TRY_ASSIGN(const Plan plan, stored_plan(record.plan_hash));
    remedy::Surroundings around = surroundings(progress);
    CLAW_TRY_ASSIGN(remedy::Ledger ledger, remedy::Ledger::open(around, id));
    if (ledger.has("rollback-open")) {
      const bool tail = json::parse(ledger.data("rollback-open")).value("order", "original") == name(RestoreOrder::tail);
      const auto done = rollback(rollback_key_of(id), "agent", progress, tail ? RestoreOrder::tail : RestoreOrder::exact);
      progress.note(id + (done ? ": finished the rollback that was cut off" : ": held: " + escape(done.error().message())));
      return {};
    }
    if (!ledger.has("intent-0")) {
      record.state = "failed";
      record.reason = "cut off before anything was removed";
      progress.note(id + ": " + record.reason);
      return store_->save_execution(record);
    }
    StageTimer timer("drain_execution", deps_.clock, progress);
    const Befores before = unknown_before(plan);  // how they stood then is not known any more
    if (const auto known = skill::built_in().find(plan.skill); known != skill::built_in().end() && known->second.protocol.removes())
      around.check = checks_of(plan, known->second.protocol, before, progress);
    CLAW_TRY_ASSIGN(const remedy::Totals totals, remedy::drain(plan, ledger, around));
    if (!totals.stopped.empty() || ledger.has(kNoRecovery)) {
      count(record, plan, totals);
      CLAW_TRY_ASSIGN(record, put_back(std::move(record), plan, !totals.stopped.empty() ? totals.stopped : "the consumers did not recover", progress));
      progress.note(id + ": " + record.state + ": " + record.reason);
      return {};
    }
    CLAW_TRY(close(record, plan, totals, ledger));
    record.reason = "finished after it was cut off";
    std::erase_if(record.stages, [](const StageRecord& s) { return s.stage == "drain_execution"; });
    record.stages.push_back(timer.end(StageStatus::complete, drain_words(totals, plan)));
    progress.note(id + ": " + record.reason);
    return store_->save_execution(record);
  }

  remedy::Surroundings surroundings(Progress& progress) {
    return {.store = *store_,
            .vault = *vault_,
            .audit = *audit_,
            .clock = deps_.clock,
            .broker = [this](const BrokerName& name) { return lanes_.get(name); },
            .audit_entries = [this] { return read_entries(deps_.disk, config_.data_dir + "/audit", 0, UINT64_MAX); },
            .brake_on = [this] { return brake_on(); },
            .after_journal = deps_.after_journal,
            .progress = [&progress](std::uint64_t done, std::uint64_t total) { progress.advance(done, total); },
            .call_timeout = kCallTimeout};
  }

  // What the store knows of a queue, once.
  Status begin_history(const QueueId& queue) {
    if (history_.knows(queue)) return {};
    CLAW_TRY_ASSIGN(std::vector<Sample> earlier, store_->samples(queue, deps_.clock.now() - kBaselineWindow));
    history_.begin(queue, std::move(earlier));
    return {};
  }

  Rates rates_of(const std::vector<QueueView>& queues) {
    Rates rates;
    for (const QueueView& view : queues) {
      const std::span<const Sample> samples = history_.of(view.id, deps_.clock.now() - kHistoryWindow);
      if (samples.size() < 2 || view.groups.empty()) continue;
      const double seconds = std::chrono::duration<double>(samples.back().at - samples.front().at).count();
      if (seconds < 1) continue;
      const double acks = (static_cast<double>(samples.back().acknowledged) - static_cast<double>(samples.front().acknowledged)) / seconds;
      const double grew = (static_cast<double>(samples.back().backlog) - static_cast<double>(samples.front().backlog)) / seconds;
      rates.acks_per_s[view.id] = std::max(0.0, acks);
      rates.arrivals_per_s[view.id] = std::max(0.0, grew + acks);
    }
    return rates;
  }

  // What the tenant's consumers usually acknowledge a second; where history is too short, what its SLA expects at least.
  Result<std::optional<double>> baseline_of(const Tenant& tenant, const std::vector<QueueView>& queues) {
    double sum = 0;
    for (const QueueView& view : queues) {
      CLAW_TRY_ASSIGN(const std::vector<Sample> samples, store_->samples(view.id, deps_.clock.now() - kBaselineWindow));
      std::vector<RateSample> history;
      for (const Sample& s : samples) history.push_back({MonoTime(s.at.time_since_epoch()), s.backlog, s.acknowledged});
      sum += usual_rate(history).value_or(0);
    }
    if (sum > 0) return std::optional(sum);
    return tenant.sla.min_throughput;
  }

  Watch watch_of(const TenantId& tenant, Befores planned, Progress& progress) {
    return {.clock = deps_.clock,
            .measure = [this, tenant]() -> Result<std::vector<QueueView>> {
              CLAW_TRY_ASSIGN(Found found, find_queues({.tenant = tenant, .queue = {}}, kTickPatience));
              return std::move(found.queues);
            },
            .baseline = [this, owner = *tenant_of(tenant)](const std::vector<QueueView>& views) { return baseline_of(owner, views); },
            .planned = std::move(planned),
            .progress = progress};
  }

  static Befores unknown_before(const Plan& plan) {
    Befores before;
    for (const PlannedQueue& queue : plan.queues) before[queue.queue];
    return before;
  }

  // How the plan's queues stand now; where that cannot be told, no guard can fail for it.
  Befores before_of(const Plan& plan) {
    constexpr Millis kLately = std::chrono::minutes(2);
    Befores before = unknown_before(plan);
    const auto found = find_queues({.tenant = plan.tenant, .queue = {}}, kTickPatience);
    if (!found) return before;
    for (const QueueView& view : found->queues)
      if (const auto planned = before.find(view.id); planned != before.end())
        planned->second = Before{sample_of(view, deps_.clock.now()), redelivery_rate(history_.of(view.id, deps_.clock.now() - kLately))};
    return before;
  }

  // The skill's pause and its guards after a wave that is not the last.
  std::function<Result<remedy::Check>(std::size_t)> checks_of(const Plan& plan, const skill::Protocol& protocol, const Befores& before, Progress& progress) {
    return [this, &plan, &protocol, &before, &progress, waves = remedy::waves_of(plan).size(), began = deps_.clock.mono()](std::size_t w) -> Result<remedy::Check> {
      if (deps_.clock.mono() - began > protocol.max_runtime)
        return remedy::Check{false, "it took longer than the skill's " + human(Millis(protocol.max_runtime))};
      const skill::Stage& verify = verify_after(protocol, w, waves);
      if (w + 1 == waves || (verify.time.count() == 0 && verify.guards.size() == 1)) return remedy::Check{};
      Watch watch = watch_of(plan.tenant, before, progress);
      watch.go_on = [around = surroundings(progress)]() mutable { return remedy::check_brake(around); };
      CLAW_TRY_ASSIGN(const Watched seen, watch_consumers(watch, Millis(verify.time), [](const Watched&) { return false; }));
      return check_of(ask_guards(verify, seen));
    };
  }

  // Queues whose messages nobody saw: "nothing to do" does not speak of them.
  static std::string unseen_words(const std::vector<QueueView>& queues) {
    std::string words;
    for (const QueueView& queue : queues)
      if (queue.entries > 0 && !queue.look.refusal.empty()) words += "; " + escape(queue.id.text(), 120) + " was not looked at: " + queue.look.refusal;
    return words;
  }

  static std::string detection_words(const Observation& seen, const Tenant& tenant) {
    std::uint64_t poison = 0;
    std::string signatures;
    for (const Finding& f : seen.findings) {
      if (f.lower_bound * 10'000 < static_cast<double>(tenant.confidence_bps)) continue;
      poison += f.count;
      signatures += (signatures.empty() ? "" : "; ") + f.signature.text;
    }
    if (!seen.outage.empty()) return "No poison called: " + seen.outage;
    if (poison == 0) return fmt::format("No poison among {} messages.", seen.messages_seen);
    return fmt::format("Identified {} poison messages ({}% of queue). Signature: {}.", poison, percent(poison, seen.messages_seen), signatures);
  }

  static std::string threshold_words(const TenantHealth& health, const Plan& plan, const Verdict& verdict) {
    std::string words = "No SLA threshold is exceeded.";
    if (!health.breaches.empty()) {
      const Breach& worst = health.breaches.front();
      const auto backlog = std::find_if(health.breaches.begin(), health.breaches.end(), [](const Breach& b) { return b.what == "backlog"; });
      words = backlog != health.breaches.end() ? fmt::format("Backlog exceeds SLA threshold by {}%.", backlog->over_bps / 100)
                                               : fmt::format("{} {} exceeds SLA threshold {} by {}%.", worst.what, worst.actual, worst.limit, worst.over_bps / 100);
    }
    if (!verdict.allowed()) return words + " Refused: " + verdict.reason + ".";
    words += " Remediation policy: " + policy_words(plan.skill) + " activated.";
    return words + waiting_words(plan);
  }

  static std::string waiting_words(const Plan& plan) {
    if (plan.waiting() == 0) return {};
    return fmt::format(" {} more poison messages wait for the next execution (at most {} each).", plan.waiting(), plan.limits.max_messages);
  }

  static std::string drain_words(const remedy::Totals& totals, const Plan& plan) {
    std::string words = fmt::format("Drained {} poison messages. {} valid messages preserved. Rollback snapshot created.", totals.removed,
                                    plan.messages_seen - totals.removed - totals.gone);
    words += waiting_words(plan);
    if (totals.gone > 0) words += fmt::format(" {} were consumed meanwhile.", totals.gone);
    if (totals.failed > totals.too_deep) words += fmt::format(" {} were not found at their place and were left alone.", totals.failed - totals.too_deep);
    if (totals.too_deep > 0) words += fmt::format(" {} lie too deep to be reached within {} a call and were left alone.", totals.too_deep, human(plan.limits.block_budget));
    return words;
  }

  static std::string rollback_words(const QueueId& queue, const RestoreOutcome& o) {
    std::string words = fmt::format("{}: {} restored, order {}", queue.text(), o.restored, name(o.achieved));
    if (o.in_place > 0 && o.in_place < o.restored) words += fmt::format(" ({} in their old place)", o.in_place);
    if (!o.why_not_exact.empty()) words += ": " + o.why_not_exact;
    if (o.from_vault > 0) words += fmt::format("; {} were no longer in quarantine and came from the vault", o.from_vault);
    if (o.failed > 0) words += fmt::format("; {} were no longer in quarantine and are in the vault only", o.failed);
    if (o.foreign > 0) words += fmt::format("; {} entries of the quarantine are not what was put there: not restored, left where they are", o.foreign);
    return words;
  }

  static RollbackReport report_of(const std::string& key, const std::vector<remedy::QueueRestore>& restores) {
    RollbackReport report{.rollback_key = key, .outcome = {}, .queues = {}, .notes = {}};
    report.outcome.achieved = RestoreOrder::exact;
    for (const remedy::QueueRestore& r : restores) {
      report.outcome.restored += r.outcome.restored;
      report.outcome.in_place += r.outcome.in_place;
      report.outcome.already_present += r.outcome.already_present;
      report.outcome.failed += r.outcome.failed;
      report.outcome.from_vault += r.outcome.from_vault;
      report.outcome.foreign += r.outcome.foreign;
      report.outcome.repeats += r.outcome.repeats;
      if (r.outcome.achieved == RestoreOrder::tail) report.outcome.achieved = RestoreOrder::tail;
      report.queues.push_back({r.queue, r.outcome});
      report.notes.push_back(rollback_words(r.queue, r.outcome));
    }
    return report;
  }

  Config config_;
  AgentDeps deps_;
  const std::map<BrokerName, std::vector<Claim>> claims_;  // of each configured broker
  Lanes lanes_;                                            // after what its threads use
  std::map<TenantId, Tenant> found_tenants_;  // by patterns
  std::unique_ptr<FileLock> lock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<AuditLog> audit_;
  std::map<TenantId, WallTime> offered_until_;
  History history_;
  Alerts alerts_;
  struct Pause {
    MonoTime until{};
    Millis length{0};
    std::string why = {};
  };
  std::map<TenantId, Expectation> expectations_;
  std::map<TenantId, skill::TriggerWatch> triggers_;
  std::map<std::string, Pause> held_;        // by execution
  std::map<std::pair<TenantId, std::string>, MonoTime> restarted_;
  std::set<std::string> braked_;             // executions that the brake stopped
  std::map<TenantId, Pause> pauses_;         // of the acting agent, in a breach in which it could do nothing
  std::map<std::string, std::string> said_;  // of what the log knows already: its state
};

}  // namespace

Progress& silent() {
  static Silent progress;
  return progress;
}

Result<std::unique_ptr<Agent>> Agent::open(Config config, AgentDeps deps, Progress& progress) {
  auto agent = std::make_unique<LocalAgent>(std::move(config), std::move(deps));
  CLAW_TRY(agent->open(progress));
  return std::unique_ptr<Agent>(std::move(agent));
}

}  // namespace claw
