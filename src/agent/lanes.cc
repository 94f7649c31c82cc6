#include "agent/lanes.h"

#include "base/text.h"

namespace claw {
namespace {

constexpr Millis kConnectTimeout{10'000};
constexpr Millis kSurveyTimeout{30'000};  // after it the broker's answer is an error

}  // namespace

Lanes::Lanes(const Config& config, const AgentDeps& deps, std::function<bool()> brake_on) : config_(config), deps_(deps), brake_on_(std::move(brake_on)) {
  for (const BrokerConfig& broker : config_.brokers) lanes_.try_emplace(broker.name);
}

Result<Broker*> Lanes::get(const BrokerName& name) {
  const auto lane = lanes_.find(name);
  if (lane == lanes_.end()) return make_error(Code::not_found, "broker " + name, "is not in " + config_.file);
  if (lane->second.surveyed.valid()) {
    if (lane->second.surveyed.wait_for(kConnectTimeout) != std::future_status::ready)
      return make_error(Code::unavailable, "broker " + name, "has not answered for " + human(elapsed(lane->second.since, deps_.clock.mono())));
    lane->second.surveyed.get().ok();  // an old answer is of no use here
  }
  return open(name, lane->second, kConnectTimeout);
}

void Lanes::drop(const BrokerName& name) {
  Lane& lane = lanes_.at(name);
  if (!lane.surveyed.valid()) lane.broker.reset();
}

std::vector<BreakerLine> Lanes::breakers() const {
  std::vector<BreakerLine> lines;
  const MonoTime now = deps_.clock.mono();
  for (const auto& [name, lane] : lanes_) {
    if (in_use(lane)) {
      lines.push_back({.broker = name, .state = "busy", .words = "has not answered for " + human(elapsed(lane.since, now))});
      continue;
    }
    const Breaker::State state = lane.breaker.state(now);
    lines.push_back({.broker = name, .state = std::string(claw::name(state)), .words = state == Breaker::State::closed ? "" : lane.breaker.words(now), .openings = lane.breaker.openings()});
  }
  return lines;
}

Status Lanes::reset_breaker(const BrokerName& name) {
  const auto lane = lanes_.find(name);
  if (lane == lanes_.end()) return make_error(Code::not_found, "broker " + escape(name, 64), "is not in " + config_.file);
  if (in_use(lane->second)) return make_error(Code::unavailable, "broker " + name, "has not answered for " + human(elapsed(lane->second.since, deps_.clock.mono())));
  lane->second.breaker.reset();
  return {};
}

bool Lanes::in_use(const Lane& lane) const { return lane.surveyed.valid() && lane.surveyed.wait_for(Millis(0)) != std::future_status::ready; }

Result<Broker*> Lanes::open(const BrokerName& name, Lane& lane, Millis patience) {
  if (lane.broker != nullptr) return lane.broker.get();
  const auto connect = [this, told = *config_.broker(name)](Deadline deadline) mutable {
    told.state_dir = config_.data_dir + "/brokers";
    return deps_.open_broker(told, deadline);
  };
  CLAW_TRY_ASSIGN(lane.broker, guard(name, {.clock = deps_.clock, .random = deps_.random, .brake_on = brake_on_, .open = connect}, lane.breaker, Deadline::in(deps_.clock, patience)));
  return lane.broker.get();
}

std::map<BrokerName, Lanes::Views> Lanes::survey(std::map<BrokerName, Survey> asked, Millis patience) {
  for (auto& [name, ask] : asked) {
    Lane& lane = lanes_.at(name);
    if (lane.surveyed.valid()) continue;
    lane.since = deps_.clock.mono();
    lane.surveyed = std::async(std::launch::async, [this, &name = lanes_.find(name)->first, &lane, ask = std::move(ask)]() -> Views {
      CLAW_TRY_ASSIGN(Broker * broker, open(name, lane, kConnectTimeout));
      return ask(*broker, Deadline::in(deps_.clock, kSurveyTimeout));
    });
  }
  std::map<BrokerName, Views> answers;
  const Deadline deadline = Deadline::in(deps_.clock, patience);
  for (const auto& [name, ask] : asked) {
    Lane& lane = lanes_.at(name);
    const bool ready = lane.surveyed.wait_for(deadline.remaining(deps_.clock)) == std::future_status::ready;
    answers.emplace(name, ready ? lane.surveyed.get() : Views(make_error(Code::timed_out, "broker " + name, "has not answered for " + human(elapsed(lane.since, deps_.clock.mono())) + "; its tenants are unknown until it does")));
  }
  return answers;
}

}  // namespace claw
