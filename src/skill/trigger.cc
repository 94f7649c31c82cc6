#include "skill/trigger.h"

#include <algorithm>
#include <cstdlib>

namespace claw::skill {
namespace {

bool compare(std::int64_t left, Comparison op, std::int64_t right) {
  switch (op) {
    case Comparison::gt: return left > right;
    case Comparison::gte: return left >= right;
    case Comparison::lt: return left < right;
    case Comparison::lte: return left <= right;
  }
  std::abort();
}

}  // namespace

std::optional<std::int64_t> reading(Metric metric, const TenantHealth& health) {
  switch (metric) {
    case Metric::sla_breach_bps: return health.breaches.empty() ? 0 : health.breaches.front().over_bps;
    case Metric::redelivered_bps: return health.redelivered_bps;
    case Metric::poison_bps: return std::nullopt;  // only a look tells, and a look is what a trigger leads to
    case Metric::backlog: return static_cast<std::int64_t>(health.backlog);
    case Metric::oldest_age_s:
      if (!health.oldest_age) return std::nullopt;
      return std::chrono::duration_cast<Seconds>(*health.oldest_age).count();
    case Metric::stalled_consumers:
      return std::count_if(health.symptoms.begin(), health.symptoms.end(), [](const Symptom& s) { return s.kind == SymptomKind::stalled; });
  }
  std::abort();
}

bool TriggerWatch::met(const Protocol& protocol, const TenantHealth& health, MonoTime now) {
  since_.resize(protocol.trigger.size());
  bool any = false;
  for (std::size_t i = 0; i < protocol.trigger.size(); ++i) {
    const Condition& condition = protocol.trigger[i];
    const std::optional<std::int64_t> value = reading(condition.metric, health);
    if (!value || !compare(*value, condition.op, condition.value)) {
      since_[i].reset();
      continue;
    }
    if (!since_[i]) since_[i] = now;
    any = any || now - *since_[i] >= condition.held;
  }
  return any;
}

}  // namespace claw::skill
