#include "policy/alerts.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/text.h"

namespace claw {
namespace {

std::string severity_of(Tier tier) {
  switch (tier) {
    case Tier::critical: return "critical";
    case Tier::standard: return "warning";
    case Tier::batch: return "info";
  }
  std::abort();
}

std::vector<std::string> lines_of(const TenantHealth& health) {
  std::vector<std::string> lines;
  if (!health.heals_in)
    for (const Breach& b : health.breaches)
      lines.push_back(fmt::format("{}{} {} against {} (over by {}%)", b.queue.name.empty() ? "" : escape(b.queue.text(), 120) + ": ", b.what, b.actual, b.limit, b.over_bps / 100));
  for (const Symptom& s : health.symptoms) lines.push_back(fmt::format("{}: {}: {}", escape(s.queue.text(), 120), name(s.kind), s.words));
  return lines;
}

}  // namespace

Alerts::Change Alerts::update(std::span<const TenantHealth> tenants, const std::map<BrokerName, std::string>& unreachable, const std::set<TenantId>& unknown, WallTime now) {
  std::map<std::string, Alert> wrong;
  for (const TenantHealth& health : tenants) {
    std::vector<std::string> lines = lines_of(health);
    if (lines.empty()) continue;
    const std::string id = "tenant:" + health.id;
    wrong[id] = {.id = id, .tenant = health.id, .severity = severity_of(health.tier), .summary = health.id + ": " + lines.front(), .details = std::move(lines), .since = now};
  }
  for (const auto& [broker, why] : unreachable) {
    const std::string id = "broker:" + broker;
    wrong[id] = {.id = id, .tenant = {}, .severity = "critical", .summary = broker + " cannot be asked: " + why, .details = {why}, .since = now};
  }

  Change change;
  for (auto& [id, alert] : wrong) {
    Known& known = known_.try_emplace(id, Known{.alert = alert}).first->second;
    known.good_since = {};
    alert.since = known.alert.since;
    if (!known.open) known.alert = std::move(alert);  // an open one stays as it was told
    if (known.open || now - known.alert.since < rule_.open_after) continue;
    known.open = true;
    change.opened.push_back(known.alert);
  }
  for (auto known = known_.begin(); known != known_.end();) {
    Known& one = known->second;
    if (wrong.contains(known->first) || unknown.contains(one.alert.tenant)) {
      ++known;
      continue;
    }
    if (one.good_since == WallTime{}) one.good_since = now;
    const bool over = !one.open || now - one.good_since >= rule_.close_after;
    if (over && one.open) change.closed.push_back(one.alert);
    known = over ? known_.erase(known) : std::next(known);
  }
  return change;
}

}  // namespace claw
