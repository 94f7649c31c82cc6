#include "remedy/planner.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

namespace claw::remedy {
namespace {

std::int64_t bps(double share) { return static_cast<std::int64_t>(std::floor(share * 10'000 + 1e-9)); }

std::size_t share_of(std::size_t count, std::int64_t share_bps) {
  const std::size_t part = (count * static_cast<std::size_t>(share_bps) + 9'999) / 10'000;
  return std::min(count, std::max<std::size_t>(1, part));
}

PlannedQueue planned_queue(const QueueView& view, const PlanInputs& inputs) {
  return {.queue = view.id,
          .type = view.type,
          .entries = view.entries,
          .quarantine = inputs.quarantine_name(view.id),
          .takes_from = view.takes_from,
          .messages = {}};
}

// The canary goes first: the first message of each signature, then evenly spread ones up to the first wave's size.
void put_canary_first(std::vector<PlannedMessage>& messages, std::int64_t first_wave_bps) {
  if (messages.empty()) return;
  std::vector<bool> chosen(messages.size(), false);
  std::set<std::uint32_t> seen;
  std::size_t count = 0;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!seen.insert(messages[i].signature).second) continue;
    chosen[i] = true;
    ++count;
  }
  const std::size_t wanted = share_of(messages.size(), first_wave_bps);
  for (std::size_t k = 0; k < wanted && count < wanted; ++k) {
    const std::size_t i = k * messages.size() / wanted;
    if (chosen[i]) continue;
    chosen[i] = true;
    ++count;
  }
  std::vector<PlannedMessage> ordered;
  ordered.reserve(messages.size());
  for (const bool canary : {true, false})
    for (std::size_t i = 0; i < messages.size(); ++i)
      if (chosen[i] == canary) ordered.push_back(std::move(messages[i]));
  messages = std::move(ordered);
}

// Leaves the `most` worst blockers of all queues; each queue's messages are in its order, before and after.
void keep_worst(std::vector<PlannedQueue>& queues, std::uint64_t most) {
  struct Place {
    std::uint64_t attempts;
    std::size_t rank;  // in its queue: equal attempts are shared out between the queues
    std::size_t queue;
  };
  std::vector<Place> places;
  for (std::size_t q = 0; q < queues.size(); ++q)
    for (std::size_t i = 0; i < queues[q].messages.size(); ++i) places.push_back({queues[q].messages[i].attempts, i, q});
  if (places.size() <= most) return;
  const auto cut = places.begin() + static_cast<std::ptrdiff_t>(most);
  std::nth_element(places.begin(), cut, places.end(), [](const Place& a, const Place& b) {
    return std::tie(b.attempts, a.rank, a.queue) < std::tie(a.attempts, b.rank, b.queue);
  });
  std::vector<std::vector<bool>> kept;
  for (const PlannedQueue& queue : queues) kept.emplace_back(queue.messages.size(), false);
  for (auto place = places.begin(); place != cut; ++place) kept[place->queue][place->rank] = true;
  for (std::size_t q = 0; q < queues.size(); ++q) {
    std::size_t i = 0;
    std::erase_if(queues[q].messages, [&](const PlannedMessage&) { return !kept[q][i++]; });
  }
}

}  // namespace

Plan make_plan(const PlanInputs& inputs) {
  const Observation& seen = inputs.observation;
  Plan plan;
  plan.tenant = seen.tenant;
  plan.skill = inputs.skill;
  plan.protocol = inputs.protocol;
  plan.detector = inputs.detector;
  plan.limits = inputs.limits;
  plan.messages_seen = seen.messages_seen;

  std::map<QueueId, PlannedQueue> queues;
  std::set<QueueId> unremovable;  // reported, never planned
  for (const QueueView& view : seen.queues) {
    queues.emplace(view.id, planned_queue(view, inputs));
    if (!view.look.no_removal.empty()) unremovable.insert(view.id);
  }
  for (std::size_t f = 0; f < seen.findings.size(); ++f) {
    const Finding& finding = seen.findings[f];
    if (bps(finding.lower_bound) < inputs.limits.confidence_bps) continue;
    const auto signature = static_cast<std::uint32_t>(plan.signatures.size());
    plan.signatures.push_back({.signature = finding.signature,
                               .count = finding.count,
                               .confidence_bps = bps(finding.confidence),
                               .lower_bound_bps = bps(finding.lower_bound),
                               .explanation = finding.explanation});
    for (const PoisonRef& ref : seen.members[f]) {
      const QueueView& view = seen.queues.at(ref.queue);
      if (unremovable.contains(view.id)) continue;
      queues.at(view.id).messages.push_back({.id = message_id(view.type, ref), .key = ref.key, .signature = signature, .attempts = ref.attempts, .digest = ref.digest});
    }
  }
  for (auto& [id, queue] : queues) {
    if (queue.messages.empty()) continue;
    std::sort(queue.messages.begin(), queue.messages.end(),
              [](const PlannedMessage& a, const PlannedMessage& b) { return a.key < b.key; });
    queue.poison = queue.messages.size();
    plan.poison += queue.poison;
    plan.queues.push_back(std::move(queue));
  }
  const std::uint64_t mean = seen.messages_seen == 0 ? 0 : seen.bytes_seen / seen.messages_seen;
  keep_worst(plan.queues, std::min(inputs.limits.max_messages, inputs.limits.max_bytes / std::max<std::uint64_t>(mean, 1)));
  std::erase_if(plan.queues, [](const PlannedQueue& queue) { return queue.messages.empty(); });
  for (PlannedQueue& queue : plan.queues)
    put_canary_first(queue.messages, inputs.limits.waves_bps.empty() ? 10'000 : inputs.limits.waves_bps.front());
  plan.bytes = mean * plan.total();
  return plan;
}

std::vector<Wave> waves_of(const Plan& plan) {
  std::vector<std::int64_t> shares = plan.limits.waves_bps;
  if (shares.empty() || shares.back() < 10'000) shares.push_back(10'000);
  std::vector<std::size_t> done(plan.queues.size(), 0);
  std::vector<Wave> waves;
  for (const std::int64_t share : shares) {
    Wave wave;
    for (std::size_t q = 0; q < plan.queues.size(); ++q) {
      const std::size_t count = plan.queues[q].messages.size();
      if (count == 0) continue;
      std::size_t end = share_of(count, share);
      if (waves.empty()) {  // the canary holds one of each signature, however small its share
        std::set<std::uint32_t> signatures;
        for (const PlannedMessage& m : plan.queues[q].messages) signatures.insert(m.signature);
        end = std::max(end, std::min(count, signatures.size()));
      }
      if (end > done[q]) wave.push_back({.queue = q, .first = done[q], .count = end - done[q]});
      done[q] = std::max(done[q], end);
    }
    if (!wave.empty()) waves.push_back(std::move(wave));
  }
  return waves;
}

}  // namespace claw::remedy
