#include "policy/symptom.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"

namespace claw {
namespace {

constexpr std::uint64_t kAliveMs = 60'000;  // a consumer of a Redis stream that asked within this time

double seconds(WallTime from, WallTime to) { return std::chrono::duration<double>(to - from).count(); }

// The samples of the last `window`, or none when history is shorter than that or has fewer than three.
std::span<const Sample> last(std::span<const Sample> history, Millis window) {
  if (history.size() < 3 || history.back().at - history.front().at < window) return {};
  const WallTime since = history.back().at - window;
  auto first = std::lower_bound(history.begin(), history.end(), since, [](const Sample& s, WallTime at) { return s.at < at; });
  if (first != history.begin() && first->at > since) --first;  // what held when the window began
  const auto part = history.subspan(static_cast<std::size_t>(first - history.begin()));
  return part.size() >= 2 ? part : std::span<const Sample>();
}

// Since when `holds` has been true without a break, to the last sample.
template <class F>
WallTime since_when(std::span<const Sample> history, F&& holds) {
  WallTime since = history.back().at;
  for (auto s = history.rbegin(); s != history.rend() && holds(*s); ++s) since = s->at;
  return since;
}

Symptom symptom(const QueueId& queue, SymptomKind kind, WallTime since, std::string words) { return {queue, kind, since, std::move(words)}; }

std::optional<Symptom> check_consumers_gone(const QueueId& queue, std::span<const Sample> history, const SymptomRule& rule) {
  const auto gone = [](const Sample& s) { return s.backlog > 0 && s.consumers == 0u; };
  const auto window = last(history, rule.seen_for);
  if (window.empty() || !std::all_of(window.begin(), window.end(), gone)) return std::nullopt;
  const WallTime since = since_when(history, gone);
  return symptom(queue, SymptomKind::no_consumers, since, fmt::format("{} wait and no consumer has been there for {}", counted(history.back().backlog, "message"), human(history.back().at - since)));
}

std::optional<Symptom> check_stall(const QueueId& queue, std::span<const Sample> history, const SymptomRule& rule) {
  const Sample& now = history.back();
  const auto stalled = [&](const Sample& s) { return s.backlog > 0 && s.consumers.value_or(0) > 0 && s.acknowledged == now.acknowledged; };
  const auto window = last(history, rule.seen_for);
  if (window.empty() || !std::all_of(window.begin(), window.end(), stalled)) return std::nullopt;
  const WallTime since = since_when(history, stalled);
  return symptom(queue, SymptomKind::stalled, since,
                 now.held > 0 ? fmt::format("{} {} {} and acknowledged none for {}", counted(*now.consumers, "consumer"), *now.consumers == 1 ? "holds" : "hold", counted(now.held, "message"), human(now.at - since))
                              : fmt::format("{} connected, nothing taken for {} while {} wait", counted(*now.consumers, "consumer"), human(now.at - since), grouped(now.backlog)));
}

std::optional<Symptom> check_storm(const QueueId& queue, std::span<const Sample> history, const SymptomRule& rule) {
  const auto window = last(history, rule.seen_for);
  if (window.empty() || window.back().redelivered < window.front().redelivered) return std::nullopt;  // the broker counts anew
  const std::uint64_t again = window.back().redelivered - window.front().redelivered;
  const std::uint64_t done = window.back().acknowledged - std::min(window.front().acknowledged, window.back().acknowledged);
  const std::uint64_t half = window[window.size() / 2].redelivered;
  if (again < rule.storm || again <= done || half == window.back().redelivered) return std::nullopt;
  return symptom(queue, SymptomKind::redelivering, window.front().at,
                 fmt::format("{} against {} in {}", grouped(again) + " redeliveries", counted(done, "acknowledgement"), human(window.back().at - window.front().at)));
}

// More in hand than is done in the whole window, all the window long.
std::optional<Symptom> check_hoard(const QueueId& queue, std::span<const Sample> history, const SymptomRule& rule) {
  const auto window = last(history, rule.seen_for);
  if (window.empty() || window.back().acknowledged <= window.front().acknowledged) return std::nullopt;
  const std::uint64_t done = window.back().acknowledged - window.front().acknowledged;
  const auto hoards = [&](const Sample& s) { return s.held >= rule.hoard && s.held > done; };
  if (!std::all_of(window.begin(), window.end(), hoards)) return std::nullopt;
  const Sample& now = history.back();
  const WallTime since = since_when(history, hoards);
  return symptom(queue, SymptomKind::hoarding, since,
                 fmt::format("{} in the hands of {}, who acknowledged {} in {}", counted(now.held, "message"), now.consumers ? counted(*now.consumers, "consumer") : "consumers", grouped(done),
                             human(window.back().at - window.front().at)));
}

// Grown in every part of the window, so that a burst (one step) or a wave (up and down) is none.
std::optional<Symptom> check_leak(const QueueId& queue, std::span<const Sample> history, const SymptomRule& rule) {
  const auto window = last(history, rule.leak_window);
  if (window.size() < rule.leak_steps + 1 || window.back().acknowledged <= window.front().acknowledged) return std::nullopt;
  std::uint64_t before = window.front().backlog;
  for (std::size_t step = 1; step <= rule.leak_steps; ++step) {
    const WallTime edge = window.front().at + std::chrono::duration_cast<Millis>((window.back().at - window.front().at) * step / rule.leak_steps);
    const auto at = std::find_if(window.rbegin(), window.rend(), [&](const Sample& s) { return s.at <= edge; });
    if (at == window.rend() || at->backlog <= before) return std::nullopt;
    before = at->backlog;
  }
  const double took = seconds(window.front().at, window.back().at);
  const double grows = static_cast<double>(window.back().backlog - window.front().backlog) / took;
  const double acks = static_cast<double>(window.back().acknowledged - window.front().acknowledged) / took;
  return symptom(queue, SymptomKind::falling_behind, window.front().at,
                 fmt::format("consumers acknowledge {:.1f}/s and the backlog grows by {:.1f}/s all the same, for {}", acks, grows, human(window.back().at - window.front().at)));
}

}  // namespace

std::string_view name(SymptomKind kind) {
  switch (kind) {
    case SymptomKind::no_consumers: return "no_consumers";
    case SymptomKind::stalled: return "stalled";
    case SymptomKind::redelivering: return "redelivering";
    case SymptomKind::hoarding: return "hoarding";
    case SymptomKind::falling_behind: return "falling_behind";
  }
  std::abort();
}

std::vector<Symptom> symptoms_of(const QueueId& queue, std::span<const Sample> history, const SymptomRule& rule) {
  std::vector<Symptom> found;
  if (history.empty()) return found;
  for (const auto check : {check_consumers_gone, check_stall, check_storm, check_hoard, check_leak})
    if (auto one = check(queue, history, rule)) found.push_back(std::move(*one));
  return found;
}

std::optional<Millis> heals_within(std::span<const Sample> history, Millis within, const SymptomRule& rule) {
  if (history.empty()) return std::nullopt;
  if (history.back().backlog == 0) return Millis(0);
  const auto window = last(history, rule.seen_for / 4);
  if (window.empty() || window.size() < 3 || window.back().backlog >= window.front().backlog) return std::nullopt;
  for (std::size_t i = 1; i < window.size(); ++i)
    if (window[i].backlog > window[i - 1].backlog) return std::nullopt;
  const double falls = static_cast<double>(window.front().backlog - window.back().backlog) / seconds(window.front().at, window.back().at);
  const Millis left(static_cast<std::int64_t>(std::min(3.0e12, static_cast<double>(window.back().backlog) / falls * 1000)));
  return left <= within ? std::optional(left) : std::nullopt;
}

std::optional<std::uint64_t> live_consumers(const QueueView& queue) {
  std::uint64_t count = 0;
  switch (queue.type) {
    case QueueType::stream:
      for (const ConsumerView& consumer : queue.consumers) count += consumer.idle_ms < kAliveMs ? 1 : 0;
      return queue.groups.empty() ? std::nullopt : std::optional(count);
    case QueueType::classic:
    case QueueType::quorum:
      for (const GroupView& group : queue.groups) count += group.consumers;
      return queue.groups.empty() ? std::nullopt : std::optional(count);
    case QueueType::list:
    case QueueType::standard:
    case QueueType::fifo: return std::nullopt;
  }
  std::abort();
}

Sample sample_of(const QueueView& view, WallTime at) {
  Sample sample{.at = at, .backlog = view.backlog, .acknowledged = 0, .held = view.held, .redelivered = view.redelivered, .consumers = live_consumers(view)};
  for (const GroupView& group : view.groups) sample.acknowledged += group.acknowledged;
  if (!view.tells_progress && sample.consumers.value_or(0) > 0) sample.consumers.reset();  // nobody may say of them that they do nothing
  return sample;
}

}  // namespace claw
