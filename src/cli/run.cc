#include "cli/run.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "agent/brake.h"
#include "api/remote.h"
#include "api/service.h"
#include "api/shapes.h"
#include "audit/log.h"
#include "base/digest.h"
#include "base/text.h"
#include "cli/render.h"
#include "cli/report.h"
#include "cli/service_manager.h"
#include "notify/outbox.h"
#include "skill/skill.h"

namespace claw::cli {
namespace {

constexpr const char* kExitCodes = R"(0    done, or nothing to do
1    failed
2    usage or configuration
3    finished in part
4    refused by a guard or a policy, or a stale plan; the reason is printed
5    breach or poison found (analyze, scan, plan with --exit-code)
6    not confirmed
7    verification failed (audit, snapshot)
8    broker or agent not reachable
130  interrupted before any change
)";

struct Options {
  std::string config, data_dir, output = "table";
  bool quiet = false, no_color = false, yes = false, exit_code = false, ids = false, explain = false, until_resolved = false;
  std::string tenant, queue, skill, out, id, reason, timeout = "60s", interval = "2s", dir, key, order = "exact";
  double confidence = 0;
  std::uint64_t index = 0, canary = 10;
  double rate = 50;
  std::string signature, to, wait = "30s", label, life = "30d";
  std::vector<std::string> scopes, tenants;
};

// One line a stage on stderr; a bar while it runs when stderr is a terminal.
class LineProgress final : public Progress {
 public:
  LineProgress(std::FILE* out, bool bar, bool quiet, Clock& clock) : out_(out), bar_(bar), quiet_(quiet), clock_(clock), drawn_(clock.mono()) {}
  void stage(std::string_view stage) override { stage_ = stage; }
  void advance(std::uint64_t done, std::uint64_t total) override {
    if (!bar_ || quiet_ || clock_.mono() - drawn_ < Millis(100)) return;
    drawn_ = clock_.mono();
    const std::size_t filled = total == 0 ? 0 : static_cast<std::size_t>(std::min(done, total) * 24 / total);
    fmt::print(out_, "\r{:<20} [{}{}] {}/{}\x1b[K", stage_, std::string(filled, '#'), std::string(24 - filled, '.'), grouped(done), grouped(total));
    std::fflush(out_);
  }
  void finish(const StageRecord& stage) override {
    if (quiet_) return;
    fmt::print(out_, "{}{:<20} {:<9} {:>7}  {}\n", bar_ ? "\r\x1b[K" : "", stage.stage, name(stage.status), human(stage.duration), escape(stage.output));
  }
  void note(std::string_view text) override {
    if (!quiet_) fmt::print(out_, "{}note: {}\n", bar_ ? "\r\x1b[K" : "", escape(text));
  }

 private:
  std::FILE* out_;
  bool bar_, quiet_;
  Clock& clock_;
  MonoTime drawn_;
  std::string stage_;
};

// Two who watch the same.
class BothProgress final : public Progress {
 public:
  BothProgress(Progress& first, Progress& second) : first_(first), second_(second) {}
  void stage(std::string_view stage) override { first_.stage(stage), second_.stage(stage); }
  void advance(std::uint64_t done, std::uint64_t total) override { first_.advance(done, total), second_.advance(done, total); }
  void finish(const StageRecord& stage) override { first_.finish(stage), second_.finish(stage); }
  void note(std::string_view text) override { first_.note(text), second_.note(text); }
  void execution(std::string_view id, const TenantId& tenant) override { first_.execution(id, tenant), second_.execution(id, tenant); }

 private:
  Progress& first_;
  Progress& second_;
};

class Session {
 public:
  Session(const CliDeps& deps, const Options& options)
      : deps_(deps), o_(options), progress_(deps.terminal.err, deps.terminal.err_is_tty && !options.no_color, options.quiet, deps.clock) {
    const char* no_color = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    style_.colour = deps.terminal.out_is_tty && !options.no_color && (no_color == nullptr || *no_color == '\0') && (term == nullptr || std::string_view(term) != "dumb");
  }

  int no_html() { return fail(make_error(Code::invalid, "-o html", "is for 'executions show' only; expected table, json or jsonl")); }

  int init() {
    const std::string path = o_.config.empty() ? "deployclaw.yaml" : o_.config;
    const Result<bool> there = deps_.disk.exists(path);
    if (!there) return fail(there.error());
    if (*there) return fail(make_error(Code::invalid, "init", path + " is there already; nothing was written"));
    if (const Status wrote = deps_.disk.write_atomically(path, default_config_text(), Mode::shared); !wrote) return fail(wrote.error());
    print("Wrote " + path + ".\nNext: edit it, then: deployclaw config check && deployclaw doctor\n");
    return kDone;
  }

  int config_check() {
    const auto config = load();
    if (!config) return fail(config.error());
    return emit(fmt::format("{}: ok, {}, {}\n", config->file, counted(config->brokers.size(), "broker"), counted(config->tenants.size(), "tenant")),
                [&] { return nlohmann::json{{"ok", true}, {"file", config->file}, {"brokers", config->brokers.size()}, {"tenants", config->tenants.size()}}.dump(1); });
  }

  int doctor() {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto lines = agent.doctor();
      if (!lines) return fail(lines.error());
      const bool failed = std::any_of(lines->begin(), lines->end(), [](const DoctorLine& l) { return l.level == DoctorLine::Level::fail; });
      emit(show(*lines, style_), [&] {
        nlohmann::json all = nlohmann::json::array();
        constexpr const char* kLevels[] = {"ok", "warn", "fail"};
        for (const DoctorLine& l : *lines) all.push_back({{"level", kLevels[static_cast<int>(l.level)]}, {"subject", l.subject}, {"text", escape(l.text)}, {"fix", l.fix}});
        return nlohmann::json{{"checks", all}}.dump(1);
      });
      return failed ? kFailed : kDone;
    });
  }

  int topology() {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto seen = agent.topology();
      if (!seen) return fail(seen.error());
      emit(show(*seen, style_), [&] { return topology_json(*seen); });
      return seen->troubles.empty() ? kDone : kUnreachable;
    });
  }

  int analyze() {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto health = agent.analyze_queue_health(o_.tenant.empty() ? std::nullopt : std::optional(o_.tenant));
      if (!health) return fail(health.error());
      emit(show(*health, style_), [&] { return health_json(*health); });
      if (!health->troubles.empty()) return kUnreachable;
      const bool breach = std::any_of(health->tenants.begin(), health->tenants.end(), [](const TenantHealth& t) { return !t.breaches.empty(); });
      return breach && o_.exit_code ? kFound : kDone;
    });
  }

  int scan() {
    ScanTarget target;
    if (o_.tenant.empty() == o_.queue.empty()) return fail(make_error(Code::invalid, "scan", "expected either --tenant T or --queue BROKER/QUEUE"));
    if (!o_.tenant.empty()) target.tenant = o_.tenant;
    else {
      const auto queue = queue_named(o_.queue);
      if (!queue) return fail(queue.error());
      target.queue = *queue;
    }
    return with_agent([&](AgentCalls& agent) -> int {
      auto seen = agent.detect_poison_messages(target, progress_);
      if (!seen) return fail(seen.error());
      drop_below_confidence(*seen);
      emit(show(*seen, style_, o_.explain), [&] { return scan_json(*seen, o_.queue.empty() ? o_.tenant : o_.queue, o_.ids); });
      return !seen->findings.empty() && o_.exit_code ? kFound : kDone;
    });
  }

  int plan() {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto proposal = agent.plan(o_.tenant, o_.skill.empty() ? std::nullopt : std::optional(o_.skill), deps_.user, progress_);
      if (!proposal) return fail(proposal.error());
      if (!o_.out.empty())
        if (const Status wrote = deps_.disk.write_atomically(o_.out, plan_to_text(proposal->plan), Mode::owner_only); !wrote) return fail(wrote.error());
      const std::string next = o_.out.empty() ? proposal->hash.substr(7, 12) : o_.out;
      emit(show(*proposal, style_) + "Next: deployclaw apply " + next + "\n", [&] { return plan_to_text(proposal->plan); });
      return proposal->plan.total() > 0 && o_.exit_code ? kFound : kDone;
    });
  }

  int decide(bool approve) {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto hash = hash_of(o_.id);
      if (!hash) return fail(hash.error());
      const Status done = approve ? agent.approve(*hash, deps_.user, o_.reason) : agent.reject(*hash, deps_.user, o_.reason);
      if (!done) return fail(done.error());
      return emit(fmt::format("Plan {} {}.\n", *hash, approve ? "approved" : "rejected"), [&] { return nlohmann::json{{"hash", *hash}, {"state", approve ? "approved" : "rejected"}}.dump(1); });
    });
  }

  int apply() {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto plan = plan_named(o_.id);
      if (!plan) {
        if (plan.error().code == Code::conflict) record_edited_plan(agent, plan.error());
        return fail(plan.error());
      }
      const Proposal proposal{.plan = *plan, .hash = plan_hash(*plan), .observation = {}, .verdict = {}};
      if (!o_.yes && !confirmed(proposal)) return kNotConfirmed;
      return executed(agent.execute_safe_drain(*plan, deps_.user, progress_));
    });
  }

  int remediate() {
    if (!o_.yes && !deps_.terminal.in_is_tty) return not_asked();
    return with_agent([&](AgentCalls& agent) -> int {
      const auto ask = [&](const Proposal& proposal) { return o_.yes || confirmed(proposal); };
      auto record = agent.remediate(o_.tenant, o_.skill.empty() ? std::nullopt : std::optional(o_.skill), deps_.user, ask, progress_);
      if (record && record->reason == "not confirmed") return kNotConfirmed;
      return executed(std::move(record));
    });
  }

  int rollback() {
    if (!o_.yes && !deps_.terminal.in_is_tty) return not_asked();
    return with_agent([&](AgentCalls& agent) -> int {
      if (!o_.yes && !ask_yes("Put back every message that " + o_.id + " removed? Type yes: ")) return kNotConfirmed;
      const auto report = agent.rollback(o_.id, deps_.user, progress_, o_.order == "tail" ? RestoreOrder::tail : RestoreOrder::exact);
      if (!report) return fail(report.error());
      emit(show(*report, style_), [&] { return rollback_json(*report); });
      return report->outcome.failed + report->outcome.foreign > 0 ? kInPart : kDone;
    });
  }

  int verify() {
    const Result<Millis> timeout = parse_duration(o_.timeout);
    if (!timeout) return fail(timeout.error());
    return with_agent([&](AgentCalls& agent) -> int {
      const auto recovery = agent.verify_consumer_recovery(o_.id, *timeout, progress_);
      if (!recovery) return fail(recovery.error());
      emit(recovery->words + "\n", [&] {
        return nlohmann::json{{"recovered", recovery->recovered}, {"groups", recovery->groups}, {"groups_connected", recovery->groups_connected},
                              {"throughput_per_s", recovery->throughput_per_s}, {"words", recovery->words}}.dump(1);
      });
      return recovery->recovered ? kDone : kFailed;
    });
  }

  int serve() {
    const Result<Millis> interval = parse_duration(o_.interval);
    if (!interval) return fail(interval.error());
    ServiceManager manager(deps_.clock);
    for (;;) {
      const int status = serve_config(manager, *interval);
      if (status != kReload) return status;
      manager.reloading();
    }
  }

  int breakers_list() {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto lines = agent.breakers();
      if (!lines) return fail(lines.error());
      std::vector<std::vector<std::string>> rows = {{"BROKER", "STATE", "OPENED", "WHY"}};
      nlohmann::json all = nlohmann::json::array();
      for (const BreakerLine& l : *lines) {
        rows.push_back({l.broker, l.state, std::to_string(l.openings), l.words.empty() ? "-" : escape(l.words)});
        all.push_back({{"broker", l.broker}, {"state", l.state}, {"openings", l.openings}, {"words", escape(l.words)}});
      }
      return emit(table(rows, {false, false, true, false}), [&] { return nlohmann::json{{"breakers", all}}.dump(1); });
    });
  }

  int breakers_reset() {
    return with_agent([&](AgentCalls& agent) -> int {
      if (const Status done = agent.reset_breaker(o_.id, deps_.user, o_.reason); !done) return fail(done.error());
      return emit(o_.id + ": its breaker is closed, as new.\n", [&] { return nlohmann::json{{"broker", o_.id}, {"state", "closed"}}.dump(1); });
    });
  }

  // A person's word: the agent itself never begins one.
  int restart() {
    if (!o_.yes && !deps_.terminal.in_is_tty) return not_asked();
    return with_agent([&](AgentCalls& agent) -> int {
      if (!o_.yes && !ask_yes("Run the restart " + escape(o_.id, 64) + " for " + escape(o_.tenant, 64) + "? Type yes: ")) return kNotConfirmed;
      const auto report = agent.restart(o_.tenant, o_.id, deps_.user, o_.reason);
      if (!report) return fail(report.error());
      std::string words;
      for (const std::string& word : report->command) words += (words.empty() ? "" : " ") + escape(word, 200);
      const std::string how = report->exit.timed_out ? "was killed after " + human(report->exit.took) : fmt::format("ended with {} after {}", report->exit.status, human(report->exit.took));
      emit(fmt::format("{} {}{}; {} bytes of output, {}\n", words, how, report->user.empty() ? "" : " as " + escape(report->user), report->exit.output_bytes, report->exit.output_sha256), [&] {
        return nlohmann::json{{"entry", report->entry}, {"status", report->exit.status}, {"timed_out", report->exit.timed_out}, {"took_ms", report->exit.took.count()},
                              {"output_bytes", report->exit.output_bytes}, {"output_sha256", report->exit.output_sha256}}.dump(1);
      });
      return report->exit.good() ? kDone : kFailed;
    });
  }

  int tokens_create() {
    TokenWish wish{.name = o_.id, .scopes = {}, .tenants = {}};
    for (const std::string& word : o_.scopes) {
      const auto one = scope(word);
      if (!one) return fail(make_error(Code::invalid, "--scope " + escape(word, 40), "expected observe, plan, approve, apply or restore"));
      wish.scopes.insert(*one);
    }
    if (!o_.tenants.empty()) wish.tenants.emplace(o_.tenants.begin(), o_.tenants.end());
    const Result<Millis> life = parse_duration(o_.life);
    if (!life) return fail(life.error());
    wish.life = *life;
    return with_agent([&](AgentCalls& agent) -> int {
      const auto made = agent.create_token(wish, deps_.user);
      if (!made) return fail(made.error());
      const std::string text = fmt::format("{}\n\nThis is the only time that it is shown. It is {} of {}, may {} and expires at {}.\nUse it as:  Authorization: Bearer dct_...\n", made->secret, made->token.id,
                                           escape(made->token.name), scopes_of(made->token), rfc3339(made->token.expires));
      return emit(text, [&] {
        nlohmann::json out = api::to_json(made->token);
        out["secret"] = made->secret;
        return out.dump(1);
      });
    });
  }

  int tokens_list() {
    return with_agent([&](AgentCalls& agent) -> int {
      const auto all = agent.tokens();
      if (!all) return fail(all.error());
      std::vector<std::vector<std::string>> rows = {{"TOKEN", "NAME", "MAY", "TENANTS", "MADE BY", "EXPIRES", "STATE"}};
      nlohmann::json out = nlohmann::json::array();
      for (const Token& t : *all) {
        const std::string tenants = t.tenants ? fmt::format("{}", fmt::join(*t.tenants, " ")) : "all";
        rows.push_back({t.id, escape(t.name), scopes_of(t), tenants, escape(t.creator), rfc3339(t.expires), t.revoked ? "revoked" : deps_.clock.now() >= t.expires ? "expired" : "good"});
        out.push_back(api::to_json(t));
      }
      return emit(all->empty() ? "No tokens. Make one with: deployclaw tokens create NAME --scope observe\n" : table(rows, {false, false, false, false, false, false, false}),
                  [&] { return nlohmann::json{{"tokens", out}}.dump(1); });
    });
  }

  int tokens_revoke() {
    return with_agent([&](AgentCalls& agent) -> int {
      if (const Status done = agent.revoke_token(o_.id, deps_.user); !done) return fail(done.error());
      return emit(o_.id + " opens nothing any more.\n", [&] { return nlohmann::json{{"id", o_.id}, {"revoked", true}}.dump(1); });
    });
  }

  // The fleet's worst, again and again, until it is stopped: a screen on a terminal, else a table or a line of JSON a turn.
  int watch_fleet() {
    constexpr std::size_t kMostRows = 20;
    const Result<Millis> interval = parse_duration(o_.interval);
    if (!interval) return fail(interval.error());
    return with_agent([&](AgentCalls& agent) -> int {
      while (!deps_.interrupted) {
        auto health = agent.analyze_queue_health(o_.tenant.empty() ? std::nullopt : std::optional(o_.tenant));
        if (!health) return fail(health.error());
        const std::size_t all = health->tenants.size();
        std::string text;
        if (o_.output == "table") {
          if (all > kMostRows) health->tenants.resize(kMostRows);
          text = fmt::format("{}{}  {}{}\n\n{}{}", deps_.terminal.out_is_tty ? "\x1b[H\x1b[2J" : "", rfc3339(deps_.clock.now()), counted(all, "tenant"), brake_words(), show(*health, style_),
                             all > kMostRows ? fmt::format("… and {} more, none worse.\n", grouped(all - kMostRows)) : "");
        } else {
          text = nlohmann::json::parse(health_json(*health)).dump() + "\n";
        }
        print(text);
        for (const MonoTime until = deps_.clock.mono() + *interval; deps_.clock.mono() < until && !deps_.interrupted;) deps_.clock.sleep(Millis(50));
      }
      return kDone;
    });
  }

  std::string brake_words() {
    const auto config = load();
    return config && brake_on(deps_.disk, config->data_dir) ? "  THE BRAKE IS ON" : "";
  }

  int notifications_test() {
    const auto config = load();
    if (!config) return fail(config.error());
    const auto route = std::find_if(config->routes.begin(), config->routes.end(), [&](const NotifyRoute& r) { return r.name == o_.id; });
    if (route == config->routes.end()) return fail(make_error(Code::not_found, "notification " + escape(o_.id, 64), "is not in " + config->file));
    const WallTime now = deps_.clock.now();
    const Alert alert{.id = "test", .tenant = {}, .severity = "info", .summary = "a test by " + deps_.user + ": nothing is wrong", .details = {}, .since = now};
    for (const notify::Event event : {notify::Event::open, notify::Event::close})  // so that nothing stays open
      if (const Status sent = notify::send(*route, {.agent = config->agent_id, .event = event, .alert = alert, .at = now}, "test-" + deps_.random.hex(4), deps_.disk, now); !sent) return fail(sent.error());
    return emit(route->name + ": a notice and its end were taken.\n", [&] { return nlohmann::json{{"route", route->name}, {"ok", true}}.dump(1); });
  }

  int dlq_list() {
    return with_own_agent([&](Agent& agent) -> int {
      const auto all = agent.dead_letters(o_.tenant.empty() ? std::nullopt : std::optional(o_.tenant), progress_);
      if (!all) return fail(all.error());
      return emit(show(*all, style_), [&] { return dead_letters_json(*all); });
    });
  }

  int dlq_redrive() {
    const Result<Millis> wait = parse_duration(o_.wait);
    if (!wait) return fail(wait.error());
    const auto dead_letter = queue_named(o_.id);
    if (!dead_letter) return fail(dead_letter.error());
    RedriveRequest request{.dead_letter = *dead_letter, .signature = o_.signature, .target = {}, .canary = o_.canary, .rate_per_s = o_.rate, .wait = *wait};
    if (!o_.to.empty()) {
      const auto target = queue_named(o_.to);
      if (!target) return fail(target.error());
      request.target = *target;
    }
    if (!o_.yes && !deps_.terminal.in_is_tty) return not_asked();
    return with_own_agent([&](Agent& agent) -> int {
      if (!o_.yes && !ask_yes(fmt::format("Send messages with signature {} of {} back, {} first, then at most {} a second? Type yes: ", escape(o_.signature, 40), escape(o_.id, 120), o_.canary, o_.rate))) return kNotConfirmed;
      const auto report = agent.redrive(request, deps_.user, progress_);
      if (!report) return fail(report.error());
      emit(show(*report, style_), [&] { return redrive_json(*report); });
      return report->outcome.failed_again > 0 ? kInPart : kDone;
    });
  }

  int brake(const std::optional<bool>& wanted) {
    const auto config = load();
    if (!config) return fail(config.error());
    if (wanted)
      if (const Status done = move_brake(*config, *wanted); !done) return fail(done.error());
    const bool on = brake_on(deps_.disk, config->data_dir);
    return emit(on ? "The brake is on: nothing is touched.\n" : "The brake is off.\n", [&] { return nlohmann::json{{"on", on}}.dump(1); });
  }

  int executions_list() {
    return with_store([&](Store& store) -> int {
      const auto records = store.executions(1'000);
      if (!records) return fail(records.error());
      std::vector<std::vector<std::string>> rows = {{"EXECUTION", "WHEN", "TENANT", "STATE", "REMOVED", "ROLLBACK KEY"}};
      nlohmann::ordered_json all = nlohmann::ordered_json::array();
      for (const ExecutionRecord& r : *records) {
        rows.push_back({r.execution_id, rfc3339(r.timestamp), r.tenant, r.state, grouped(r.record.messages_removed), r.record.rollback_key});
        all.push_back(nlohmann::ordered_json::parse(execution_to_json(r, -1)));
      }
      return emit(table(rows, {false, false, false, false, true, false}), [&] { return nlohmann::ordered_json{{"executions", all}}.dump(1); });
    });
  }

  int executions_show() {
    return with_store([&](Store& store) -> int {
      const auto record = store.execution(o_.id);
      if (!record) return fail(record.error());
      if (o_.output == "html") return report(store, *record);
      return emit(show(*record, style_), [&] { return execution_to_json(*record, 1); });
    });
  }

  int report(Store& store, const ExecutionRecord& record) {
    constexpr Millis kAround = std::chrono::minutes(30);
    const auto config = load();
    if (!config) return fail(config.error());
    const std::string dir = config->data_dir + "/audit";
    ReportFacts facts{.record = record, .plan = {}, .entries = {}, .log = {}, .verifier_key = {}, .history = {}, .now = deps_.clock.now()};
    if (const auto key = deps_.disk.read_all(dir + "/vkey", 4096)) facts.verifier_key = *key;
    while (facts.verifier_key.ends_with('\n')) facts.verifier_key.pop_back();
    facts.log = verify_log(deps_.disk, dir, facts.verifier_key);
    auto entries = read_entries(deps_.disk, dir, 0, UINT64_MAX);
    if (!entries) return fail(entries.error());
    for (AuditEntry& entry : *entries) {
      const auto fields = nlohmann::json::parse(entry.bytes, nullptr, false);
      if (fields.is_object() && fields.value("execution", "") == record.execution_id) facts.entries.push_back(std::move(entry));
    }
    if (!record.plan_hash.empty()) {
      const auto stored = store.plan(record.plan_hash);
      if (!stored) return fail(stored.error());
      auto plan = plan_from_text(stored->text, "plan " + record.plan_hash.substr(0, 15));
      if (!plan) return fail(plan.error());
      facts.plan = std::move(*plan);
      for (const PlannedQueue& queue : facts.plan->queues) {
        auto samples = store.samples(queue.queue, record.timestamp - kAround);
        if (!samples) return fail(samples.error());
        std::erase_if(*samples, [&](const Sample& s) { return s.at > record.timestamp + kAround; });
        facts.history.emplace_back(queue.queue, std::move(*samples));
      }
    }
    print(report_html(facts));
    return kDone;
  }

  int findings_list() {
    return with_store([&](Store& store) -> int {
      const auto found = store.findings(1'000);
      if (!found) return fail(found.error());
      std::vector<std::vector<std::string>> rows = {{"FINDING", "WHEN", "TENANT", "MESSAGES", "SIGNATURE"}};
      nlohmann::json all = nlohmann::json::array();
      for (const StoredFinding& f : *found) {
        const auto json = nlohmann::json::parse(f.json);
        rows.push_back({f.id, rfc3339(f.at), f.tenant, grouped(json.at("count").get<std::uint64_t>()), escape(json.at("signature").get<std::string>(), 70)});
        all.push_back(json);
      }
      return emit(table(rows, {false, false, false, true, false}), [&] { return nlohmann::json{{"findings", all}}.dump(1); });
    });
  }

  int findings_show() {
    return with_store([&](Store& store) -> int {
      const auto found = store.finding(o_.id);
      if (!found) return fail(found.error());
      const auto json = nlohmann::json::parse(found->json);
      return emit(fmt::format("{}\n{}\n{}\n", found->id, json.at("explanation").get<std::string>(), json.at("excerpt").get<std::string>()), [&] { return json.dump(1); });
    });
  }

  int findings_label() {
    const Said word = said(o_.label).value_or(Said::none);  // the parser lets no other pass
    return with_agent([&](AgentCalls& agent) -> int {
      if (const Status done = agent.label(o_.id, word, deps_.user, o_.reason); !done) return fail(done.error());
      const std::string text = word == Said::none ? "is what it was: evidence alone counts" : word == Said::poison ? "is labelled poison: from the next look on that weighs like 35 failures" : "is labelled not poison: nothing is removed for it";
      return emit(fmt::format("{} {}.\n", o_.id, text), [&] { return nlohmann::json{{"finding", o_.id}, {"label", o_.label}}.dump(1); });
    });
  }

  int snapshots(bool verify_them) {
    return with_vault([&](Vault& vault) -> int {
      const auto all = vault.list();
      if (!all) {
        const int status = fail(all.error());
        return verify_them && all.error().code == Code::corrupt ? kNotVerified : status;
      }
      std::vector<std::vector<std::string>> rows = {{"EXECUTION", "QUEUE", "MESSAGES", "BYTES", verify_them ? "VERIFIED" : "KEY"}};
      nlohmann::json out = nlohmann::json::array();
      bool bad = false;
      for (const SnapshotInfo& s : *all) {
        if (verify_them && !o_.id.empty() && s.execution_id != o_.id) continue;
        const Status sound = verify_them ? vault.verify(s.execution_id) : Status{};
        bad |= !sound.ok();
        rows.push_back({s.execution_id, escape(s.queue, 44), grouped(s.messages), grouped(s.stored_bytes), !verify_them ? s.key_id : sound.ok() ? "ok" : escape(sound.error().message())});
        out.push_back({{"execution_id", s.execution_id}, {"queue", escape(s.queue)}, {"messages", s.messages}, {"stored_bytes", s.stored_bytes}, {"ok", sound.ok()}});
      }
      emit(table(rows, {false, false, true, true, false}), [&] { return nlohmann::json{{"snapshots", out}}.dump(1); });
      return bad ? kNotVerified : kDone;
    });
  }

  // In clear, so into a file of the owner alone: one JSON line a message, bytes as base64.
  int snapshots_export() {
    if (o_.out.empty()) return fail(make_error(Code::invalid, "snapshots export", "expected --out FILE: what it writes is no longer encrypted"));
    return with_vault([&](Vault& vault) -> int {
      const auto all = vault.list();
      if (!all) return fail(all.error());
      std::string lines;
      std::uint64_t count = 0;
      for (const SnapshotInfo& s : *all) {
        if (s.execution_id != o_.id) continue;
        const std::size_t slash = s.queue.find('/');
        const auto messages = vault.read(s.execution_id, {s.queue.substr(0, slash), s.queue.substr(slash + 1)});
        if (!messages) return fail(messages.error());
        for (const Message& m : *messages) {
          if (m.fields.empty()) continue;  // it was gone when the snapshot was made
          nlohmann::ordered_json fields = nlohmann::ordered_json::array();
          for (const OwnedField& f : m.fields) fields.push_back({{"name", base64(f.name)}, {"value", base64(f.value)}});
          lines += nlohmann::ordered_json{{"queue", base64(s.queue)}, {"id", escape(m.id)}, {"fields", std::move(fields)}}.dump() + "\n";
          ++count;
        }
      }
      if (count == 0) return fail(make_error(Code::not_found, "snapshots export " + escape(o_.id, 80), "no snapshot of that execution; see: deployclaw snapshots list"));
      if (const Status wrote = deps_.disk.write_atomically(o_.out, lines, Mode::owner_only); !wrote) return fail(wrote.error());
      emit(fmt::format("{} messages in clear in {}\n", grouped(count), escape(o_.out, 200)), [&] { return nlohmann::json{{"file", escape(o_.out)}, {"messages", count}}.dump(1); });
      return kDone;
    });
  }

  int audit_verify() {
    const auto dir = audit_dir();
    if (!dir) return fail(dir.error());
    std::string key = o_.key.empty() ? *dir + "/vkey" : o_.key;
    if (key.find('+') == std::string::npos || deps_.disk.exists(key).ok()) {
      if (const auto text = deps_.disk.read_all(key, 4096)) key = *text;
    }
    while (key.ends_with('\n')) key.pop_back();
    const VerifyReport report = verify_log(deps_.disk, *dir, key);
    emit(report.ok ? fmt::format("ok: {} entries, root {}, signed by {}; unwitnessed: nobody else remembers this head\n", report.size, report.root, report.origin)
                   : fmt::format("NOT VERIFIED: {}\n", escape(report.problem)),
         [&] { return verify_json(report); });
    return report.ok ? kDone : kNotVerified;
  }

  struct AuditRecord {
    std::uint64_t index = 0;
    std::string bytes;
    nlohmann::json fields;
  };
  // Of one execution, or of the whole log when `execution` is empty.
  Result<std::vector<AuditRecord>> audit_records(const std::string& execution) {
    CLAW_TRY_ASSIGN(const std::string dir, audit_dir());
    CLAW_TRY_ASSIGN(std::vector<AuditEntry> entries, read_entries(deps_.disk, dir, 0, UINT64_MAX));
    std::vector<AuditRecord> records;
    for (AuditEntry& e : entries) {
      auto fields = nlohmann::json::parse(e.bytes, nullptr, false);
      if (fields.is_discarded()) return make_error(Code::corrupt, "audit entry " + std::to_string(e.index), "is not JSON");
      if (execution.empty() || fields.value("execution", "") == execution) records.push_back({e.index, std::move(e.bytes), std::move(fields)});
    }
    return records;
  }

  int audit_list() {
    const auto records = audit_records("");
    if (!records) return fail(records.error());
    std::vector<std::vector<std::string>> rows = {{"INDEX", "TIME", "TYPE", "EXECUTION"}};
    nlohmann::json all = nlohmann::json::array();
    for (const auto& [index, bytes, record] : *records) {
      rows.push_back({std::to_string(index), record.value("ts", "-"), record.value("type", "-"), record.value("execution", "-")});
      all.push_back({{"index", index}, {"record", record}});
    }
    return emit(table(rows, {true, false, false, false}), [&] { return nlohmann::json{{"entries", all}}.dump(1); });
  }

  int audit_show() {
    const auto dir = audit_dir();
    if (!dir) return fail(dir.error());
    const auto entries = read_entries(deps_.disk, *dir, o_.index, 1);
    if (!entries) return fail(entries.error());
    if (entries->empty()) return fail(make_error(Code::not_found, "audit entry " + std::to_string(o_.index), "the log is shorter"));
    return emit(entries->front().bytes + "\n", [&] { return entries->front().bytes; });
  }

  int audit_prove() {
    const auto dir = audit_dir();
    if (!dir) return fail(dir.error());
    const auto proof = prove(deps_.disk, *dir, o_.index);
    if (!proof) return fail(proof.error());
    return emit(*proof, [&] { return nlohmann::json{{"index", o_.index}, {"proof", *proof}}.dump(1); });
  }

  // Every record as one line of JSON, for other tools; `verify` and `prove` are what proves it.
  int audit_export() {
    const auto records = audit_records(o_.id);
    if (!records) return fail(records.error());
    std::string lines;
    for (const AuditRecord& r : *records) lines += fmt::format("{{\"index\":{},\"leaf\":\"{}\",\"record\":{}}}\n", r.index, sha256_label(r.bytes), r.bytes);
    if (o_.out.empty()) {
      print(lines);
      return kDone;
    }
    if (const Status wrote = deps_.disk.write_atomically(o_.out, lines, Mode::owner_only); !wrote) return fail(wrote.error());
    return emit("Wrote " + o_.out + ".\n", [&] { return nlohmann::json{{"file", o_.out}}.dump(1); });
  }

  // What the log alone says of an execution, in order, and whether its numbers add up.
  int audit_replay() {
    const auto records = audit_records(o_.id);
    if (!records) return fail(records.error());
    if (records->empty()) return fail(make_error(Code::not_found, "execution " + escape(o_.id, 64), "the log has no record of it"));
    std::vector<std::vector<std::string>> rows = {{"INDEX", "TIME", "RECORD", "WHAT"}};
    nlohmann::json all = nlohmann::json::array(), problems = nlohmann::json::array();
    std::uint64_t removed = 0, restored = 0;
    for (const AuditRecord& r : *records) {
      const nlohmann::json& record = r.fields;
      const std::string type = record.value("type", "-");
      if (type == "result") removed = record.value("removed", std::uint64_t{0});  // of this wave and those before it
      if (type == "rollback") restored += record.value("restored", std::uint64_t{0});
      const auto adds_up = [&](const char* field) {
        const std::uint64_t said = record.value(field, std::uint64_t{0});
        if (said != removed) problems.push_back(fmt::format("entry {}: {} says {} = {}, the result before it says {}", r.index, type, field, said, removed));
      };
      if (type == "guard" && record.contains("in_quarantine")) adds_up("in_quarantine");
      if (type == "close") adds_up("removed");
      std::string what;
      for (const auto& [key, value] : record.items())
        if (key != "type" && key != "ts" && key != "execution" && key != "seq") what += fmt::format("{}{}={}", what.empty() ? "" : "  ", key, value.is_string() ? value.get<std::string>() : value.dump());
      rows.push_back({std::to_string(r.index), record.value("ts", "-"), type, escape(what, 160)});
      all.push_back({{"index", r.index}, {"record", record}});
    }
    std::string text = table(rows, {true, false, false, false});
    for (const auto& problem : problems) text += problem.get<std::string>() + "\n";
    if (problems.empty()) text += fmt::format("It adds up: {} removed, {} restored.\n", grouped(removed), grouped(restored));
    emit(text, [&] { return nlohmann::json{{"execution", o_.id}, {"removed", removed}, {"restored", restored}, {"entries", all}, {"problems", problems}}.dump(1); });
    return problems.empty() ? kDone : kNotVerified;
  }

  int skills_list() {
    std::vector<std::vector<std::string>> rows = {{"SKILL", "REMOVES", "AT MOST", "WAVES", "DESCRIPTION"}};
    nlohmann::json all = nlohmann::json::array();
    for (const auto& [name, skill] : skill::built_in()) {
      const Limits& limits = skill.protocol.limits;
      std::string waves;
      for (const std::int64_t bps : limits.waves_bps) waves += fmt::format("{}{}%", waves.empty() ? "" : " ", bps / 100);
      rows.push_back({name, skill.protocol.removes() ? "yes" : "no", grouped(limits.max_messages), skill.protocol.removes() ? waves : "-",
                      skill.description.substr(0, skill.description.find('.') + 1)});
      all.push_back({{"name", name}, {"description", skill.description}, {"removes", skill.protocol.removes()}, {"max_messages", limits.max_messages},
                     {"waves_bps", limits.waves_bps}, {"block_hash", skill.block_hash}, {"folder_hash", skill.folder_hash}});
    }
    return emit(table(rows, {false, false, true, false, false}), [&] { return nlohmann::json{{"skills", all}}.dump(1); });
  }

  int skills_show() {
    const auto found = skill::built_in().find(o_.id);
    if (found == skill::built_in().end()) return fail(make_error(Code::not_found, "skill " + escape(o_.id, 64), "no such skill; see: deployclaw skills list"));
    const skill::Skill& s = found->second;
    return emit(fmt::format("{}\n{}\n\nprotocol {}\nfolder   {}\n\n{}", s.name, s.description, s.block_hash, s.folder_hash, s.block),
                [&] { return nlohmann::json{{"name", s.name}, {"description", s.description}, {"block", s.block}, {"block_hash", s.block_hash}, {"folder_hash", s.folder_hash}}.dump(1); });
  }

  int skills_lint() {
    const auto folder = skill::read_folder(deps_.disk, std::filesystem::path(o_.id).lexically_normal().string());
    if (!folder) return fail(folder.error());
    const skill::Linted linted = skill::lint(*folder);
    std::string text = linted.skill ? fmt::format("ok: {}, protocol {}, folder {}\n", linted.skill->name, linted.skill->block_hash, linted.skill->folder_hash) : std::string();
    nlohmann::json problems = nlohmann::json::array();
    for (const skill::Problem& p : linted.problems) {
      text += fmt::format("{}/SKILL.md:{}: [{}] {}\n", escape(o_.id), p.line, p.rule, p.text);
      problems.push_back({{"line", p.line}, {"rule", p.rule}, {"text", p.text}});
    }
    emit(text, [&] { return nlohmann::json{{"ok", linted.skill.has_value()}, {"problems", problems}}.dump(1); });
    return linted.skill ? kDone : kUsage;
  }

  int fail(const Error& error) {
    if (o_.output == "table") fmt::print(deps_.terminal.err, "error: {}\n", error.code == Code::invalid && error.op == "config" ? error.detail : escape(error.message()));
    else print(nlohmann::json{{"error", {{"code", std::string(name(error.code))}, {"what", escape(error.op)}, {"detail", escape(error.detail)}}}}.dump(1) + "\n");
    return exit_of(error);
  }

 private:
  static Result<QueueId> queue_named(const std::string& text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string::npos) return make_error(Code::invalid, "queue " + escape(text, 80), "expected BROKER/QUEUE");
    return QueueId{text.substr(0, slash), text.substr(slash + 1)};
  }

  void print(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), deps_.terminal.out);
    std::fflush(deps_.terminal.out);
  }
  template <class F>
  int emit(const std::string& text, F&& json) {
    if (o_.output == "table") print(text);
    else print(json() + "\n");
    return kDone;
  }

  Result<Config> load() const {
    CLAW_TRY_ASSIGN(Config config, load_config(deps_.disk, o_.config.empty() ? std::nullopt : std::optional(o_.config)));
    // A relative data directory belongs to the config file, not to where the user happens to stand.
    if (!o_.data_dir.empty()) config.data_dir = o_.data_dir;
    else if (!config.data_dir.starts_with('/')) config.data_dir = (std::filesystem::path(config.file).parent_path() / config.data_dir).lexically_normal().string();
    const auto beside_config = [&config](std::string& path) {
      if (!path.empty() && !path.starts_with('/')) path = (std::filesystem::path(config.file).parent_path() / path).lexically_normal().string();
    };
    for (Tenant& tenant : config.tenants) beside_config(tenant.contract);
    for (auto& [name, profile] : config.profiles) beside_config(profile.contract);
    return config;
  }

  AgentDeps deps_of(std::function<void(const Topology&, const Health&)> evaluated = {}) const {
    return {.disk = deps_.disk, .clock = deps_.clock, .random = deps_.random, .open_broker = deps_.open_broker, .evaluated = std::move(evaluated)};
  }

  static bool held_by_another(const Error& error) { return error.code == Code::conflict && error.op.starts_with("lock"); }
  int unreachable(const Error& error) {
    fail(make_error(Code::unavailable, error.op, "another agent holds the data directory: " + error.detail));
    return kUnreachable;
  }

  // The agent of the data directory: in this process, or the one that runs, over its socket.
  int with_agent(const std::function<int(AgentCalls&)>& use) {
    auto config = load();
    if (!config) return fail(config.error());
    const std::string socket = config->data_dir + "/agent.sock";
    auto agent = Agent::open(std::move(*config), deps_of(), progress_);
    if (agent) return use(**agent);
    if (!held_by_another(agent.error())) return fail(agent.error());
    const auto running = api::remote_agent(socket, deps_.clock, deps_.interrupted);
    return running ? use(**running) : unreachable(agent.error());
  }

  // An agent in this process: while another one runs, there is none.
  int with_own_agent(const std::function<int(Agent&)>& use, std::function<void(const Topology&, const Health&)> evaluated = {}) {
    auto config = load();
    if (!config) return fail(config.error());
    auto agent = Agent::open(std::move(*config), deps_of(std::move(evaluated)), progress_);
    if (!agent) return held_by_another(agent.error()) ? unreachable(agent.error()) : fail(agent.error());
    return use(**agent);
  }

  int with_vault(const std::function<int(Vault&)>& use) {
    const auto config = load();
    if (!config) return fail(config.error());
    const auto vault = Vault::open(deps_.disk, deps_.random, config->data_dir + "/vault");
    return vault ? use(**vault) : fail(vault.error());
  }

  // A line of what happens; from any thread.
  void say(std::string_view text) {
    const std::lock_guard lock(saying_);
    print(o_.output == "table" ? fmt::format("{}  {}\n", rfc3339(deps_.clock.now()), text)
                               : nlohmann::json{{"at", rfc3339(deps_.clock.now())}, {"event", std::string(text)}}.dump() + "\n");
  }

  static constexpr int kReload = -1;

  // Until it is stopped, or has a new config.
  int serve_config(ServiceManager& manager, Millis interval) {
    api::Service service(deps_.disk, deps_.clock, deps_.random);
    bool trouble = false;
    const auto evaluated = [&trouble, publish = service.evaluated()](const Topology& topology, const Health& health) {
      const auto ails = [](const TenantHealth& t) { return !t.breaches.empty() || !t.symptoms.empty(); };
      trouble = !health.troubles.empty() || std::any_of(health.tenants.begin(), health.tenants.end(), ails);
      publish(topology, health);
    };
    return with_own_agent([&](Agent& agent) -> int {
      if (const Status listens = service.start(agent); !listens) return fail(listens.error());
      const notify::Outbox outbox(agent.config(), agent.store(), deps_.disk, deps_.clock, [this](std::string_view text) { say(text); });
      const int status = watch(agent, service, manager, interval, trouble);
      service.stop();
      return status;
    }, evaluated);
  }

  // `trouble` is what the last evaluation saw: while all is well the pauses grow to four intervals.
  int watch(Agent& agent, api::Service& service, ServiceManager& manager, Millis interval, const bool& trouble) {
    const auto event = [this](std::string_view text) { say(text); };
    const std::string hello = fmt::format("agent {} watches {}; dashboard http://{}", agent.config().agent_id, counted(agent.config().tenants.size(), "tenant") + (agent.config().patterns.empty() ? "" : " and those that " + counted(agent.config().patterns.size(), "pattern") + " find"), service.address());
    event(hello);
    manager.ready(hello);
    BothProgress shown(progress_, service.progress());
    AliveProgress progress(manager, shown);
    Millis pause = interval;
    while (!deps_.interrupted) {
      const auto done = agent.tick(event, progress);
      service.tick_done();
      if (!done) event(done.error().message());
      else if (!done->empty() && o_.until_resolved) return exit_of(done->front());
      pause = trouble ? interval : std::min(pause + interval / 2, interval * 4);
      // A tenth sooner or later, so that agents on one broker fall out of step.
      const auto tenth = static_cast<std::uint64_t>(pause.count() / 10 + 1);
      const MonoTime until = deps_.clock.mono() + pause - Millis(tenth) + Millis(static_cast<std::int64_t>(deps_.random.below(2 * tenth)));
      while (deps_.clock.mono() < until && !deps_.interrupted) {
        manager.alive();
        service.serve(agent, Millis(100));
        if (deps_.reload.exchange(false) && config_is_good(event)) return kReload;
      }
    }
    manager.stopping();
    event("stopped");
    return kDone;
  }

  bool config_is_good(const std::function<void(std::string_view)>& event) {
    const auto config = load();
    event(config ? "reloads " + config->file : "not reloaded, the config stays as it was: " + config.error().message());
    return config.ok();
  }

  // On: the file first, then the record, whoever can write it. Off: recorded first.
  Status move_brake(const Config& config, bool on) {
    if (on) CLAW_TRY(set_brake(deps_.disk, config.data_dir, true));
    Status told = api::remote_brake(config.data_dir + "/agent.sock", on, o_.reason, deps_.clock);
    if (told.ok() || told.error().code != Code::unavailable) return told;
    CLAW_TRY_ASSIGN(const auto log, AuditLog::open(deps_.disk, deps_.random, config.data_dir + "/audit", "deployclaw/" + config.agent_id));
    CLAW_TRY(log->append({{"type", "brake"}, {"ts", rfc3339(deps_.clock.now())}, {"on", on}, {"actor", escape(deps_.user)}, {"reason", escape(o_.reason)}}));
    CLAW_TRY(log->checkpoint());
    return on ? Status{} : set_brake(deps_.disk, config.data_dir, false);
  }

  int with_store(const std::function<int(Store&)>& use) {
    const auto config = load();
    if (!config) return fail(config.error());
    const auto store = Store::open_read_only(config->data_dir, deps_.clock);
    if (!store) return fail(store.error());
    return use(**store);
  }

  Result<std::string> audit_dir() const {
    if (!o_.dir.empty()) return o_.dir;
    if (!o_.data_dir.empty()) return o_.data_dir + "/audit";
    CLAW_TRY_ASSIGN(const Config config, load());
    return config.data_dir + "/audit";
  }

  Result<std::string> hash_of(const std::string& plan) const {
    CLAW_TRY_ASSIGN(const bool file, deps_.disk.exists(plan));
    if (!file) return plan;
    CLAW_TRY_ASSIGN(const std::string text, deps_.disk.read_all(plan, 256u << 20));
    CLAW_TRY_ASSIGN(const Plan parsed, plan_from_text(text, plan));
    return plan_hash(parsed);
  }

  Result<Plan> plan_named(const std::string& plan) const {
    CLAW_TRY_ASSIGN(const bool file, deps_.disk.exists(plan));
    std::string text;
    if (file) {
      CLAW_TRY_ASSIGN(text, deps_.disk.read_all(plan, 256u << 20));
    } else {
      CLAW_TRY_ASSIGN(const Config config, load());
      CLAW_TRY_ASSIGN(const auto store, Store::open_read_only(config.data_dir, deps_.clock));
      CLAW_TRY_ASSIGN(StoredPlan stored, store->plan(plan));
      text = std::move(stored.text);
    }
    return plan_from_text(text, plan);
  }

  static std::string scopes_of(const Token& token) { return fmt::format("{}", fmt::join(names(token.scopes), ", ")); }

  // The audit log hears of a plan file that is not what its hash says.
  void record_edited_plan(AgentCalls& agent, const Error& error) {
    const auto text = deps_.disk.read_all(o_.id, 256u << 20);
    const auto parsed = text ? parse_json(*text, o_.id) : Result<nlohmann::json>(text.error());
    const bool states_one = parsed && parsed->is_object() && parsed->contains("hash") && parsed->at("hash").is_string();
    const std::string claimed = states_one ? parsed->at("hash").get<std::string>() : "unknown";
    if (const Status kept = agent.refuse_edited_plan(claimed, deps_.user, error.message()); !kept) fail(kept.error());
  }

  int executed(Result<ExecutionRecord> record) {
    if (!record) return fail(record.error());
    emit(show(*record, style_), [&] { return execution_to_json(*record, 1); });
    return exit_of(*record);
  }

  int not_asked() {
    fmt::print(deps_.terminal.err, "error: not confirmed: stdin is not a terminal. Pass --yes\n");
    return kNotConfirmed;
  }
  bool ask_yes(const std::string& question) {
    if (!deps_.terminal.in_is_tty) {
      not_asked();
      return false;
    }
    fmt::print(deps_.terminal.err, "{}", question);
    std::fflush(deps_.terminal.err);
    char answer[16] = {};
    return std::fgets(answer, sizeof answer, deps_.terminal.in) != nullptr && std::string_view(answer) == "yes\n";
  }
  bool confirmed(const Proposal& proposal) {
    fmt::print(deps_.terminal.err, "{}", show(proposal, {}));
    return ask_yes("Type yes to go on: ");
  }

  void drop_below_confidence(Observation& seen) const {
    if (o_.confidence <= 0) return;
    for (std::size_t i = seen.findings.size(); i-- > 0;) {
      if (seen.findings[i].lower_bound >= o_.confidence) continue;
      seen.findings.erase(seen.findings.begin() + static_cast<std::ptrdiff_t>(i));
      seen.members.erase(seen.members.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  const CliDeps& deps_;
  const Options& o_;
  LineProgress progress_;
  Style style_;
  std::mutex saying_;
};

int completion(std::FILE* out, const std::string& shell, const CLI::App& app) {
  std::string verbs;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) verbs += (verbs.empty() ? "" : " ") + verb->get_name();
  if (shell == "fish") fmt::print(out, "complete -c deployclaw -f -n __fish_use_subcommand -a '{}'\n", verbs);
  else if (shell == "zsh") fmt::print(out, "#compdef deployclaw\n_arguments '1:verb:({})' '*:file:_files'\n", verbs);
  else fmt::print(out, "_deployclaw() {{ COMPREPLY=($(compgen -W '{}' -- \"${{COMP_WORDS[COMP_CWORD]}}\")); }}\ncomplete -o default -F _deployclaw deployclaw\n", verbs);
  return kDone;
}

}  // namespace

Exit exit_of(const Error& error) {
  switch (error.code) {
    case Code::timed_out:
    case Code::unavailable:
    case Code::throttled:
    case Code::denied: return kUnreachable;
    case Code::not_found:
    case Code::unsupported:
    case Code::invalid: return kUsage;
    case Code::conflict:
    case Code::lease_lost:
    case Code::refused: return kRefused;
    case Code::full:
    case Code::corrupt:
    case Code::outcome_unknown: return kFailed;
  }
  std::abort();
}

Exit exit_of(const ExecutionRecord& record) {
  if (record.state == "completed") return record.record.messages_left > 0 ? kInPart : kDone;
  if (record.state == "refused") return kRefused;
  if (record.state == "rolled_back" || record.state == "held") return kInPart;
  return kFailed;
}

int run(int argc, const char* const* argv, const CliDeps& deps) {
  Options o;
  int status = kDone;
  CLI::App app("deployclaw: finds poison messages, removes them safely, and can put them back");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--config", o.config, "config file");
  app.add_option("-o,--output", o.output, "table, json or jsonl; executions show: html too")->check(CLI::IsMember({"table", "json", "jsonl", "html"}));
  app.add_option("--data-dir", o.data_dir, "data directory, instead of the config's");
  app.add_flag("--quiet", o.quiet, "no progress");
  app.add_flag("--no-color", o.no_color, "no colours");
  const auto verb = [&](CLI::App* parent, const char* name, const char* text, int (Session::*call)()) {
    CLI::App* sub = parent->add_subcommand(name, text);
    sub->fallthrough();
    sub->callback([&, call] {
      Session session(deps, o);
      const bool html = o.output == "html" && call != &Session::executions_show;
      status = html ? session.no_html() : (session.*call)();
    });
    return sub;
  };
  const auto id = [&](CLI::App* sub, const char* what) { sub->add_option("id", o.id, what)->required(); };
  const auto family = [&](const char* name, const char* text) {
    CLI::App* sub = app.add_subcommand(name, text);
    sub->require_subcommand(1);
    sub->fallthrough();
    return sub;
  };

  verb(&app, "init", "write a commented config", &Session::init);
  verb(&app, "doctor", "test brokers, rights and the audit log", &Session::doctor);
  verb(family("config", "the config file"), "check", "validate", &Session::config_check);
  verb(&app, "topology", "tenants, brokers, queues, consumer groups", &Session::topology);
  CLI::App* analyze = verb(&app, "analyze", "health against the SLA, worst tenant first", &Session::analyze);
  analyze->add_option("--tenant", o.tenant);
  analyze->add_flag("--exit-code", o.exit_code, "end with 5 on a breach");
  CLI::App* scan = verb(&app, "scan", "poison findings; removes nothing", &Session::scan);
  scan->add_option("--tenant", o.tenant);
  scan->add_option("--queue", o.queue, "BROKER/QUEUE");
  scan->add_option("--confidence", o.confidence, "only findings at least this sure")->check(CLI::Range(0.0, 1.0));
  scan->add_flag("--explain", o.explain, "the evidence in numbers");
  scan->add_flag("--ids", o.ids, "every message's id (json)");
  scan->add_flag("--exit-code", o.exit_code, "end with 5 when something is found");
  CLI::App* plan = verb(&app, "plan", "what would be removed, why, in which waves", &Session::plan);
  plan->add_option("--tenant", o.tenant)->required();
  plan->add_option("--skill", o.skill);
  plan->add_option("--out", o.out, "write the plan to a file");
  plan->add_flag("--exit-code", o.exit_code, "end with 5 when something would be removed");
  for (const bool approve : {true, false}) {
    CLI::App* sub = app.add_subcommand(approve ? "approve" : "reject", approve ? "let a plan be applied" : "forbid a plan");
    sub->fallthrough();
    id(sub, "plan file or hash");
    sub->add_option("--reason", o.reason)->required();
    sub->callback([&, approve] { Session session(deps, o); status = session.decide(approve); });
  }
  CLI::App* apply = verb(&app, "apply", "carry out exactly that plan", &Session::apply);
  id(apply, "plan file or hash");
  apply->add_flag("--yes", o.yes, "do not ask");
  CLI::App* remediate = verb(&app, "remediate", "all five stages in one go", &Session::remediate);
  remediate->add_option("--tenant", o.tenant)->required();
  remediate->add_option("--skill", o.skill);
  remediate->add_flag("--yes", o.yes, "do not ask");
  CLI::App* rollback = verb(&app, "rollback", "put back what an execution removed", &Session::rollback);
  id(rollback, "rollback key");
  rollback->add_option("--order", o.order, "exact: in their old places where that is safe; tail: where consumers take them next")->check(CLI::IsMember({"exact", "tail"}));
  rollback->add_flag("--yes", o.yes, "do not ask");
  CLI::App* verify = verb(&app, "verify", "consumer recovery after an execution", &Session::verify);
  id(verify, "execution");
  verify->add_option("--timeout", o.timeout);
  CLI::App* executions = family("executions", "what was done");
  verb(executions, "list", "newest first", &Session::executions_list);
  id(verb(executions, "show", "one execution", &Session::executions_show), "execution");
  CLI::App* findings = family("findings", "what was found");
  verb(findings, "list", "newest first", &Session::findings_list);
  id(verb(findings, "show", "one finding", &Session::findings_show), "finding");
  CLI::App* label = verb(findings, "label", "say that a finding is poison or is not; remembered, and weighed in every look", &Session::findings_label);
  id(label, "finding");
  label->add_option("label", o.label)->required()->check(CLI::IsMember({"poison", "not-poison", "none"}));
  label->add_option("--reason", o.reason, "why; it is shown with the finding and recorded")->required();
  CLI::App* snapshots = family("snapshots", "encrypted copies of what was removed");
  for (const bool verify_them : {false, true}) {
    CLI::App* sub = snapshots->add_subcommand(verify_them ? "verify" : "list", verify_them ? "decrypt and check" : "all of them");
    sub->fallthrough();
    if (verify_them) sub->add_option("id", o.id, "execution");
    sub->callback([&, verify_them] { Session session(deps, o); status = session.snapshots(verify_them); });
  }
  CLI::App* exported = verb(snapshots, "export", "the messages of an execution, in clear, as JSON lines", &Session::snapshots_export);
  id(exported, "execution");
  exported->add_option("--out", o.out, "the file to write; its owner alone may read it");
  CLI::App* dlq = family("dlq", "dead-letter queues");
  verb(dlq, "list", "what is in them, grouped by signature", &Session::dlq_list)->add_option("--tenant", o.tenant);
  CLI::App* redrive = verb(dlq, "redrive", "send messages of one signature back to where they came from", &Session::dlq_redrive);
  redrive->add_option("queue", o.id, "BROKER/QUEUE, the dead-letter queue")->required();
  redrive->add_option("--signature", o.signature, "id of a finding, from: dlq list")->required();
  redrive->add_option("--to", o.to, "BROKER/QUEUE, where several queues send to it");
  redrive->add_option("--canary", o.canary, "so many go first")->check(CLI::Range(1, 1'000));
  redrive->add_option("--rate", o.rate, "of the others, messages a second")->check(CLI::Range(0.1, 10'000.0));
  redrive->add_option("--wait", o.wait, "after the first ones, for them to fail again");
  redrive->add_flag("--yes", o.yes, "do not ask");
  CLI::App* audit = family("audit", "the tamper-evident log");
  for (CLI::App* sub : {verb(audit, "list", "entries", &Session::audit_list), verb(audit, "show", "one entry", &Session::audit_show),
                        verb(audit, "verify", "recompute everything", &Session::audit_verify), verb(audit, "prove", "an inclusion proof", &Session::audit_prove),
                        verb(audit, "replay", "one execution as the log alone tells it, and whether it adds up", &Session::audit_replay),
                        verb(audit, "export", "all records, a line of JSON each", &Session::audit_export)}) {
    sub->add_option("--dir", o.dir, "a copy of the log's directory");
    if (sub->get_name() == "verify") sub->add_option("--key", o.key, "verifier key, or a file with it");
    if (sub->get_name() == "show" || sub->get_name() == "prove") sub->add_option("index", o.index)->required();
    if (sub->get_name() == "replay") id(sub, "execution");
    if (sub->get_name() == "export") {
      sub->add_option("--execution", o.id, "of this one only");
      sub->add_option("--out", o.out, "file, instead of stdout");
    }
  }
  CLI::App* skills = family("skills", "the protocols that the agent executes");
  verb(skills, "list", "all of them", &Session::skills_list);
  id(verb(skills, "show", "one protocol and its hashes", &Session::skills_show), "skill");
  id(verb(skills, "lint", "check a folder with a SKILL.md", &Session::skills_lint), "folder");
  CLI::App* breakers = family("breakers", "what keeps the agent from hammering a broker that is ill");
  verb(breakers, "list", "of every broker", &Session::breakers_list);
  CLI::App* reset = verb(breakers, "reset", "the broker is well again", &Session::breakers_reset);
  id(reset, "broker");
  reset->add_option("--reason", o.reason, "for the audit log")->required();
  CLI::App* restarted = verb(&app, "restart", "run an entry of the config's restarts: for a tenant", &Session::restart);
  restarted->add_option("entry", o.id, "its name")->required();
  restarted->add_option("--tenant", o.tenant)->required();
  restarted->add_option("--reason", o.reason, "for the audit log")->required();
  restarted->add_flag("--yes", o.yes, "do not ask");
  CLI::App* tokens = family("tokens", "keys to the API for others than the agent's own user");
  CLI::App* made = verb(tokens, "create", "show a new one, once", &Session::tokens_create);
  id(made, "name");
  made->add_option("--scope", o.scopes, "observe, plan, approve, apply, restore; several with commas")->required()->delimiter(',');
  made->add_option("--tenant", o.tenants, "for these alone; without it for all")->delimiter(',');
  made->add_option("--life", o.life, "until it expires, at most a year");
  verb(tokens, "list", "all of them, without their secrets", &Session::tokens_list);
  id(verb(tokens, "revoke", "it opens nothing any more", &Session::tokens_revoke), "token");
  CLI::App* watch = verb(&app, "watch", "the worst tenants, live", &Session::watch_fleet);
  watch->add_option("--tenant", o.tenant);
  watch->add_option("--interval", o.interval, "between two looks");
  id(verb(family("notifications", "who is told of trouble"), "test", "send a notice that says it is a test", &Session::notifications_test), "name");
  CLI::App* serve = verb(&app, "serve", "the agent: watches all tenants and acts where it may", &Session::serve);
  serve->add_option("--interval", o.interval, "between two looks while something is wrong; up to four times that while nothing is");
  serve->add_flag("--until-resolved", o.until_resolved, "end after the first execution");
  CLI::App* brake = family("brake", "stop everything before the next call to a broker");
  for (const auto& [name, wanted] : {std::pair<const char*, std::optional<bool>>{"on", true}, {"off", false}, {"status", std::nullopt}}) {
    CLI::App* sub = brake->add_subcommand(name, wanted ? (*wanted ? "stop everything" : "go on") : "is it on?");
    sub->fallthrough();
    if (wanted) sub->add_option("--reason", o.reason, "for the audit log");
    sub->callback([&, wanted] { Session session(deps, o); status = session.brake(wanted); });
  }
  std::string shell, topic;
  CLI::App* completions = app.add_subcommand("completion", "for bash, zsh or fish");
  completions->add_option("shell", shell)->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completions->callback([&] { status = completion(deps.terminal.out, shell, app); });
  CLI::App* help = app.add_subcommand("help", "help exit-codes");
  help->add_option("topic", topic)->check(CLI::IsMember({"exit-codes"}));
  help->callback([&] { fmt::print(deps.terminal.out, "{}", topic == "exit-codes" ? kExitCodes : app.help()); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      fmt::print(deps.terminal.out, "{}", app.help());
      return kDone;
    }
    fmt::print(deps.terminal.err, "error: {}\nRun with --help for the verbs.\n", escape(error.what()));
    return kUsage;
  } catch (const std::exception& error) {  // a state.db that does not hold what this program writes there
    fmt::print(deps.terminal.err, "error: {}\nThe data directory holds what this program did not write; nothing more is touched.\n", escape(error.what()));
    return kFailed;
  }
  return status;
}

}  // namespace claw::cli
