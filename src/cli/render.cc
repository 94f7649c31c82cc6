#include "cli/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace claw::cli {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kNameWidth = 44;

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string paint(Style style, const char* code, const std::string& text) {
  return style.colour ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

// Only colour that table() did not measure: applied to whole lines afterwards.
std::string shown(std::string_view name) { return escape(name, kNameWidth); }

std::string age(const std::optional<Millis>& value) { return value ? human(*value) : "-"; }

std::string troubles(const std::vector<BrokerTrouble>& list, Style style) {
  std::string out;
  for (const BrokerTrouble& t : list) out += paint(style, "31", "unreachable  ") + t.broker + ": " + escape(t.error.message()) + "\n";
  return out;
}

json number_or_null(const std::optional<Millis>& value) { return value ? json(value->count() / 1000) : json(nullptr); }

const char* colour_of(StageStatus status) {
  switch (status) {
    case StageStatus::complete: return "32";
    case StageStatus::skipped: return "2";
    case StageStatus::refused: return "33";
    case StageStatus::failed: return "31";
    case StageStatus::rolled_back: return "33";
  }
  std::abort();
}

}  // namespace

std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right) {
  std::vector<std::size_t> widths(right.size(), 0);
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - width(row[c]), ' ');
      line += right[c] ? pad + row[c] : row[c] + pad;
      if (c + 1 < row.size()) line += "  ";
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

namespace {

// What a look at a queue costs, why it is not looked at, and which consumers are stuck.
std::string remarks(const Topology& topology, Style style) {
  std::string out;
  for (const TenantTopology& t : topology.tenants) {
    for (const QueueView& q : t.queues) {
      const std::string queue = shown(q.id.name);
      if (!q.look.refusal.empty()) out += paint(style, "33", "not looked at  ") + queue + ": " + q.look.refusal + "\n";
      else if (!q.look.caveat.empty()) out += paint(style, "2", "looks  ") + queue + ": " + q.look.caveat + "\n";
      for (const ConsumerView& c : q.consumers)
        if (!c.stuck.empty()) out += paint(style, "33", "stuck  ") + queue + ": " + escape(c.name, 80) + " " + c.stuck + "\n";
    }
  }
  return out;
}

}  // namespace

std::string show(const Topology& topology, Style style) {
  std::vector<std::vector<std::string>> rows = {{"TENANT", "BROKER", "QUEUE", "TYPE", "BACKLOG", "HELD", "OLDEST", "GROUPS", "CONSUMERS"}};
  std::size_t queues = 0, groups = 0;
  for (const TenantTopology& t : topology.tenants) {
    for (const QueueView& q : t.queues) {
      rows.push_back({t.tenant.id, q.id.broker, shown(q.id.name), std::string(name(q.type)), grouped(q.backlog), grouped(q.held), age(q.oldest_age),
                      std::to_string(q.groups.size()), std::to_string(q.consumers.size())});
      ++queues;
      groups += q.consumer_groups();
    }
  }
  return table(rows, {false, false, false, false, true, true, true, true, true}) + remarks(topology, style) + troubles(topology.troubles, style) +
         fmt::format("{}, {}, {}.\n", counted(topology.tenants.size(), "tenant"), counted(queues, "queue"), counted(groups, "consumer group"));
}

std::string show(const Health& health, Style style) {
  std::vector<std::vector<std::string>> rows = {{"STATE", "TENANT", "TIER", "BACKLOG", "HELD", "OLDEST", "DRAINS IN", "WORST"}};
  std::size_t sick = 0, ailing = 0;
  std::string symptoms;
  for (const TenantHealth& t : health.tenants) {
    sick += t.breaches.empty() ? 0 : 1;
    ailing += t.symptoms.empty() ? 0 : 1;
    for (const Symptom& s : t.symptoms) symptoms += fmt::format("{}: {}: {}: {}\n", t.id, escape(s.queue.text(), 120), name(s.kind), s.words);
    if (!t.breaches.empty() && t.heals_in) symptoms += fmt::format("{}: heals by itself: the backlog is gone in {}\n", t.id, human(*t.heals_in));
    const std::string worst = t.breaches.empty() ? "-" : fmt::format("{} {}, limit {} (over by {}%)", t.breaches[0].what, t.breaches[0].actual, t.breaches[0].limit, t.breaches[0].over_bps / 100);
    rows.push_back({!t.breaches.empty() ? "BREACH" : !t.symptoms.empty() ? "ailing" : "ok", t.id, std::string(name(t.tier)), grouped(t.backlog), grouped(t.held), age(t.oldest_age), age(t.time_to_drain), worst});
  }
  std::string out = table(rows, {false, false, false, true, true, true, true, false}) + symptoms + troubles(health.troubles, style);
  out += fmt::format("{} of {} in breach{}.\n", sick, counted(health.tenants.size(), "tenant"), ailing > 0 ? fmt::format(", {} with symptoms", ailing) : "");
  if (sick > 0) out += fmt::format("Next: deployclaw scan --tenant {}\n", health.tenants.front().id);
  return out;
}

std::string evidence_of(const Finding& f) {
  const SignatureEvidence& e = f.evidence;
  const std::vector<std::vector<std::string>> rows = {{"", "FAILED", "PASSED", "WAITING", "IN FLIGHT"},
                                                      {"  with it", grouped(e.failing_messages), grouped(e.passes), grouped(e.waiting), grouped(e.in_flight)},
                                                      {"  without it", grouped(e.other_failures), grouped(e.other_passes), "", ""}};
  std::string out = table(rows, {false, true, true, true, true});
  out += fmt::format("  {} deliveries of it failed; confidence {:.4f}, at least {:.4f}: a threshold acts on the second\n", grouped(e.failures), f.confidence, f.lower_bound);
  if (!f.sample.empty()) out += fmt::format("  for example: {}\n", escape(fmt::format("{}", fmt::join(f.sample, ", ")), 160));
  return out + fmt::format("  if that is wrong: deployclaw findings label {}-{} not-poison --reason WHY\n", f.signature.id(), f.tenant);
}

std::string show(const Observation& seen, Style style, bool explain) {
  std::string out = fmt::format("Looked at {} in {}. Nothing was removed.\n", counted(seen.messages_seen, "message"), counted(seen.queues.size(), "queue"));
  if (!seen.outage.empty()) out += paint(style, "33", seen.outage) + "\n";
  for (const std::string& note : seen.notes) out += escape(note) + "\n";
  if (seen.findings.empty()) return out + "No message with a defect was found.\n";
  std::vector<std::vector<std::string>> rows = {{"FINDING", "MESSAGES", "CONFIDENCE", "AT LEAST", "SIGNATURE"}};
  for (const Finding& f : seen.findings)
    rows.push_back({f.signature.id(), grouped(f.count), fmt::format("{:.4f}", f.confidence), fmt::format("{:.4f}", f.lower_bound), escape(f.signature.text, 70)});
  out += table(rows, {false, true, true, true, false});
  for (const Finding& f : seen.findings) {
    out += fmt::format("\n{}  {}\n", f.signature.id(), escape(f.explanation));
    if (!f.excerpt.empty()) out += fmt::format("              {}\n", escape(f.excerpt));
    if (explain) out += evidence_of(f);
  }
  return out + fmt::format("\nNext: deployclaw plan --tenant {}\n", seen.tenant);
}

std::string show(const Proposal& proposal, Style style) {
  const Plan& plan = proposal.plan;
  std::string out = fmt::format("Plan {}  tenant {}, skill {}, valid until {}\n", proposal.hash.substr(7, 12), plan.tenant, plan.skill, rfc3339(plan.expires));
  for (const PlannedQueue& q : plan.queues)
    out += fmt::format("  > move {} of {} messages  {} -> {}\n", grouped(q.messages.size()), grouped(q.entries), shown(q.queue.text()), shown(q.quarantine));
  for (const PlannedSignature& s : plan.signatures)
    out += fmt::format("  because {} (confidence {:.4f}, at least {:.4f})\n", escape(s.signature.text, 80), static_cast<double>(s.confidence_bps) / 10'000, static_cast<double>(s.lower_bound_bps) / 10'000);
  std::string waves;
  for (const std::int64_t w : plan.limits.waves_bps) waves += fmt::format("{}{}%", waves.empty() ? "" : " -> ", w / 100);
  out += fmt::format("Blast radius: {} of {}, {}, 1 tenant. Waves: {}. An encrypted snapshot comes first.\n", grouped(plan.total()), counted(plan.messages_seen, "message"), counted(plan.queues.size(), "queue"), waves);
  for (const std::string& note : proposal.notes) out += paint(style, "33", note) + "\n";
  if (plan.waiting() > 0)
    out += fmt::format("{} more poison messages wait: an execution moves at most {}, the worst blockers first. Plan again after this one.\n", grouped(plan.waiting()), grouped(plan.limits.max_messages));
  if (!proposal.verdict.allowed()) out += paint(style, "33", "Would be refused: " + proposal.verdict.reason) + "\n";
  return out;
}

std::string show(const ExecutionRecord& record, Style style) {
  std::string out = fmt::format("{}  tenant {}  {}\n", paint(style, "1", record.execution_id), record.tenant, record.state);
  std::vector<std::vector<std::string>> rows;
  for (const StageRecord& s : record.stages) rows.push_back({"  " + s.stage, std::string(name(s.status)), human(s.duration), escape(s.output)});
  std::string lines = table(rows, {false, false, true, false});
  std::size_t start = 0;
  for (const StageRecord& s : record.stages) {
    const std::size_t end = lines.find('\n', start);
    out += paint(style, colour_of(s.status), lines.substr(start, end - start)) + "\n";
    start = end + 1;
  }
  if (!record.reason.empty()) out += "Reason: " + escape(record.reason) + "\n";
  const RemediationRecord& r = record.record;
  if (r.messages_removed > 0) {
    out += fmt::format("Removed {}, preserved {}. Downtime prevented: {}. Proof: {}\n", grouped(r.messages_removed), grouped(r.messages_preserved), r.estimated_downtime_prevented, r.compliance_fingerprint);
    out += "Undo: deployclaw rollback " + r.rollback_key + "\n";
  }
  return out;
}

std::string show(const RollbackReport& report, Style) {
  std::string out = fmt::format("{}: {} restored, {} already present, {} failed.\n", report.rollback_key, grouped(report.outcome.restored),
                                grouped(report.outcome.already_present), grouped(report.outcome.failed));
  for (const std::string& note : report.notes) out += "  " + escape(note) + "\n";
  return out;
}

std::string show(const std::vector<DeadLetters>& all, Style) {
  if (all.empty()) return "No queue of these tenants sends to a dead-letter queue.\n";
  std::string out;
  for (const DeadLetters& d : all) {
    out += fmt::format("{}  {}, from {}\n", escape(d.queue.id.text(), 80), counted(d.queue.entries, "message"), escape(d.source.text(), 80));
    if (!d.queue.look.refusal.empty()) out += "  not looked at: " + d.queue.look.refusal + "\n";
    std::uint64_t grouped_messages = 0;
    std::vector<std::vector<std::string>> rows = {{"  SIGNATURE", "MESSAGES", ""}};
    for (const Finding& f : d.seen.findings) {
      rows.push_back({"  " + f.signature.id(), grouped(f.count), escape(f.signature.text, 80)});
      grouped_messages += f.count;
    }
    if (d.seen.messages_seen > grouped_messages) rows.push_back({"  -", grouped(d.seen.messages_seen - grouped_messages), "nothing that they have in common is known to fail"});
    if (rows.size() > 1) out += table(rows, {false, true, false});
    if (!d.seen.findings.empty()) out += fmt::format("Next: deployclaw dlq redrive {} --signature {}\n", escape(d.queue.id.text(), 80), d.seen.findings.front().signature.id());
  }
  return out;
}

std::string show(const RedriveReport& report, Style) {
  const remedy::RedriveOutcome& o = report.outcome;
  std::string out = fmt::format("{}: {} sent back to {}: {}\n", report.execution_id, counted(o.sent, "message"), escape(report.target.text(), 80), escape(report.signature.text, 80));
  if (o.failed_again == 0) return out + "None was seen to fail again.\n";
  return out + fmt::format("Stopped: {} of them failed again. {} that were not sent are in the dead-letter queue as before.\n", o.failed_again, grouped(o.returned));
}

std::string show(const std::vector<DoctorLine>& lines, Style style) {
  std::string out;
  for (const DoctorLine& line : lines) {
    const bool ok = line.level == DoctorLine::Level::ok, warn = line.level == DoctorLine::Level::warn;
    out += fmt::format("{}  {}: {}\n", paint(style, ok ? "32" : warn ? "33" : "31", ok ? "ok  " : warn ? "warn" : "fail"), line.subject, escape(line.text));
    if (!line.fix.empty()) out += "      fix: " + line.fix + "\n";
  }
  return out;
}

std::string topology_json(const Topology& topology) {
  json tenants = json::array();
  for (const TenantTopology& t : topology.tenants) {
    json queues = json::array();
    for (const QueueView& q : t.queues) {
      json groups = json::array(), consumers = json::array();
      for (const GroupView& g : q.groups) groups.push_back({{"name", escape(g.name)}, {"consumers", g.consumers}, {"pending", g.pending}, {"lag", g.lag}});
      for (const ConsumerView& c : q.consumers) {
        consumers.push_back({{"group", escape(c.group)}, {"name", escape(c.name)}, {"pending", c.pending}, {"idle_ms", c.idle_ms}});
        if (!c.stuck.empty()) consumers.back()["stuck"] = c.stuck;
      }
      queues.push_back({{"broker", q.id.broker}, {"name", escape(q.id.name)}, {"type", std::string(name(q.type))}, {"backlog", q.backlog}, {"held", q.held},
                        {"consumers", consumers}, {"groups", groups}, {"dead_letter", q.dead_letter.empty() ? json(nullptr) : json(escape(q.dead_letter))}});
      for (const auto& [key, words] : {std::pair("look", &q.look.caveat), std::pair("no_look", &q.look.refusal), std::pair("no_removal", &q.look.no_removal)})
        if (!words->empty()) queues.back()[key] = *words;
    }
    tenants.push_back({{"id", t.tenant.id}, {"tier", std::string(name(t.tenant.tier))}, {"queues", queues}});
  }
  return json{{"tenants", tenants}}.dump(1);
}

std::string health_json(const Health& health) {
  json tenants = json::array();
  for (const TenantHealth& t : health.tenants) {
    json breaches = json::array();
    for (const Breach& b : t.breaches)
      breaches.push_back({{"queue", b.queue.name.empty() ? json(nullptr) : json(escape(b.queue.text()))}, {"what", b.what}, {"limit", b.limit}, {"actual", b.actual}, {"over_bps", b.over_bps}});
    json symptoms = json::array();
    for (const Symptom& s : t.symptoms) symptoms.push_back({{"queue", escape(s.queue.text())}, {"kind", std::string(name(s.kind))}, {"since", rfc3339(s.since)}, {"words", s.words}});
    tenants.push_back({{"id", t.id}, {"severity_bps", t.severity_bps}, {"breaches", breaches}, {"oldest_age_s", number_or_null(t.oldest_age)},
                       {"time_to_drain_s", number_or_null(t.time_to_drain)}, {"backlog", t.backlog}, {"symptoms", symptoms}, {"heals_in_s", number_or_null(t.heals_in)}});
  }
  return json{{"tenants", tenants}}.dump(1);
}

std::string scan_json(const Observation& seen, const std::string& queue, bool ids) {
  json findings = json::array(), notes = json::array();
  for (const std::string& note : seen.notes) notes.push_back(escape(note));
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < seen.findings.size(); ++i) {
    const Finding& f = seen.findings[i];
    const SignatureEvidence& e = f.evidence;
    total += f.lower_bound > 0 ? f.count : 0;
    json one = {{"signature", escape(f.signature.text)}, {"explanation", escape(f.explanation)}, {"path", escape(f.signature.path)}, {"count", f.count},
                {"confidence", f.confidence}, {"lower_bound", f.lower_bound},
                {"evidence", {{"failures", e.failures}, {"failing_messages", e.failing_messages}, {"passes", e.passes}, {"waiting", e.waiting}, {"in_flight", e.in_flight},
                              {"other_failures", e.other_failures}, {"other_passes", e.other_passes}}},
                {"sample", f.sample}, {"id", f.signature.id()}};
    if (ids) {
      json all = json::array();
      for (const PoisonRef& ref : seen.members[i]) all.push_back({{"queue", escape(seen.queues.at(ref.queue).id.text())}, {"id", message_id(seen.queues.at(ref.queue).type, ref)}});
      one["ids"] = std::move(all);
    }
    findings.push_back(std::move(one));
  }
  return json{{"queue", escape(queue)}, {"messages_seen", seen.messages_seen}, {"findings", findings}, {"poison_total", total}, {"outage", escape(seen.outage)}, {"notes", notes}}.dump(1);
}

std::string rollback_json(const RollbackReport& report) {
  json notes = json::array();
  for (const std::string& note : report.notes) notes.push_back(escape(note));
  json queues = json::array();
  for (const QueueRollback& q : report.queues)
    queues.push_back({{"queue", escape(q.queue.text())}, {"restored", q.outcome.restored}, {"in_place", q.outcome.in_place}, {"already_present", q.outcome.already_present},
                      {"failed", q.outcome.failed}, {"from_vault", q.outcome.from_vault}, {"foreign", q.outcome.foreign}, {"repeated_deliveries", q.outcome.repeats},
                      {"order", name(q.outcome.achieved)}, {"why", escape(q.outcome.why_not_exact)}});
  return json{{"rollback_key", report.rollback_key}, {"restored", report.outcome.restored}, {"already_present", report.outcome.already_present}, {"failed", report.outcome.failed},
              {"order", name(report.outcome.achieved)}, {"queues", queues}, {"notes", notes}}.dump(1);
}

std::string dead_letters_json(const std::vector<DeadLetters>& all) {
  json queues = json::array();
  for (const DeadLetters& d : all) {
    json groups = json::array();
    for (const Finding& f : d.seen.findings) groups.push_back({{"id", f.signature.id()}, {"signature", escape(f.signature.text)}, {"path", escape(f.signature.path)}, {"count", f.count}, {"sample", f.sample}});
    queues.push_back({{"queue", escape(d.queue.id.text())}, {"source", escape(d.source.text())}, {"messages", d.queue.entries}, {"messages_seen", d.seen.messages_seen}, {"refusal", d.queue.look.refusal}, {"groups", groups}});
  }
  return json{{"dead_letter_queues", queues}}.dump(1);
}

std::string redrive_json(const RedriveReport& report) {
  const remedy::RedriveOutcome& o = report.outcome;
  return json{{"execution_id", report.execution_id}, {"rollback_key", rollback_key_of(report.execution_id)}, {"target", escape(report.target.text())}, {"signature", report.signature.id()},
              {"taken", o.taken}, {"sent", o.sent}, {"failed_again", o.failed_again}, {"returned", o.returned}}.dump(1);
}

std::string verify_json(const VerifyReport& report) {
  return json{{"ok", report.ok}, {"size", report.size}, {"root", report.root}, {"origin", report.origin}, {"witnessed", report.witnessed},
              {"first_bad", report.first_bad ? json(*report.first_bad) : json(nullptr)}, {"problem", escape(report.problem)}}.dump(1);
}

}  // namespace claw::cli
