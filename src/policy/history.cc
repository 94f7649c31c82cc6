#include "policy/history.h"

#include <algorithm>

namespace claw {
namespace {

constexpr Millis kStoredApart{5'000};  // of a queue in which something moves
constexpr Millis kMinute = std::chrono::minutes(1);
constexpr Millis kTenMinutes = std::chrono::minutes(10);

bool same(const Sample& a, const Sample& b) {
  return a.backlog == b.backlog && a.acknowledged == b.acknowledged && a.held == b.held && a.redelivered == b.redelivered && a.consumers == b.consumers;
}

bool same_step(WallTime a, WallTime b, Millis step) { return a.time_since_epoch() / step == b.time_since_epoch() / step; }

// Every second sample of the older half goes.
void thin(std::vector<Sample>& samples) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < samples.size(); ++i)
    if (i % 2 == 0 || i >= samples.size() / 2) samples[kept++] = samples[i];
  samples.resize(kept);
}

}  // namespace

void History::begin(const QueueId& queue, std::vector<Sample> earlier) {
  Queue& known = queues_[queue];
  known.samples = std::move(earlier);
  while (known.samples.size() > kMost) thin(known.samples);
  if (!known.samples.empty()) known.stored = known.samples.back().at;
}

std::optional<Grain> History::add(const QueueId& queue, const Sample& sample) {
  Queue& known = queues_[queue];
  std::vector<Sample>& all = known.samples;
  if (!all.empty() && sample.at < all.back().at) all.clear(), known.stored.reset();
  const bool still = all.size() >= 2 && same(all.back(), sample) && same(all[all.size() - 2], sample);
  if (still) all.back().at = sample.at;
  else all.push_back(sample);
  if (all.size() > kMost) thin(all);

  if (known.stored && sample.at - *known.stored < (still ? kTenMinutes : kStoredApart)) return std::nullopt;
  const Grain grain = !known.stored || !same_step(*known.stored, sample.at, kTenMinutes) ? Grain::ten_minutes
                      : !same_step(*known.stored, sample.at, kMinute)                     ? Grain::minute
                                                                                            : Grain::fine;
  known.stored = sample.at;
  return grain;
}

std::span<const Sample> History::of(const QueueId& queue) const {
  const auto found = queues_.find(queue);
  return found == queues_.end() ? std::span<const Sample>() : std::span<const Sample>(found->second.samples);
}

std::span<const Sample> History::of(const QueueId& queue, WallTime since) const {
  const std::span<const Sample> all = of(queue);
  const auto first = std::lower_bound(all.begin(), all.end(), since, [](const Sample& s, WallTime at) { return s.at < at; });
  return all.subspan(static_cast<std::size_t>(first - all.begin()));
}

}  // namespace claw
