#include "agent/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "policy/policy.h"
#include "policy/symptom.h"

namespace claw {
namespace {

using nlohmann::json;

constexpr Millis kConsumerAlive{30'000};  // a consumer that asked within this time counts as connected
constexpr Millis kBetweenLooks{100};

void count_groups(const std::vector<QueueView>& views, const Befores& planned, Recovery& out) {
  out.groups = out.groups_connected = 0;
  for (const QueueView& view : views) {
    const auto before = planned.find(view.id);
    const bool had = before != planned.end() && before->second && before->second->sample.consumers.value_or(0) > 0;
    out.groups += had ? view.groups.size() : view.consumer_groups();
    std::set<std::string> alive;
    for (const ConsumerView& c : view.consumers)
      if (c.idle_ms < static_cast<std::uint64_t>(kConsumerAlive.count())) alive.insert(c.group);
    out.groups_connected += alive.size();
  }
}

GuardAnswer ask(skill::Guard guard, const Looked& queue) {
  switch (guard) {
    case skill::Guard::conservation: return {Holds::yes, ""};
    case skill::Guard::redelivery_falls: return redelivery_falls(queue);
    case skill::Guard::consumers_back: return consumers_back(queue);
    case skill::Guard::backlog_falls: return backlog_falls(queue);
  }
  std::abort();
}

// Of a stream those who spoke to the broker since the watch began; elsewhere those who are connected. Of consumers whose progress
// nobody counts nothing can be said.
std::uint64_t asking(const QueueView& view, Millis watched) {
  std::uint64_t count = 0;
  if (!view.tells_progress) return count;
  if (view.type == QueueType::stream)
    for (const ConsumerView& c : view.consumers) count += c.idle_ms < static_cast<std::uint64_t>(watched.count()) ? 1 : 0;
  else
    for (const GroupView& group : view.groups) count += group.consumers;
  return count;
}

}  // namespace

Result<Watched> watch_consumers(const Watch& watch, Millis time, const std::function<bool(const Watched&)>& enough) {
  const MonoTime start = watch.clock.mono(), until = start + time;
  std::vector<RateSample> rates;
  std::optional<double> baseline;
  Watched seen;
  for (;;) {
    if (watch.go_on) CLAW_TRY(watch.go_on());
    CLAW_TRY_ASSIGN(const std::vector<QueueView> views, watch.measure());
    RateSample sum{.at = watch.clock.mono()};
    for (const QueueView& view : views) {
      const Sample sample = sample_of(view, watch.clock.now());
      sum.backlog += sample.backlog;
      sum.acknowledged += sample.acknowledged;
      const auto planned = watch.planned.find(view.id);
      if (planned == watch.planned.end()) continue;
      Looked& looked = seen.planned[view.id];
      if (rates.empty()) {
        looked.first = sample;
        if (planned->second) looked.before = planned->second->sample, looked.redelivered_before = planned->second->redeliveries_per_s;
      }
      looked.last = sample;
      looked.tells_connections = view.type == QueueType::classic || view.type == QueueType::quorum;
      looked.asking = std::max(looked.asking, asking(view, elapsed(start, watch.clock.mono())));
    }
    seen.backlog = sum.backlog;
    if (rates.empty() && watch.baseline) {
      CLAW_TRY_ASSIGN(baseline, watch.baseline(views));
    }
    rates.push_back(sum);
    Recovery& out = seen.recovery;
    count_groups(views, watch.planned, out);
    const RecoveryEstimate estimate = estimate_recovery(rates, baseline);
    out.throughput_per_s = estimate.acks_per_s;
    out.throughput_bps = estimate.throughput_bps;
    out.full_recovery = estimate.full_recovery;
    out.recovered = out.groups_connected == out.groups && estimate.acks_per_s > 0;
    if ((rates.size() > 1 && enough(seen)) || watch.clock.mono() >= until) break;
    watch.progress.advance(static_cast<std::uint64_t>(elapsed(start, watch.clock.mono()).count()), static_cast<std::uint64_t>(time.count()));
    watch.clock.sleep(kBetweenLooks);
  }
  seen.recovery.words = recovery_words(seen.recovery);
  return seen;
}

bool Watched::unseen() const {
  return std::any_of(planned.begin(), planned.end(), [](const auto& p) { return p.second.last.consumers.value_or(0) > 0; }) &&
         std::all_of(planned.begin(), planned.end(), [](const auto& p) { return p.second.asking == 0; });
}

std::vector<GuardAnswer> ask_guards(const skill::Stage& verify, const Watched& seen) {
  std::vector<GuardAnswer> answers;
  for (const skill::Guard guard : verify.guards) {
    if (guard == skill::Guard::conservation) continue;
    std::vector<GuardAnswer> each;
    for (const auto& [id, looked] : seen.planned) {
      each.push_back(ask(guard, looked));
      if (seen.planned.size() > 1) each.back().words = escape(id.text(), 120) + ": " + each.back().words;
    }
    answers.push_back(together(each));
  }
  return answers;
}

remedy::Check check_of(const std::vector<GuardAnswer>& answers) {
  remedy::Check check;
  for (const GuardAnswer& answer : answers) {
    check.passed = check.passed && answer.holds != Holds::no;
    check.words += (check.words.empty() ? "" : "; ") + answer.words;
  }
  return check;
}

const skill::Stage& verify_after(const skill::Protocol& protocol, std::size_t w, std::size_t waves) {
  const skill::Stage* found = nullptr;
  for (std::size_t i = 0; i + 1 < protocol.stages.size(); ++i) {
    if (protocol.stages[i].verb != skill::Verb::remove) continue;
    found = &protocol.stages[i + 1];  // by the loader's rule a verify
    if (w + 1 < waves && w-- == 0) break;
  }
  CLAW_CHECK(found != nullptr && found->verb == skill::Verb::verify);
  return *found;
}

std::string recovery_words(const Recovery& r) {
  std::string words = r.groups == 0                    ? "No consumer is connected."
                      : r.groups_connected == r.groups ? "All consumer groups reconnected."
                                                       : fmt::format("{} of {} consumer groups are connected.", r.groups_connected, r.groups);
  if (r.throughput_per_s <= 0) return words + " No progress seen yet.";
  if (r.throughput_bps < 0) words += fmt::format(" Processing resumed at {:.0f} messages/s (no baseline).", r.throughput_per_s);
  else if (r.throughput_bps <= 10'000) words += fmt::format(" Processing resumed at {:.1f}% throughput.", static_cast<double>(r.throughput_bps) / 100);
  else words += fmt::format(" Processing resumed at 100.0% throughput ({:.0f} messages/s; {:.0f} are usual).", r.throughput_per_s, r.throughput_per_s * 10'000 / static_cast<double>(r.throughput_bps));
  return words + (r.full_recovery ? fmt::format(" Full recovery expected in {} seconds.", (r.full_recovery->count() + 999) / 1000) : " Full recovery: unknown.");
}

std::string expectation_text(const Expectation& e) {
  return json{{"since_ms", e.since.time_since_epoch().count()}, {"expected_ms", e.expected.count()}, {"backlog", e.backlog}}.dump();
}

Result<Expectation> expectation_from_text(std::string_view text, const std::string& execution_id) {
  CLAW_TRY_ASSIGN(const json value, parse_json(text, "journal of " + execution_id));
  Expectation e{.execution_id = execution_id, .since = WallTime(Millis(value.value("since_ms", std::int64_t{0}))), .expected = Millis(value.value("expected_ms", std::int64_t{0})),
                .backlog = value.value("backlog", std::uint64_t{0}), .looked = {}};
  e.looked = e.since;
  return e;
}

bool is_gone(const Expectation& e, std::uint64_t backlog) { return backlog <= e.backlog / 100; }

std::string expectation_words(const Expectation& e, Millis took) {
  std::string words = fmt::format("Backlog gone after {}; {} were expected", human(took), human(e.expected));
  if (e.expected > Millis(0)) {
    const double off = 100.0 * static_cast<double>((took - e.expected).count()) / static_cast<double>(e.expected.count());
    words += fmt::format(" ({:.0f}% {})", std::abs(off), off < 0 ? "less" : "more");
  }
  return words + ".";
}

}  // namespace claw
