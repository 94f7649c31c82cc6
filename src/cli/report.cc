#include "cli/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"

namespace claw::cli {
namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--ink:#1a1d21;--dim:#5b6470;--line:#d6dbe1;--bar:#2f6fde;--good:#13703a;--bad:#b3261e;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#a3abb5;--line:#3a4048;--bar:#7fb0ff;--good:#6fd08c;--bad:#ff8a80;--paper:#15181c}}
@media print{:root{--ink:#000;--dim:#444;--line:#bbb;--bar:#333;--good:#000;--bad:#000;--paper:#fff}section{break-inside:avoid}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}.dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th,.n,.s{white-space:nowrap}.n{text-align:right;font-variant-numeric:tabular-nums}code{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;margin:1rem 0}dt{color:var(--dim)}dd{margin:0;font-size:1.3rem}
svg{width:100%;height:auto;display:block}svg rect{fill:var(--bar)}svg polyline{fill:none;stroke:var(--bar);stroke-width:1.5}svg text{fill:var(--ink);font:11px system-ui}svg text.in{fill:var(--paper)}svg line{stroke:var(--bad);stroke-dasharray:3 3}
)";

std::string html(std::string_view text) {
  std::string out;
  for (const char c : escape(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string percent(std::int64_t bps) { return fmt::format("{:.2f}%", static_cast<double>(bps) / 100); }

std::string figure(std::string_view name, const std::string& value) { return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", name, value); }

std::string summary(const ReportFacts& f) {
  const RemediationRecord& r = f.record.record;
  std::string out = fmt::format("<header><p class=dim>DeployClaw · incident report</p><h1>{} · {}</h1><p>{} · <b class={}>{}</b></p>", html(f.record.tenant), html(f.record.execution_id),
                                rfc3339(f.record.timestamp), f.record.state == "completed" || f.record.state == "rolled_back" ? "good" : "bad", html(f.record.state));
  if (!f.record.reason.empty()) out += "<p>" + html(f.record.reason) + "</p>";
  Millis took{0};
  for (const StageRecord& s : f.record.stages) took += s.duration;
  out += "<dl>" + figure("removed", grouped(r.messages_removed)) + figure("preserved", grouped(r.messages_preserved)) + figure("left alone", grouped(r.messages_left)) + figure("took", human(took)) +
         figure("downtime prevented", html(r.estimated_downtime_prevented)) + "</dl>";
  if (r.messages_removed > 0 && f.record.state != "rolled_back") out += "<p>To undo it: <code>deployclaw rollback " + html(r.rollback_key) + "</code></p>";
  return out + "</header>";
}

// A bar a stage, one after the other.
std::string timeline(const std::vector<StageRecord>& stages) {
  if (stages.empty()) return {};
  Millis total{0};
  for (const StageRecord& s : stages) total += s.duration;
  constexpr double kWidth = 900, kRow = 26;
  const double scale = kWidth / static_cast<double>(std::max<std::int64_t>(1, total.count()));
  std::string bars, rows;
  double at = 0, y = 0;
  for (const StageRecord& s : stages) {
    const double width = std::max(2.0, static_cast<double>(s.duration.count()) * scale);
    // The name goes where there is room: behind the bar, before it, or on it.
    const bool behind = at + width < kWidth * 0.75, before = !behind && at > kWidth * 0.25;
    bars += fmt::format("<rect x='{:.1f}' y='{:.0f}' width='{:.1f}' height='14' rx='2'/><text x='{:.1f}' y='{:.0f}'{}>{} {}</text>", std::min(at, kWidth - width), y + 3, width, behind ? at + width + 6 : before ? at - 6 : at + 6, y + 14,
                        behind ? "" : before ? " text-anchor='end'" : " class='in'", html(s.stage), human(s.duration));
    rows += fmt::format("<tr><td class=s>{}<td class='s {}'>{}<td class=n>{}<td>{}", html(s.stage), s.status == StageStatus::complete ? "good" : "bad", name(s.status), human(s.duration), html(s.output));
    at += static_cast<double>(s.duration.count()) * scale;
    y += kRow;
  }
  return fmt::format("<section><h2>What happened, and when</h2><svg viewBox='0 0 {:.0f} {:.0f}' role='img' aria-label='Duration of each stage'>{}</svg><table><tr><th>stage<th>status<th class=n>took<th>what{}</table></section>",
                     kWidth, y, bars, rows);
}

std::string backlogs(const ReportFacts& f) {
  std::string out;
  for (const auto& [queue, samples] : f.history) {
    if (samples.size() < 2) continue;
    const double from = static_cast<double>(samples.front().at.time_since_epoch().count()), to = static_cast<double>(samples.back().at.time_since_epoch().count());
    std::uint64_t most = 1;
    for (const Sample& s : samples) most = std::max(most, s.backlog);
    if (to <= from) continue;
    constexpr double kWidth = 900, kHeight = 120;
    const auto x = [&](WallTime at) { return (static_cast<double>(at.time_since_epoch().count()) - from) / (to - from) * kWidth; };
    std::string points;
    for (const Sample& s : samples) points += fmt::format("{:.1f},{:.1f} ", x(s.at), kHeight - static_cast<double>(s.backlog) / static_cast<double>(most) * (kHeight - 16));
    const double mark = std::clamp(x(f.record.timestamp), 0.0, kWidth);
    out += fmt::format("<h3>{}</h3><svg viewBox='0 0 900 140' role='img' aria-label='Backlog over time'><polyline points='{}'/><line x1='{:.1f}' y1='0' x2='{:.1f}' y2='120'/><text x='0' y='12'>{}</text><text x='0' y='136'>{}</text><text x='900' y='136' text-anchor='end'>{}</text></svg>",
                       html(queue.text()), points, mark, mark, grouped(most), rfc3339(samples.front().at), rfc3339(samples.back().at));
  }
  return out.empty() ? out : "<section><h2>Backlog</h2><p class=dim>The dashed line is where the execution began.</p>" + out + "</section>";
}

std::string evidence(const Plan& plan) {
  std::string rows;
  for (const PlannedSignature& s : plan.signatures)
    rows += fmt::format("<tr><td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td>{}", html(s.signature.text), grouped(s.count), percent(s.confidence_bps), percent(s.lower_bound_bps), html(s.explanation));
  std::string queues;
  for (const PlannedQueue& q : plan.queues)
    queues += fmt::format("<tr><td>{}<td>{}<td class=n>{}<td class=n>{}<td>{}", html(q.queue.text()), name(q.type), grouped(q.entries), grouped(q.messages.size()), html(q.quarantine));
  std::string waves;
  for (const std::int64_t bps : plan.limits.waves_bps) waves += (waves.empty() ? "" : ", ") + percent(bps);
  return fmt::format("<section><h2>Why these messages</h2><table><tr><th>signature<th class=n>messages<th class=n>confidence<th class=n>at least<th>evidence{}</table></section>"
                     "<section><h2>What the plan allowed</h2><table><tr><th>queue<th>type<th class=n>seen<th class=n>to remove<th>into{}</table>"
                     "<p>In waves up to {}; at most {} messages and {}% of a queue; refused above {}% poison; lower bound of confidence {}. Skill {}, asked for by {}.</p>"
                     "<p class=dim>Plan <code>{}</code>, protocol <code>{}</code>, detector {}</p></section>",
                     rows, queues, waves, grouped(plan.limits.max_messages), plan.limits.max_queue_bps / 100, plan.limits.refuse_above_bps / 100, percent(plan.limits.confidence_bps), html(plan.skill), html(plan.requester),
                     html(plan_hash(plan)), html(plan.protocol), html(plan.detector));
}

std::string proofs(const ReportFacts& f) {
  std::string rows;
  for (const AuditEntry& e : f.entries) {
    const auto record = nlohmann::json::parse(e.bytes, nullptr, false);
    if (record.is_discarded()) continue;
    std::string what;
    for (const auto& [key, value] : record.items())
      if (key != "type" && key != "ts" && key != "execution") what += fmt::format("{}{} {}", what.empty() ? "" : ", ", key, value.is_string() ? value.get<std::string>() : value.dump());
    rows += fmt::format("<tr><td class=n>{}<td class=s>{}<td class=s>{}<td>{}<td class=s><code>{}</code>", e.index, html(record.value("ts", "-")), html(record.value("type", "-")), html(what.substr(0, 300)), sha256_label(e.bytes).substr(7, 16) + "…");
  }
  const std::string verdict = f.log.ok ? fmt::format("<b class=good>The log verifies</b>: {} entries, root <code>{}</code>, signed by {}.", grouped(f.log.size), html(f.log.root), html(f.log.origin))
                                       : "<b class=bad>The log does not verify</b>: " + html(f.log.problem);
  return fmt::format("<section><h2>Proof</h2><p>{}</p><p>Fingerprint of the closing record: <code>{}</code></p><table><tr><th class=n>entry<th>time<th>record<th>what<th>SHA-256{}</table>"
                     "<p>Check it yourself, with a copy of the log and this key alone: <code>deployclaw audit verify --dir COPY --key '{}'</code>; one entry: <code>deployclaw audit prove INDEX</code>.</p></section>",
                     verdict, html(f.record.record.compliance_fingerprint), rows, html(f.verifier_key));
}

}  // namespace

std::string report_html(const ReportFacts& f) {
  return fmt::format("<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
                     "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>{} · DeployClaw</title><style>{}</style></head><body>"
                     "{}{}{}{}{}<footer class=dim><p>Made {} from the agent's own records. Values of messages are not in this page.</p></footer></body></html>\n",
                     html(f.record.execution_id), kStyle, summary(f), timeline(f.record.stages), backlogs(f), f.plan ? evidence(*f.plan) : "", proofs(f), rfc3339(f.now));
}

}  // namespace claw::cli
