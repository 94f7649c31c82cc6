#include "policy/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>

#include "base/text.h"

namespace claw {
namespace {

constexpr std::int64_t kWorst = 1'000'000'000;  // 100,000 times the limit: enough to rank, safe to add

std::int64_t over_bps(double actual, double limit) {
  if (limit <= 0) return actual > 0 ? kWorst : 0;
  return static_cast<std::int64_t>(std::min<double>(kWorst, std::floor((actual - limit) * 10'000 / limit)));
}

std::int64_t weighted(std::int64_t bps, Tier tier) {
  switch (tier) {
    case Tier::critical: return bps;
    case Tier::standard: return bps / 2;
    case Tier::batch: return bps / 4;
  }
  std::abort();
}

std::optional<double> sum_known(const std::map<QueueId, double>& rates, std::span<const QueueView> queues) {
  double sum = 0;
  for (const QueueView& queue : queues) {
    const auto found = rates.find(queue.id);
    if (found == rates.end()) return std::nullopt;
    sum += found->second;
  }
  if (queues.empty()) return std::nullopt;
  return sum;
}

void check_backlog(TenantHealth& health, const Sla& sla) {
  if (!sla.max_backlog || health.backlog <= *sla.max_backlog) return;
  health.breaches.push_back({.queue = {}, .what = "backlog", .limit = grouped(*sla.max_backlog), .actual = grouped(health.backlog),
                             .over_bps = over_bps(static_cast<double>(health.backlog), static_cast<double>(*sla.max_backlog))});
}

void check_age(TenantHealth& health, const Sla& sla, std::span<const QueueView> queues) {
  for (const QueueView& queue : queues) {
    if (!queue.oldest_age) continue;
    if (!health.oldest_age || *health.oldest_age < *queue.oldest_age) health.oldest_age = queue.oldest_age;
    if (!sla.max_age || queue.backlog == 0 || *queue.oldest_age <= *sla.max_age) continue;
    health.breaches.push_back({.queue = queue.id, .what = "age", .limit = human(*sla.max_age), .actual = human(*queue.oldest_age),
                               .over_bps = over_bps(static_cast<double>(queue.oldest_age->count()), static_cast<double>(sla.max_age->count()))});
  }
}

void check_drain(TenantHealth& health, const Sla& sla, std::span<const QueueView> queues, const Rates& rates) {
  const std::optional<double> acks = sum_known(rates.acks_per_s, queues);
  if (!acks) return;
  const double falling = *acks - sum_known(rates.arrivals_per_s, queues).value_or(0);
  if (falling > 0) health.time_to_drain = Millis(static_cast<std::int64_t>(static_cast<double>(health.backlog) / falling * 1000));
  if (sla.drain_within && health.backlog > 0 && (!health.time_to_drain || *health.time_to_drain > *sla.drain_within)) {
    const bool never = !health.time_to_drain;
    health.breaches.push_back({.queue = {}, .what = "drain", .limit = human(*sla.drain_within), .actual = never ? "never" : human(*health.time_to_drain),
                               .over_bps = never ? 10'000 : over_bps(static_cast<double>(health.time_to_drain->count()), static_cast<double>(sla.drain_within->count()))});
  }
  if (sla.min_throughput && health.backlog > 0 && *acks < *sla.min_throughput) {
    health.breaches.push_back({.queue = {}, .what = "throughput", .limit = fmt::format("{:.0f}/s", *sla.min_throughput), .actual = fmt::format("{:.1f}/s", *acks),
                               .over_bps = static_cast<std::int64_t>((1 - *acks / *sla.min_throughput) * 10'000)});
  }
}

// Of 10,000 deliveries of the last minute, how many were not the first: acknowledgements stand for the first ones.
std::optional<std::int64_t> redelivered_share(std::span<const QueueView> queues, const History& history) {
  constexpr Millis kWindow = std::chrono::seconds(60);
  constexpr std::uint64_t kEnough = 20;  // deliveries: of fewer a share says nothing
  std::uint64_t again = 0, done = 0;
  for (const QueueView& queue : queues) {
    const std::span<const Sample> all = history.of(queue.id);
    if (all.empty()) continue;
    const std::span<const Sample> samples = history.of(queue.id, all.back().at - kWindow);
    if (samples.size() < 2) continue;
    again += samples.back().redelivered - std::min(samples.front().redelivered, samples.back().redelivered);
    done += samples.back().acknowledged - std::min(samples.front().acknowledged, samples.back().acknowledged);
  }
  if (again + done < kEnough) return std::nullopt;
  return static_cast<std::int64_t>(again * 10'000 / (again + done));
}

Verdict refuse(Refusal refusal, std::string reason) { return {refusal, std::move(reason)}; }

// Shares are compared in 128 bits: no count of messages overflows.
bool share_above(std::uint64_t part, std::uint64_t whole, std::int64_t bps) {
  return static_cast<unsigned __int128>(part) * 10'000 > static_cast<unsigned __int128>(whole) * static_cast<std::uint64_t>(bps);
}

Verdict judge_size(const Plan& plan) {
  const Limits& limits = plan.limits;
  // Shares are those of all that qualified: a plan that takes a part of it is no way around them.
  const std::uint64_t poison = std::max(plan.poison, plan.total());
  if (share_above(poison, plan.messages_seen, limits.refuse_above_bps))
    return refuse(Refusal::too_much_poison,
                  fmt::format("{} of {} messages are called poison, more than {}%: the consumer is broken, not the messages",
                              grouped(poison), grouped(plan.messages_seen), limits.refuse_above_bps / 100));
  if (plan.total() > limits.max_messages)
    return refuse(Refusal::over_blast_radius, fmt::format("{} messages, at most {} an execution", grouped(plan.total()), grouped(limits.max_messages)));
  if (plan.bytes > limits.max_bytes)
    return refuse(Refusal::over_blast_radius, fmt::format("{} bytes, at most {} an execution", grouped(plan.bytes), grouped(limits.max_bytes)));
  for (const PlannedQueue& queue : plan.queues) {
    const std::uint64_t of_queue = std::max<std::uint64_t>(queue.poison, queue.messages.size());
    if (share_above(of_queue, queue.entries, limits.max_queue_bps))
      return refuse(Refusal::over_blast_radius,
                    fmt::format("{} of {} messages of {}, at most {}% of a queue", grouped(of_queue), grouped(queue.entries),
                                escape(queue.queue.text()), limits.max_queue_bps / 100));
  }
  return {};
}

Verdict judge_consent(const Facts& facts) {
  if (facts.by_person) return {};
  if (!facts.approver.empty()) return {};
  if (facts.approvals > 0 && facts.autonomy != Autonomy::observe) return refuse(Refusal::needs_approval, "the skill asks for a person's approval: approve the plan to go on");
  switch (facts.autonomy) {
    case Autonomy::observe: return refuse(Refusal::autonomy, "the tenant's autonomy is observe: nothing is ever removed by the agent");
    case Autonomy::propose: return refuse(Refusal::needs_approval, "the tenant's autonomy is propose: approve the plan to go on");
    case Autonomy::act: return {};
  }
  std::abort();
}

}  // namespace

TenantHealth evaluate(const Tenant& tenant, std::span<const QueueView> queues, const Rates& rates) {
  TenantHealth health;
  health.id = tenant.id;
  health.tier = tenant.tier;
  for (const QueueView& queue : queues) {
    health.backlog += queue.backlog;
    health.held += queue.held;
  }
  check_backlog(health, tenant.sla);
  check_age(health, tenant.sla, queues);
  check_drain(health, tenant.sla, queues, rates);
  std::stable_sort(health.breaches.begin(), health.breaches.end(), [](const Breach& a, const Breach& b) { return a.over_bps > b.over_bps; });
  if (!health.breaches.empty()) health.severity_bps = weighted(health.breaches.front().over_bps, tenant.tier);
  return health;
}

TenantHealth evaluate(const Tenant& tenant, std::span<const QueueView> queues, const Rates& rates, const History& history) {
  constexpr Millis kSoon = std::chrono::minutes(5);
  TenantHealth health = evaluate(tenant, queues, rates);
  bool heals = health.backlog > 0;
  Millis longest{0};
  for (const QueueView& queue : queues) {
    const std::span<const Sample> samples = history.of(queue.id);
    std::ranges::move(symptoms_of(queue.id, samples), std::back_inserter(health.symptoms));
    const std::optional<Millis> one = heals_within(samples, tenant.sla.drain_within.value_or(kSoon));
    heals = heals && one;
    if (one) longest = std::max(longest, *one);
  }
  std::ranges::stable_sort(health.symptoms, {}, &Symptom::kind);
  health.redelivered_bps = redelivered_share(queues, history);
  if (heals && health.symptoms.empty()) health.heals_in = longest;
  return health;
}

bool worse(const TenantHealth& a, const TenantHealth& b) {
  if (a.severity_bps != b.severity_bps) return a.severity_bps > b.severity_bps;
  if (a.symptoms.empty() != b.symptoms.empty()) return b.symptoms.empty();
  if (a.tier != b.tier) return a.tier < b.tier;
  if (a.backlog != b.backlog) return a.backlog > b.backlog;
  return a.id < b.id;
}

std::string policy_words(std::string_view skill) {
  std::string words(skill);
  for (char& c : words) c = c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return words;
}

std::string_view name(Refusal refusal) {
  switch (refusal) {
    case Refusal::none: return "none";
    case Refusal::brake_on: return "brake_on";
    case Refusal::autonomy: return "autonomy";
    case Refusal::needs_approval: return "needs_approval";
    case Refusal::over_blast_radius: return "over_blast_radius";
    case Refusal::too_much_poison: return "too_much_poison";
    case Refusal::outage: return "outage";
    case Refusal::nothing_to_do: return "nothing_to_do";
    case Refusal::cooling_down: return "cooling_down";
    case Refusal::plan_expired: return "plan_expired";
    case Refusal::other_execution: return "other_execution";
    case Refusal::disk_room: return "disk_room";
    case Refusal::stale_skill: return "stale_skill";
    case Refusal::foreign_plan: return "foreign_plan";
    case Refusal::self_approval: return "self_approval";
    case Refusal::breaker_open: return "breaker_open";
    case Refusal::edited_plan: return "edited_plan";
  }
  std::abort();
}

Verdict judge(const Plan& plan, const Facts& facts) {
  if (facts.brake_on) return refuse(Refusal::brake_on, "the brake is on (or cannot be read): nothing is touched");
  if (!facts.outage.empty()) return refuse(Refusal::outage, facts.outage);
  if (plan.total() == 0) return refuse(Refusal::nothing_to_do, "no message reaches the confidence needed");
  if (Verdict size = judge_size(plan); !size.allowed()) return size;
  if (!facts.open_breaker.empty()) return refuse(Refusal::breaker_open, facts.open_breaker);
  if (facts.other_execution) return refuse(Refusal::other_execution, "another execution on this tenant is not finished");
  if (facts.now > plan.expires) return refuse(Refusal::plan_expired, "the plan expired at " + rfc3339(plan.expires) + "; make a new one");
  if (!facts.approver.empty() && facts.approver == plan.requester && !facts.by_person)
    return refuse(Refusal::self_approval, "a plan is never approved by the one who asked for it");
  if (Verdict consent = judge_consent(facts); !consent.allowed()) return consent;
  if (!facts.by_person && facts.last_execution_end && facts.now - *facts.last_execution_end < facts.cooldown)
    return refuse(Refusal::cooling_down, fmt::format("the last execution ended {} ago; the agent waits {}", human(facts.now - *facts.last_execution_end), human(facts.cooldown)));
  if (facts.disk_free < plan.bytes * 2)
    return refuse(Refusal::disk_room, fmt::format("{} bytes free for the snapshot, expected {}", grouped(facts.disk_free), grouped(plan.bytes * 2)));
  return {};
}

Millis cooldown_after(Millis of_skill, std::size_t executions_of_the_day) {
  Millis wait = std::max(of_skill, kCooldown);
  for (std::size_t i = 1; i < executions_of_the_day && wait < kLongestCooldown; ++i) wait *= 2;
  return std::min(wait, std::max(of_skill, kLongestCooldown));
}

RecoveryEstimate estimate_recovery(std::span<const RateSample> samples, std::optional<double> baseline_per_s) {
  RecoveryEstimate out;
  if (samples.size() < 2) return out;
  const RateSample& first = samples.front();
  const RateSample& last = samples.back();
  const double seconds = std::chrono::duration<double>(last.at - first.at).count();
  if (seconds <= 0) return out;
  if (last.acknowledged > first.acknowledged) out.acks_per_s = static_cast<double>(last.acknowledged - first.acknowledged) / seconds;
  if (baseline_per_s && *baseline_per_s > 0) out.throughput_bps = static_cast<std::int64_t>(out.acks_per_s / *baseline_per_s * 10'000);
  const double falling = (static_cast<double>(first.backlog) - static_cast<double>(last.backlog)) / seconds;
  if (last.backlog == 0) out.full_recovery = Millis(0);
  else if (falling > 0) out.full_recovery = Millis(static_cast<std::int64_t>(std::min(3.0e12, static_cast<double>(last.backlog) / falling * 1000)));
  return out;
}

std::optional<double> usual_rate(std::span<const RateSample> history) {
  std::vector<double> rates;
  for (std::size_t i = 1; i < history.size(); ++i) {
    const double seconds = std::chrono::duration<double>(history[i].at - history[i - 1].at).count();
    if (seconds > 0 && history[i].acknowledged > history[i - 1].acknowledged)
      rates.push_back(static_cast<double>(history[i].acknowledged - history[i - 1].acknowledged) / seconds);
  }
  if (rates.size() < 3) return std::nullopt;
  const auto at = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() * 3 / 4);
  std::nth_element(rates.begin(), at, rates.end());
  return *at;
}

std::optional<Millis> downtime_prevented(std::uint64_t poison_waiting, std::optional<double> stall_s_per_poison, std::uint64_t consumers) {
  if (!stall_s_per_poison || consumers == 0) return std::nullopt;
  const double seconds = static_cast<double>(poison_waiting) * *stall_s_per_poison / static_cast<double>(consumers);
  return Millis(static_cast<std::int64_t>(std::min(3.0e9, seconds) * 1000));
}

}  // namespace claw
