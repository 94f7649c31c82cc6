// GET /metrics in the text format of Prometheus; base units.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "agent/brake.h"
#include "api/api.h"
#include "api/call.h"
#include "base/text.h"

namespace claw::api {
namespace {

std::string label(std::string_view value) {
  std::string out;
  for (const char c : escape(value)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

// One family: help and type once, then its samples.
class Family {
 public:
  Family(std::string& out, std::string_view name, std::string_view type, std::string_view help) : out_(out), name_(name) {
    out_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  void add(std::string_view labels, double value) { out_ += fmt::format("{}{}{}{} {}\n", name_, labels.empty() ? "" : "{", labels, labels.empty() ? "" : "}", value); }

 private:
  std::string& out_;
  std::string_view name_;
};

template <class F>
void per_queue(std::string& out, const Topology& topology, std::string_view name, std::string_view help, F&& value) {
  Family family(out, name, "gauge", help);
  for (const TenantTopology& t : topology.tenants)
    for (const QueueView& q : t.queues)
      if (const std::optional<double> v = value(q)) family.add(fmt::format("tenant=\"{}\",broker=\"{}\",queue=\"{}\"", label(t.tenant.id), label(q.id.broker), label(q.id.name)), *v);
}

double seconds(Millis value) { return static_cast<double>(value.count()) / 1000; }

}  // namespace

Result<http::Response> Api::metrics(const Call&) {
  std::string out;
  Family(out, "deployclaw_brake", "gauge", "1 while the brake stops everything").add("", brake_on(d_.disk, d_.agent.config().data_dir) ? 1 : 0);
  Family(out, "deployclaw_audit_entries", "gauge", "Entries of the audit log").add("", static_cast<double>(d_.agent.audit().size()));
  CLAW_TRY_ASSIGN(const auto records, d_.agent.store().executions(1'000));
  std::map<std::string, double> outcomes;
  double moved = 0;
  for (const ExecutionRecord& r : records) {
    ++outcomes[r.state];
    moved += static_cast<double>(r.record.messages_removed);
  }
  Family executions(out, "deployclaw_executions_total", "counter", "Executions in the store by outcome, of the last thousand");
  for (const auto& [outcome, count] : outcomes) executions.add(fmt::format("outcome=\"{}\"", label(outcome)), count);
  Family(out, "deployclaw_messages_moved_total", "counter", "Messages set aside by the executions in the store, of the last thousand").add("", moved);
  const auto seen = d_.board.latest();
  if (!seen) return http::Response{.type = "text/plain; version=0.0.4; charset=utf-8", .body = std::move(out)};

  Family(out, "deployclaw_evaluation_timestamp_seconds", "gauge", "When all tenants were looked at last").add("", static_cast<double>(seen->at.time_since_epoch().count()) / 1000);
  per_queue(out, seen->topology, "deployclaw_queue_messages", "Messages that are ready", [](const QueueView& q) { return std::optional(static_cast<double>(q.backlog)); });
  per_queue(out, seen->topology, "deployclaw_queue_held_messages", "Messages delivered and not acknowledged", [](const QueueView& q) { return std::optional(static_cast<double>(q.held)); });
  per_queue(out, seen->topology, "deployclaw_queue_oldest_message_age_seconds", "Age of the oldest message",
            [](const QueueView& q) { return q.oldest_age ? std::optional(seconds(*q.oldest_age)) : std::nullopt; });
  per_queue(out, seen->topology, "deployclaw_queue_consumers", "Connected consumers", [](const QueueView& q) { return std::optional(static_cast<double>(q.consumers.size())); });
  Family drain(out, "deployclaw_time_to_drain_seconds", "gauge", "Until the backlog is gone, at the present speed");
  for (const TenantHealth& h : seen->health.tenants)
    if (h.time_to_drain) drain.add(fmt::format("tenant=\"{}\"", label(h.id)), seconds(*h.time_to_drain));
  Family severity(out, "deployclaw_sla_severity_ratio", "gauge", "How far beyond its SLA a tenant is, weighted by tier; 0 = within");
  for (const TenantHealth& h : seen->health.tenants) severity.add(fmt::format("tenant=\"{}\"", label(h.id)), static_cast<double>(h.severity_bps) / 10'000);
  Family symptoms(out, "deployclaw_symptom", "gauge", "1 for each thing that is wrong with a queue and no threshold shows");
  for (const TenantHealth& h : seen->health.tenants)
    for (const Symptom& s : h.symptoms) symptoms.add(fmt::format("tenant=\"{}\",broker=\"{}\",queue=\"{}\",kind=\"{}\"", label(h.id), label(s.queue.broker), label(s.queue.name), name(s.kind)), 1);
  Family broken(out, "deployclaw_broker_up", "gauge", "0 when the broker did not answer the last evaluation");
  for (const BrokerConfig& b : d_.agent.config().brokers) {
    const bool down = std::any_of(seen->topology.troubles.begin(), seen->topology.troubles.end(), [&](const BrokerTrouble& t) { return t.broker == b.name; });
    broken.add(fmt::format("broker=\"{}\"", label(b.name)), down ? 0 : 1);
  }
  return http::Response{.type = "text/plain; version=0.0.4; charset=utf-8", .body = std::move(out)};
}

}  // namespace claw::api
