#include "policy/guard.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace claw {
namespace {

constexpr double kFewRedeliveries = 10;  // in one watch: a handful is no trend

double seconds(const Sample& first, const Sample& last) { return std::chrono::duration<double>(last.at - first.at).count(); }
std::uint64_t grown(std::uint64_t before, std::uint64_t now) { return now - std::min(before, now); }

}  // namespace

GuardAnswer consumers_back(const Looked& queue) {
  if (!queue.before || !queue.before->consumers || !queue.last.consumers) return {Holds::unknown, "who consumed before is not known"};
  const std::uint64_t before = *queue.before->consumers, now = *queue.last.consumers;
  if (before == 0) return {Holds::unknown, "no consumer was there before either"};
  if (now == 0 && !queue.tells_connections) return {Holds::unknown, "no consumer has asked for work lately"};
  if (now == 0) return {Holds::no, before == 1 ? "its consumer is not there any more" : fmt::format("none of {} consumers is there any more", before)};
  return {Holds::yes, fmt::format("{} of {} are there", now, counted(before, "consumer"))};
}

GuardAnswer backlog_falls(const Looked& queue) {
  const Sample &first = queue.first, &last = queue.last;
  const std::uint64_t done = grown(first.acknowledged, last.acknowledged);
  const std::string took = human(std::chrono::duration_cast<Millis>(last.at - first.at));
  if (last.backlog == 0) return {Holds::yes, "nothing waits any more"};
  if (last.backlog < first.backlog) return {Holds::yes, fmt::format("the backlog fell from {} to {}", grouped(first.backlog), grouped(last.backlog))};
  if (done > 0) return {Holds::yes, fmt::format("{} in {}, though more arrive", counted(done, "acknowledgement"), took)};
  if (queue.asking == 0) return {Holds::unknown, "nobody asked for work in " + took};
  if (last.backlog <= last.held) return {Holds::unknown, "all that waits was handed out before, and is not taken up again"};
  return {Holds::no, fmt::format("{} acknowledged nothing in {} while {} wait", counted(queue.asking, "consumer"), took, counted(last.backlog, "message"))};
}

GuardAnswer redelivery_falls(const Looked& queue) {
  const double took = seconds(queue.first, queue.last);
  if (!queue.redelivered_before || took <= 0) return {Holds::unknown, "how much was delivered again before is not known"};
  const auto again = static_cast<double>(grown(queue.first.redelivered, queue.last.redelivered));
  const std::string words = fmt::format("{:.1f} redeliveries/s, {:.1f}/s before", again / took, *queue.redelivered_before);
  return {again >= kFewRedeliveries && again / took > *queue.redelivered_before ? Holds::no : Holds::yes, words};
}

GuardAnswer together(std::span<const GuardAnswer> answers) {
  for (const Holds wanted : {Holds::no, Holds::yes})
    for (const GuardAnswer& answer : answers)
      if (answer.holds == wanted) return answer;
  return answers.empty() ? GuardAnswer{} : answers.front();
}

std::optional<double> redelivery_rate(std::span<const Sample> history) {
  if (history.size() < 2 || history.back().redelivered == 0) return std::nullopt;
  const double took = seconds(history.front(), history.back());
  if (took <= 0) return std::nullopt;
  return static_cast<double>(grown(history.front().redelivered, history.back().redelivered)) / took;
}

}  // namespace claw
